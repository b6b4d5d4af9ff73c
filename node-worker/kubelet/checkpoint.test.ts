import { describe, expect, test } from '@jest/globals';
import { assert, constantFrom, jsonValue, property, tuple, uint8Array } from 'fast-check';
import { loadService } from '../../proto/services.ts';
import { RUNS } from '../../test/property-runs.ts';
import { parseCheckpoint } from './checkpoint.ts';

/** What a device plugin answers for one container, as the kubelet keeps it. */
function allocResp(response: object): string {
  const { responseSerialize } = loadService('DevicePlugin')['Allocate']!;
  const whole = responseSerialize({ containerResponses: [response] });
  // Tag and length come first; lengths of 128 and more take two bytes.
  return whole.subarray(whole[1]! < 128 ? 2 : 3).toString('base64');
}

function checkpoint(...entries: readonly object[]): string {
  const entry = {
    PodUID: 'u1',
    ContainerName: 'slave',
    ResourceName: 'a.b/c',
    DeviceIDs: { '-1': ['d'] },
    AllocResp: '',
  };
  const Data = { PodDeviceEntries: entries.map((own) => ({ ...entry, ...own })), RegisteredDevices: {} };
  return JSON.stringify({ Data, Checksum: 1 });
}

const FUSE = { containerPath: '/dev/fuse', hostPath: '/dev/fuse', permissions: 'rwm' };

const FIELDS = ['PodUID', 'ResourceName', 'DeviceIDs', 'AllocResp', 'Other'] as const;

function unlessThrown(parse: () => ReturnType<typeof parseCheckpoint>): ReturnType<typeof parseCheckpoint> {
  try {
    return parse();
  } catch (err) {
    expect(err).toBeInstanceOf(Error);
    return [];
  }
}

describe('parseCheckpoint()', () => {
  test('reads the entry of a hostdev device', () => {
    const text =
      '{"Data":{"PodDeviceEntries":[{"PodUID":"6f0f6a0e-0d0c-4e0e-9c35-1b3f0f3e7a11","ContainerName":"slave",' +
      '"ResourceName":"hostdev.k8s.io/dev_fuse","DeviceIDs":{"-1":["/dev/fuse"]},' +
      '"AllocResp":"GhsKCS9kZXYvZnVzZRIJL2Rldi9mdXNlGgNyd20="}],' +
      '"RegisteredDevices":{"hostdev.k8s.io/dev_fuse":["/dev/fuse"]}},"Checksum":1163817346}';
    expect(parseCheckpoint(text)).toEqual([
      {
        podUid: '6f0f6a0e-0d0c-4e0e-9c35-1b3f0f3e7a11',
        container: 'slave',
        resource: 'hostdev.k8s.io/dev_fuse',
        deviceIds: ['/dev/fuse'],
        devices: [FUSE],
        mounts: [],
        envs: {},
        annotations: {},
        cdiDevices: [],
      },
    ]);
  });

  test('reads an answer of any size', () => {
    const envs = { LONG: 'x'.repeat(300) };
    const mounts = [{ containerPath: '/a', hostPath: '/b', readOnly: true }];
    const annotations = { note: 'n' };
    const answer = { envs, mounts, annotations, devices: [FUSE], cdiDevices: [{ name: 'v.com/gpu=0' }] };
    const [allocation] = parseCheckpoint(checkpoint({ AllocResp: allocResp(answer) }));
    expect(allocation).toMatchObject({ ...answer, cdiDevices: ['v.com/gpu=0'] });
  });

  test('reads CDI names from annotations, too', () => {
    const annotations = { 'cdi.k8s.io/plugin_1': 'v.com/gpu=0,v.com/gpu=1', 'v.com/note': 'v.com/gpu=2' };
    const AllocResp = allocResp({ annotations, cdiDevices: [{ name: 'v.com/gpu=0' }] });
    expect(parseCheckpoint(checkpoint({ AllocResp }))[0]?.cdiDevices).toEqual(['v.com/gpu=0', 'v.com/gpu=1']);
  });

  test.each([
    ['by NUMA node', { '0': ['b'], '1': ['a', 'c'] }, ['a', 'b', 'c']],
    ['of a device that is near two NUMA nodes', { '0': ['a', 'b'], '1': ['a'] }, ['a', 'b']],
    ['as a plain list', ['b', 'a'], ['a', 'b']],
    ['as null', null, []],
    ['of a NUMA node without any', { '0': null }, []],
  ])('reads device ids %s', (_name, DeviceIDs, deviceIds) => {
    expect(parseCheckpoint(checkpoint({ DeviceIDs }))[0]?.deviceIds).toEqual(deviceIds);
  });

  test('reads a node without allocations', () => {
    expect(parseCheckpoint('{"Data":{"PodDeviceEntries":null,"RegisteredDevices":{}},"Checksum":1}')).toEqual([]);
  });

  test('reads any text that looks like one, or throws, whatever its parts are', () => {
    const any = tuple(jsonValue({ maxDepth: 1 }), uint8Array({ maxLength: 60 }), constantFrom(...FIELDS));
    assert(
      property(any, ([value, bytes, field]) => {
        const AllocResp = Buffer.from(bytes).toString('base64');
        const read = unlessThrown(() => parseCheckpoint(checkpoint({ AllocResp, [field]: value })));
        for (const { deviceIds, devices, mounts, cdiDevices, envs, annotations } of read) {
          const texts = [deviceIds, cdiDevices, Object.values(envs), Object.values(annotations)].flat();
          const paths = [...devices, ...mounts].flatMap(({ containerPath, hostPath }) => [containerPath, hostPath]);
          expect([...texts, ...paths].every((text) => typeof text === 'string')).toBe(true);
        }
      }),
      { numRuns: RUNS },
    );
  });

  test.each(['', '{', '{}', '[]', '{"Data":{"PodDeviceEntries":[{}]}}'])('throws on %j', (text) => {
    expect(() => parseCheckpoint(text)).toThrow();
  });
});
