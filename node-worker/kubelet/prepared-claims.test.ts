import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import { array, assert, jsonValue, nat, property, string, tuple } from 'fast-check';
import { RUNS } from '../../test/property-runs.ts';
import { type PreparedClaim, parsePreparedClaims } from './prepared-claims.ts';

/** As the kubelet's own code writes it. */
const CAPTURED = readFileSync(join(import.meta.dirname, 'fixtures', 'dra_manager_state-1.36.3.json'), 'utf8');
const DATA: unknown = JSON.parse((JSON.parse(CAPTURED) as { Data: string }).Data);

const fileOf = (data: unknown): string => {
  const Data = JSON.stringify(data) ?? '';
  return JSON.stringify({ Data, Checksum: crc32(Data) });
};

const SHARE = '3f1c0a6e-0000-4000-8000-00000000000a';
const COMMON = 'k8s.gpu.example.com/gpu=common';

describe('parsePreparedClaims()', () => {
  test('reads claims of a device, of a share of one, of several pods, and of a driver that names no CDI device', () => {
    expect(parsePreparedClaims(CAPTURED)).toEqual([
      {
        namespace: 'default',
        name: 'web-slave-0-gpu-x7k2p',
        podUids: ['s1-uid'],
        devices: [
          {
            id: 'gpu.example.com/node-1/gpu-0',
            requests: ['gpu'],
            cdiDevices: [COMMON, 'k8s.gpu.example.com/gpu=gpu-0'],
          },
          { id: `gpu.example.com/node-1/gpu-1/${SHARE}`, requests: ['gpu', 'any/first'], cdiDevices: [] },
        ],
      },
      {
        namespace: 'team',
        name: 'shared',
        podUids: ['other-uid', 's2-uid'],
        devices: [{ id: 'gpu.example.com/node-1/gpu-2', requests: [], cdiDevices: [] }],
      },
    ]);
  });

  test('takes a device once that a restarted kubelet has added again', () => {
    const Devices = ['gpu', 'other'].map((request) => ({
      PoolName: 'n',
      DeviceName: 'd',
      RequestNames: [request],
      CDIDeviceIDs: [COMMON],
    }));
    const claim = { ClaimName: 'c', Namespace: 'd', PodUIDs: null, DriverState: { 'x.io': { Devices } } };
    const text = fileOf({ apiVersion: 'checkpoint.dra.kubelet.k8s.io/v1', ClaimInfoStateList: [claim] });
    const devices = [{ id: 'x.io/n/d', requests: ['gpu', 'other'], cdiDevices: [COMMON] }];
    expect(parsePreparedClaims(text)).toEqual([{ namespace: 'd', name: 'c', podUids: [], devices }]);
  });

  test('reads a node without claims', () => {
    const data = { apiVersion: 'checkpoint.dra.kubelet.k8s.io/v1', ClaimInfoStateList: null };
    expect(parsePreparedClaims(fileOf(data))).toEqual([]);
  });

  test.each([
    ['nothing', ''],
    ['half a file', CAPTURED.slice(0, 200)],
    ['one that was damaged', CAPTURED.replace('gpu-0', 'gpu-7')],
    ['another version', fileOf({ apiVersion: 'checkpoint.dra.kubelet.k8s.io/v2', ClaimInfoStateList: [] })],
    ['one of an earlier kubelet', '{"version":"v1","entries":[],"checksum":1}'],
  ])('throws on %s', (_name, text) => {
    expect(() => parsePreparedClaims(text)).toThrow();
  });
});

/** The captured data with something else at one or two of its places. */
const almost = array(tuple(nat(45), jsonValue({ maxDepth: 2 })), { minLength: 1, maxLength: 2 }).map((changes) =>
  changes.reduce<unknown>((data, [place, value]) => {
    let left = place;
    return JSON.parse(JSON.stringify(data), (_key, old: unknown) => (left-- === 0 ? value : old));
  }, DATA),
);

const read = (text: string): readonly PreparedClaim[] => {
  try {
    return parsePreparedClaims(text);
  } catch (err) {
    expect(err).toBeInstanceOf(Error);
    return [];
  }
};

describe('parsePreparedClaims() of any file', () => {
  test('gives whole claims or throws', () => {
    assert(
      property(almost, (data) => {
        for (const { namespace, name, podUids, devices } of read(fileOf(data))) {
          const texts = devices.flatMap(({ requests, cdiDevices }) => [...requests, ...cdiDevices]);
          for (const text of [namespace, name, ...podUids, ...texts]) expect(typeof text).toBe('string');
          for (const { id } of devices) expect(id.split('/').length).toBeGreaterThan(2);
        }
      }),
      { numRuns: RUNS },
    );
  });

  test('throws on a text of which a part was changed', () => {
    assert(
      property(nat(CAPTURED.length - 1), string({ minLength: 1, maxLength: 3 }), (at, text) => {
        const changed = CAPTURED.slice(0, at) + text + CAPTURED.slice(at + text.length);
        if (changed === CAPTURED) return;
        expect([[], parsePreparedClaims(CAPTURED)]).toContainEqual(read(changed));
      }),
      { numRuns: RUNS },
    );
  });
});
