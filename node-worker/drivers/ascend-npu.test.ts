import { describe, expect, test } from '@jest/globals';
import { array, assert, constantFrom, oneof, property, string, tuple } from 'fast-check';
import { failureOf } from '../../contract/failures.ts';
import { allocationOf, memoryHost } from '../../test/node-worker/memory-host.ts';
import { RUNS } from '../../test/property-runs.ts';
import type { DeviceNode } from '../kernel/engine.ts';
import type { Allocation } from '../kubelet/checkpoint.ts';
import { ascendNpu } from './ascend-npu.ts';
import type { AllocatedDevice, Finding } from './driver.ts';
import { nodesText } from './nodes-text.ts';

const REAL = 'huawei.com/AscendReal';
const DEV = {
  '/dev/davinci0': 'c 236:0',
  '/dev/davinci1': 'c 236:1',
  '/dev/vdavinci100': 'c 237:100',
  '/dev/davinci_manager': 'c 238:0',
  '/dev/davinci_manager_docker': 'c 239:0',
  '/dev/devmm_svm': 'c 240:0',
  '/dev/hisi_hdc': 'c 241:0',
  '/dev/svm0': 'c 242:0',
  '/dev/ts_aisle': 'c 243:0',
};
type Path = keyof typeof DEV;
const HOST = memoryHost({}, DEV);
const SHARED = [
  ['/dev/davinci_manager', '/dev/davinci_manager'],
  ['/dev/devmm_svm', '/dev/devmm_svm'],
  ['/dev/hisi_hdc', '/dev/hisi_hdc'],
] as const;
const SHARED_TEXT = '/dev/davinci_manager (c 238:0 rw), /dev/devmm_svm (c 240:0 rw), /dev/hisi_hdc (c 241:0 rw)';

type Pair = readonly [hostPath: Path, containerPath: string];
const whole = (npu: 0 | 1): Pair => [`/dev/davinci${npu}`, `/dev/davinci${npu}`];
const VIRTUAL: Pair = ['/dev/vdavinci100', '/dev/davinci100'];

/** As the plugin answers without Ascend Docker Runtime. */
const specs = (...pairs: readonly Pair[]): Pick<Allocation, 'devices'> => ({
  devices: pairs.map(([hostPath, containerPath]) => ({ hostPath, containerPath, permissions: 'rw' })),
});
/** As it answers with that. */
const visible = (value: string, options = ''): Pick<Allocation, 'envs'> => ({
  envs: { ASCEND_VISIBLE_DEVICES: value, ASCEND_RUNTIME_OPTIONS: options },
});
const live = (...pairs: readonly Pair[]): readonly DeviceNode[] =>
  pairs.map(([hostPath, path]) => ({ ...HOST.device(hostPath), path, access: 'rwm' }));

const npu = (ids: readonly string[], answer: Partial<Allocation> = {}, resource = 'huawei.com/Ascend910'): Allocation =>
  allocationOf(resource, ids, answer);
const findingOf = (allocations: readonly Allocation[], more: Partial<Finding> = {}): Finding => ({
  slave: { namespace: 'd', name: 's1', uid: 's' },
  allocations,
  ...more,
});
const devicesOf = (allocations: readonly Allocation[], more: Partial<Finding> = {}): readonly AllocatedDevice[] =>
  ascendNpu.devicesOf(findingOf(allocations, more), HOST);
const textOf = (devices: readonly AllocatedDevice[]): Readonly<Record<string, string>> =>
  Object.fromEntries(devices.map(({ id, nodes }) => [id, nodesText(nodes)]));
const knows = (...allocations: readonly Allocation[]): boolean | undefined => ascendNpu.knowsNodes?.(allocations, HOST);

