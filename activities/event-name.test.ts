import { describe, expect, test } from '@jest/globals';
import { mountOfRequest } from '../contract/mount-of-request.ts';
import { MemoryCluster } from '../test/workflows/memory-cluster.ts';
import { CLUSTER, mountRequest, PUBLIC_KEY, signed } from '../test/workflows/requests.ts';
import type { Dependencies } from './dependencies.ts';
import { eventName } from './event-name.ts';
import { publish } from './publish.ts';
import { TargetAnnotations } from './target-annotations.ts';

/** RFC 1123, as kube-apiserver checks names of Events. */
const SUBDOMAIN = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/;

const LONG: readonly (readonly [string, string])[] = [
  ['a dash', `${'m'.repeat(199)}-${'m'.repeat(53)}`],
  ['a dot', `${'m'.repeat(199)}.${'m'.repeat(53)}`],
  ['many dashes', `m${'-'.repeat(251)}m`],
  ['a letter', 'm'.repeat(253)],
];

describe('eventName()', () => {
  test.each(LONG)('is valid where a long name is cut after %s', (_, name) => {
    expect(name).toMatch(SUBDOMAIN);
    expect(eventName(name, 'x')).toMatch(SUBDOMAIN);
    expect(eventName(name, 'x').length).toBeLessThanOrEqual(253);
  });

  test('is the same for the same cause only, and begins with a name that is short enough', () => {
    expect(eventName('m', 'x')).toMatch(/^m\.[0-9a-f]{16}$/);
    expect(eventName('m', 'x')).toBe(eventName('m', 'x'));
    expect(eventName('m', 'x')).not.toBe(eventName('m', 'y'));
  });
});

describe('publish()', () => {
  test.each(LONG)('tells a mount whose long name is cut after %s', async (_, name) => {
    const cluster = new MemoryCluster();
    const request = mountRequest('p', { name });
    const annotations = new TargetAnnotations(cluster, { get: () => undefined });
    const keys = { clusterName: CLUSTER, publicKeys: () => [{ key: PUBLIC_KEY }] };
    const deps = { ...keys, cluster, annotations, now: () => new Date() };
    const identity = { uid: 'u', creationTimestamp: '', resourceVersion: '1' };
    const mount = mountOfRequest(request, identity, { phase: 'Mounted', devices: [], slaves: [] });
    const event = { type: 'Normal', reason: 'MountDevice', message: 'Mounted' } as const;
    const told = { signed: signed(request), mount, events: [event], object: { uid: 'o' } };
    await publish(deps as unknown as Dependencies, told);
    const names = cluster.events.map(({ metadata }) => metadata.name);
    expect(names).toEqual([expect.stringMatching(SUBDOMAIN), expect.stringMatching(SUBDOMAIN)]);
  });
});
