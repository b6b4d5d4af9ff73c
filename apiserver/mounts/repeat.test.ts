import { describe, expect, test } from '@jest/globals';
import type { DeviceMount, Phase } from '../../contract/device-mount.ts';
import { fingerprintOf } from '../../contract/fingerprint.ts';
import type { MountRequest } from '../../contract/requests.ts';
import { type Earlier, repeatOf } from './repeat.ts';

const NOW = new Date('2026-01-01T12:00:00Z');
const ago = (minutes: number) => new Date(NOW.getTime() - minutes * 60_000);
const REQUEST: MountRequest = {
  kind: 'mount',
  cluster: 'test',
  name: 'm',
  target: { namespace: 'default', pod: 'web-0', podUid: 'u', container: 'main' },
  deviceType: 'HOSTDEV',
  resources: { 'hostdev.k8s.io/dev_fuse': '1', 'hostdev.k8s.io/dev_net_tun': '1' },
  labels: {},
  annotations: {},
  patches: [],
  queue: false,
  onRestart: 'reapply',
  idempotencyKey: 'k',
  user: { name: 'jane' },
  requestedAt: '2026-01-01T00:00:00Z',
  deadlineSeconds: 10,
};
const own = fingerprintOf(REQUEST, true);

function earlier(phase: Phase, endedAt?: Date, fingerprint = own, reason?: string): Earlier {
  const status = { phase, user: 'jane', devices: [], slaves: [], ...(reason !== undefined && { reason }) };
  return { mount: { metadata: { name: 'm' }, status } as unknown as DeviceMount, fingerprint, endedAt };
}

function outcome(given: Earlier, fingerprint = own): string {
  try {
    return repeatOf(given, fingerprint, NOW);
  } catch (err) {
    return (err as { type: string }).type;
  }
}

describe('repeatOf()', () => {
  const other = { ...own, digest: 'other' };
  test.each([
    ['the same while it is pending', earlier('Pending'), own, 'same'],
    ['the same while it is mounted', earlier('Mounted'), own, 'same'],
    ['the same while it is being released', earlier('Releasing'), own, 'MountEnded'],
    ['the same that has just failed', earlier('Failed', undefined, own, 'SlaveEnded'), own, 'SlaveEnded'],
    ['the same after its release', earlier('Released', ago(1)), own, 'MountEnded'],
    ['the same after its failure', earlier('Failed', ago(9), own, 'InsufficientDevices'), own, 'InsufficientDevices'],
    ['the same after an unknown failure', earlier('Failed', ago(9), own, 'Later'), own, 'MountEnded'],
    ['the same long after', earlier('Failed', ago(11), own, 'InsufficientDevices'), own, 'free'],
    ['another with the same key', earlier('Mounted'), other, 'IdempotencyKeyReused'],
    ['another with the same key after the end', earlier('Released', ago(1)), other, 'IdempotencyKeyReused'],
    ['another with the same name', earlier('Mounted'), { digest: 'other' }, 'NameTaken'],
    ['another with the same name after a failure', earlier('Failed', ago(1)), { digest: 'other' }, 'free'],
    ['another with the same name after the end', earlier('Released', ago(1)), { digest: 'other' }, 'free'],
  ])('%s', (_name, given, fingerprint, expected) => {
    expect(outcome(given, fingerprint)).toBe(expected);
  });
});

describe('fingerprintOf()', () => {
  test.each([
    [
      'time, patience and user',
      { requestedAt: '2026-01-02T00:00:00Z', deadlineSeconds: 3, user: { name: 'x', groups: [] } },
      true,
    ],
    ['the order of resources', { resources: Object.fromEntries(Object.entries(REQUEST.resources).toReversed()) }, true],
    ['the lease', { leaseSeconds: 5 }, true],
    ['the pod’s uid', { target: { ...REQUEST.target, podUid: 'v' } }, false],
    ['the amount', { resources: { 'hostdev.k8s.io/dev_fuse': '2' } }, false],
    ['a label', { labels: { a: 'b' } }, false],
    ['queue', { queue: true }, false],
    ['which files come along', { inject: 'none' }, false],
    ['a claim', { claims: [{ name: 'gpu', resourceClaimName: 'gpu-of-web' }] }, false],
  ] as const)('%s changes nothing or makes another request', (_name, change, same) => {
    expect(fingerprintOf({ ...REQUEST, ...change }, true).digest === own.digest).toBe(same);
  });

  test('never finds two requests the same whose name nobody chose', () => {
    expect(fingerprintOf(REQUEST, false).digest).not.toBe(fingerprintOf(REQUEST, false).digest);
  });
});
