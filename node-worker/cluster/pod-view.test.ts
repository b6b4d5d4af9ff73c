import { describe, expect, test } from '@jest/globals';
import { podViewOf } from './pod-view.ts';

const metadata = { namespace: 'd', name: 's', uid: 'u' };

describe('podViewOf()', () => {
  test('reads owners and node', () => {
    const pod = { metadata: { ...metadata, ownerReferences: [{ uid: 'o', kind: 'Pod' }] }, spec: { nodeName: 'n' } };
    expect(podViewOf(pod)).toEqual({
      ...metadata,
      nodeName: 'n',
      ownerUids: ['o'],
      running: false,
      mount: undefined,
      labels: {},
      annotations: {},
      claims: [],
      end: undefined,
    });
  });

  test('reads whether it runs and which mount it was made for', () => {
    const annotations = { 'device-mounter.io/mount': 'm1' };
    const pod = { metadata: { ...metadata, annotations }, spec: {}, status: { phase: 'Running' } };
    expect(podViewOf(pod)).toMatchObject({ running: true, mount: 'm1' });
  });

  test('reads claims: by name, made from a template, not made yet, and for extended resources', () => {
    const resourceClaims = [
      { name: 'a', resourceClaimName: 'shared' },
      { name: 'b', resourceClaimTemplateName: 't' },
      { name: 'c', resourceClaimTemplateName: 't' },
    ];
    const requestMappings = [
      { containerName: 'slave', resourceName: 'x.io/gpu', requestName: 'container-0-request-0' },
    ];
    const status = {
      resourceClaimStatuses: [{ name: 'b', resourceClaimName: 's-b-x7k2p' }, { name: 'c' }],
      extendedResourceClaimStatus: { resourceClaimName: 's-extended-resources-4z', requestMappings },
    };
    expect(podViewOf({ metadata, spec: { resourceClaims }, status }).claims).toEqual([
      { name: 'a', claim: 'shared' },
      { name: 'b', claim: 's-b-x7k2p' },
      { claim: 's-extended-resources-4z', serves: [{ resource: 'x.io/gpu', request: 'container-0-request-0' }] },
    ]);
  });

  test('keeps labels and annotations of others, for drivers', () => {
    const own = { 'device-mounter.io/request': '{}' };
    const labels = { app: 'web', 'device-mounter.io/mount': 'm1' };
    const annotations = { ...own, 'x.io/assigned': 'a' };
    expect(podViewOf({ metadata: { ...metadata, labels, annotations }, spec: {} })).toMatchObject({
      labels: { app: 'web' },
      annotations: { 'x.io/assigned': 'a' },
    });
    expect(podViewOf({ metadata: { ...metadata, labels: null }, spec: {} }).labels).toEqual({});
  });

  test.each([
    [{ status: { phase: 'Running' } }, undefined],
    [{ status: { phase: 'Pending' }, metadata: { ...metadata, deletionTimestamp: null } }, undefined],
    [
      { status: { phase: 'Running' }, metadata: { ...metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } },
      'it is being deleted',
    ],
    [{ metadata: { ...metadata, deletionTimestamp: new Date() } }, 'it is being deleted'],
    [
      {
        status: {
          phase: 'Running',
          conditions: [
            { type: 'Ready', status: 'True', message: 'no' },
            { type: 'DisruptionTarget', status: 'True', message: 'Eviction API: evicting' },
          ],
        },
        metadata: { ...metadata, deletionTimestamp: '2026-01-01T00:00:00Z' },
      },
      'it is being deleted: Eviction API: evicting',
    ],
    [{ status: { phase: 'Succeeded' } }, 'it has ended'],
    [
      { status: { phase: 'Failed', reason: 'UnexpectedAdmissionError', message: 'no healthy device' } },
      'it has failed: UnexpectedAdmissionError: no healthy device',
    ],
  ])('tells of the end of %j', (pod, end) => {
    expect(podViewOf({ metadata, spec: {}, ...pod }).end).toBe(end);
  });
});