describe('ascendNpu.devicesOf()', () => {
  test('gives each NPU its own node and the shared ones that its plugin names, before the slave runs', () => {
    const allocation = npu(['Ascend910-0', 'Ascend910-1'], specs(...SHARED, whole(0), whole(1)));
    expect(knows(allocation)).toBe(true);
    expect(textOf(devicesOf([allocation], { words: { [REAL]: 'Ascend910-1,Ascend910-0' } }))).toEqual({
      'Ascend910-0': `/dev/davinci0 (c 236:0 rw), ${SHARED_TEXT}`,
      'Ascend910-1': `/dev/davinci1 (c 236:1 rw), ${SHARED_TEXT}`,
    });
  });

  test('gives nodes under the names that they have in a container', () => {
    const answer = specs(['/dev/davinci_manager_docker', '/dev/davinci_manager'], VIRTUAL);
    const allocation = npu(['Ascend310P-4c.3cpu-100-0'], answer, 'huawei.com/Ascend310P-4c.3cpu');
    expect(knows(allocation)).toBe(true);
    expect(textOf(devicesOf([allocation]))).toEqual({
      'Ascend310P-4c.3cpu-100-0': '/dev/davinci100 (c 237:100 rw), /dev/davinci_manager (c 239:0 rw)',
    });
  });

  test.each([
    ['a whole NPU', ['Ascend910-1'], visible('1'), [whole(1), ...SHARED]],
    ['one that the variable names', ['Ascend910-1'], visible('Ascend910-1'), [whole(1), ...SHARED]],
    ['a virtual NPU', ['Ascend910-2c-100-0'], visible('100', 'VIRTUAL'), [VIRTUAL, ...SHARED]],
    ['a plugin that names nothing', ['Ascend310-1'], {}, [whole(1), ...SHARED]],
    ['a board with other nodes', ['Ascend310-0'], visible('0'), [whole(0), ['/dev/svm0', '/dev/svm0']]],
    [
      'a board with a manager for containers',
      ['davinci-mini0'],
      visible('0'),
      [whole(0), ['/dev/davinci_manager_docker', '/dev/davinci_manager'], ['/dev/ts_aisle', '/dev/ts_aisle']],
    ],
  ] as const)('gives what the running slave has: %s', (_name, ids, answer, pairs) => {
    const allocation = npu(ids, answer);
    expect(knows(allocation)).toBe(false);
    const nodes = live(...pairs);
    const [device] = devicesOf([allocation], { live: nodes });
    expect(new Set(device?.nodes.map((node) => nodesText([node])))).toEqual(
      new Set(nodes.map((node) => nodesText([{ ...node, access: 'rw' }]))),
    );
  });

  test('gives cores of an NPU as one, which goes with the last', () => {
    const ids = ['npu-core-3', 'npu-core-4'];
    const allocation = npu(ids, visible('100', 'VIRTUAL'), 'huawei.com/npu-core');
    const more = { live: live(VIRTUAL, ...SHARED), words: { [REAL]: 'Ascend310P-2c-100-0_1' } };
    const text = `/dev/davinci100 (c 237:100 rw), ${SHARED_TEXT}`;
    expect(textOf(devicesOf([allocation], more))).toEqual({ 'npu-core-3': text, 'npu-core-4': text });
  });

  test.each([
    ['nodes', specs(whole(1), ...SHARED)],
    ['the variable', visible('1')],
  ])('gives what a plugin has made of the pick of the kubelet, by %s, once the slave has that', (_name, answer) => {
    const allocation = npu(['Ascend910-0'], answer);
    expect(knows(allocation)).toBe(false);
    expect(() => devicesOf([allocation])).toThrow('it must run to show its nodes, does not');
    for (const words of [{}, { [REAL]: 'Ascend910-1' }]) {
      const devices = devicesOf([allocation], { live: live(whole(1), ...SHARED), words });
      expect(textOf(devices)).toEqual({ 'Ascend910-0': `/dev/davinci1 (c 236:1 rw), ${SHARED_TEXT}` });
    }
  });

  test('adds up what several containers or resources have', () => {
    const both = [npu(['Ascend910-0'], visible('0')), npu(['Ascend910-2c-100-0'], visible('100'))];
    const devices = devicesOf(both, { live: live(whole(0), VIRTUAL, ...SHARED) });
    expect(devices.map(({ nodes }) => nodes[0]?.path)).toEqual(['/dev/davinci0', '/dev/davinci100']);
  });

  test('leaves out what the running slave may only make', () => {
    const [npu0, manager, ...others] = live(whole(0), ...SHARED).map((node) => ({ ...node, access: 'rw' }));
    const nodes = [npu0, { ...manager, access: 'm' }, ...others] as readonly DeviceNode[];
    const [device] = devicesOf([npu(['Ascend910-0'], visible('0'))], { live: nodes });
    expect(device?.nodes).toEqual([npu0, ...others]);
  });

  const one = (answer: Partial<Allocation> = {}): readonly Allocation[] => [npu(['Ascend910-0'], answer)];
  const cases: readonly [string, string, readonly Allocation[], Partial<Finding>?][] = [
    [
      'an annotation that names another NPU than the kubelet',
      `Cannot attach what "s1" has: the kubelet names NPU 0, its annotation ${REAL} NPU 1`,
      one(),
      { live: live(whole(0)), words: { [REAL]: 'Ascend910-1' } },
    ],
    [
      'an annotation that names another NPU than the plugin, even if the kubelet has picked that',
      `its device plugin names NPU 1, its annotation ${REAL} NPU 0`,
      one(specs(whole(1), ...SHARED)),
      { live: live(whole(1), ...SHARED), words: { [REAL]: 'Ascend910-0' } },
    ],
    [
      'an annotation with more NPUs',
      `its annotation ${REAL} NPU 0, 1`,
      one(visible('0')),
      { live: live(whole(0)), words: { [REAL]: 'Ascend910-1,Ascend910-0' } },
    ],
    [
      'an annotation of another form',
      `its "${REAL}" must be NPUs such as "Ascend910-0,Ascend910-1", is "0"`,
      one(specs(whole(0))),
      { words: { [REAL]: '0' } },
    ],
    [
      'a variable and nodes that differ',
      'its device plugin names NPU 0, ASCEND_VISIBLE_DEVICES of its device plugin NPU 1',
      one({ ...specs(whole(0)), ...visible('1') }),
    ],
    ['a number with a zero before it', 'is "00"', one(visible('00')), { live: live(whole(0)) }],
    ['a name with one', 'is "Ascend910-00"', one(), { live: live(whole(0)), words: { [REAL]: 'Ascend910-00' } }],
    ['a variable of another form', 'must be NPUs such as "0,1", is "0-1"', one(visible('0-1')), { live: [] }],
    ['a slave without an NPU', 'the running slave has none', one(visible('0')), { live: [] }],
    ['a slave with another NPU', 'the running slave has /dev/davinci1', one(visible('0')), { live: live(whole(1)) }],
    ['a slave with one more', 'it must have /dev/davinci0', one(visible('0')), { live: live(whole(0), whole(1)) }],
    [
      'a slave with another device under that name',
      'the running slave has /dev/davinci0 (c 236:1 rw)',
      one(visible('0')),
      { live: live(['/dev/davinci1', '/dev/davinci0']) },
    ],
    [
      'a plugin that names another device under that name',
      'the driver names /dev/davinci0 (c 236:0 rw), the device plugin names /dev/davinci0 (c 236:1 rw)',
      one(specs(['/dev/davinci1', '/dev/davinci0'])),
    ],
    ['an NPU that the node lacks', '"/dev/davinci9"', [npu(['Ascend910-9'], visible('9'))], { live: [] }],
    ['a virtual one that it lacks', '"/dev/vdavinci101"', [npu(['Ascend910-2c-101-0'], visible('101'))], { live: [] }],
    ['cores that nobody explains', '"npu-core-1" does not tell which', [npu(['npu-core-1'])], { live: live(whole(0)) }],
    ['a slave that was given none', 'the kubelet has allocated it none', [], { live: live(whole(0)) }],
    ['nodes that nobody names, before the slave runs', 'it must run to show its nodes', one(visible('0'))],
  ];
  test.each(cases)('refuses %s', (_name, message, allocations, more = {}) => {
    expect(() => devicesOf(allocations, more)).toThrow(message);
  });

  const name = oneof(
    constantFrom(
      'Ascend910-0',
      'Ascend910-1',
      'Ascend910-2c-100-0',
      'Ascend310P-4c.3cpu-100-0_1',
      'npu-core-0',
      '0',
      '-',
    ),
    string({ maxLength: 12, unit: 'binary' }),
    tuple(constantFrom('Ascend910-', 'Ascend', 'Ascend910-2c-'), string({ maxLength: 6 })).map((parts) =>
      parts.join(''),
    ),
  );
  const list = array(name, { maxLength: 4 }).map((names) => names.join(','));

  test('gives the NPU of the plugin or says in one line why not, whatever somebody has written into the pod', () => {
    const allocation = npu(['Ascend910-0'], visible('0'));
    const given = devicesOf([allocation], { live: live(whole(0), ...SHARED) });
    assert(
      property(list, (text) => {
        const ask = () => devicesOf([allocation], { live: live(whole(0), ...SHARED), words: { [REAL]: text } });
        expectGivenOrRefused(
          ask,
          given,
          text.split(',').every((one) => one === 'Ascend910-0'),
        );
      }),
      { numRuns: RUNS },
    );
  });

  test('gives nothing that the slave does not have, whatever the plugin and the kubelet say', () => {
    const nodes = live(whole(0), ...SHARED);
    assert(
      property(array(name, { maxLength: 3 }), list, (ids, text) => {
        const ask = () => devicesOf([npu(ids, visible(text))], { live: nodes });
        expectGivenOrRefused(ask, undefined, false);
      }),
      { numRuns: RUNS },
    );
  });

  /** `mustGive`: whether a refusal would be wrong; without `given`, what is given must be what the slave has. */
  function expectGivenOrRefused(
    ask: () => readonly AllocatedDevice[],
    given: readonly AllocatedDevice[] | undefined,
    mustGive: boolean,
  ): void {
    try {
      const devices = ask();
      if (given !== undefined) expect([devices, mustGive]).toEqual([given, true]);
      expect(devices.flatMap(({ nodes }) => nodes.map(({ path }) => path)).filter((path) => !PATHS.has(path))).toEqual(
        [],
      );
    } catch (err) {
      const { type, message = '' } = failureOf(err) ?? {};
      expect([type, mustGive]).toEqual([expect.stringMatching(/^Not(Allocated|Found)$/), false]);
      expect(message).toMatch(/^Cannot [^\n]{10,1900}$/);
    }
  }
  const PATHS = new Set(['/dev/davinci0', ...SHARED.map(([path]) => path)]);
});

const filesOf = (texts: readonly string[], answer: Partial<Allocation> = {}) =>
  ascendNpu.filesOf?.(
    findingOf([npu(['Ascend910-0'], answer)]),
    memoryHost(Object.fromEntries(texts.map((path) => [path, ''])), DEV),
  );
const mounting = (path: string) => ({ mounts: [{ hostPath: path, containerPath: path, readOnly: true }] });

describe('ascendNpu.filesOf()', () => {
  test('are those that Ascend Docker Runtime mounts, as far as the node has them', () => {
    const driver = ['/usr/local/Ascend/driver/lib64/driver/libascend_hal.so', '/usr/local/Ascend/driver/tools/x'];
    const paths = ['/usr/local/Ascend/driver/lib64', '/usr/local/dcmi', '/usr/local/bin/npu-smi'];
    const found = filesOf([...driver, '/usr/local/dcmi/libdcmi.so', '/usr/local/bin/npu-smi', '/usr/local/bin/other']);
    expect(found).toEqual(paths.map((path) => ({ hostPath: path, path })));
    expect(filesOf([])).toEqual([]);
  });

  test('are those of the plugin if it brings the driver, and both if it brings something else', () => {
    const driver = '/usr/local/Ascend/driver';
    const host = [`${driver}/lib64/x.so`, '/usr/local/bin/npu-smi', '/etc/hccl_rootinfo.json'];
    expect(filesOf(host, mounting(driver))?.map(({ path }) => path)).toEqual([driver]);
    expect(filesOf(host, mounting('/etc/hccl_rootinfo.json'))?.map(({ path }) => path)).toEqual([
      '/etc/hccl_rootinfo.json',
      `${driver}/lib64`,
      '/usr/local/bin/npu-smi',
    ]);
  });
});
