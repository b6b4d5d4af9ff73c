import { describe, expect, test } from '@jest/globals';
import { allocationOf, memoryHost } from '../../test/node-worker/memory-host.ts';
import { BUS_IDS, gpuInformation, procDevices, UUIDS } from '../../test/node-worker/nvidia-tree.ts';
import type { DeviceNode } from '../kernel/engine.ts';
import type { Allocation } from '../kubelet/checkpoint.ts';
import type { AllocatedDevice, Host } from './driver.ts';
import { nodesText } from './nodes-text.ts';
import { nvidiaGpu } from './nvidia-gpu.ts';

const [FIRST, SECOND] = UUIDS;
const MIG = 'MIG-9d5b0c0e-1111-4c0e-9d5b-0123456789ab';
const RESOURCE = 'nvidia.com/gpu';

/** The second GPU has minor 0: minors do not follow the bus. */
const PROC = {
  '/proc/devices': procDevices(),
  [`/proc/driver/nvidia/gpus/${BUS_IDS[0]}/information`]: gpuInformation(BUS_IDS[0], 1, FIRST),
  [`/proc/driver/nvidia/gpus/${BUS_IDS[1]}/information`]: gpuInformation(BUS_IDS[1], 0, SECOND),
};
const DEV = {
  '/dev/nvidia0': 'c 195:0',
  '/dev/nvidia1': 'c 195:1',
  '/dev/nvidiactl': 'c 195:255',
  '/dev/nvidia-uvm': 'c 511:0',
  '/dev/nvidia-uvm-tools': 'c 511:1',
  '/dev/nvidia-modeset': 'c 195:254',
  '/dev/nvidia-caps/nvidia-cap12': 'c 510:12',
};
const HOST = memoryHost(PROC, DEV);
const CONTROL =
  '/dev/nvidiactl (c 195:255 rw), /dev/nvidia-uvm (c 511:0 rw), /dev/nvidia-uvm-tools (c 511:1 rw), /dev/nvidia-modeset (c 195:254 rw)';

const gpu = (ids: readonly string[], answer: Partial<Allocation> = {}): Allocation =>
  allocationOf(RESOURCE, ids, answer);
const specs = (...paths: readonly string[]): Pick<Allocation, 'devices'> => ({
  devices: paths.map((path) => ({ containerPath: path, hostPath: path, permissions: 'mrw' })),
});
const live = (...paths: readonly (keyof typeof DEV)[]): readonly DeviceNode[] =>
  paths.map((path) => ({ ...HOST.device(path), path, access: 'rwm' }));

interface Case {
  readonly live?: readonly DeviceNode[];
  readonly host?: Host;
}

function devicesOf(
  allocations: readonly Allocation[],
  { live: nodes, host = HOST }: Case = {},
): readonly AllocatedDevice[] {
  const slave = { namespace: 'd', name: 'web-slave-0', uid: 's' };
  return nvidiaGpu.devicesOf({ slave, allocations, ...(nodes && { live: nodes }) }, host);
}

const textOf = (devices: readonly AllocatedDevice[]): Readonly<Record<string, string>> =>
  Object.fromEntries(devices.map(({ id, nodes }) => [id, nodesText(nodes)]));

const VOLUME = { hostPath: '/dev/null', readOnly: false };
const node = (path: string): object => ({ path });
const below = (files: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(files).map(([path, text]) => [`/run/nvidia/driver${path}`, text]));

describe('nvidiaGpu.devicesOf()', () => {
  test('gives each GPU its own node, by UUID and minor, and the control nodes', () => {
    expect(textOf(devicesOf([gpu([FIRST, SECOND])]))).toEqual({
      [FIRST]: `/dev/nvidia1 (c 195:1 rw), ${CONTROL}`,
      [SECOND]: `/dev/nvidia0 (c 195:0 rw), ${CONTROL}`,
    });
  });

  test.each([
    ['shares of a GPU', [`${FIRST}::0`, `${FIRST}::1`], {}],
    ['the environment', [FIRST], { envs: { NVIDIA_VISIBLE_DEVICES: FIRST } }],
    ['an index in the environment', [FIRST], { envs: { NVIDIA_VISIBLE_DEVICES: '1' } }],
    [
      'volume mounts',
      [FIRST],
      {
        mounts: [
          { containerPath: `/var/run/nvidia-container-devices/${FIRST}`, hostPath: '/dev/null', readOnly: false },
        ],
      },
    ],
    ['device specs', [FIRST], specs('/dev/nvidia1', '/dev/nvidiactl', '/dev/nvidia-uvm')],
    ['a bus id', [BUS_IDS[0]], {}],
    ['a bus id as NVML writes it', [BUS_IDS[0].toUpperCase().padStart(16, '0')], {}],
  ])('knows a GPU by %s', (_name, ids, answer) => {
    const allocation = gpu(ids, answer);
    expect(nvidiaGpu.knowsNodes?.([allocation], HOST)).toBe(true);
    const nodes = devicesOf([allocation]).map((device) => nodesText(device.nodes));
    expect(nodes).toEqual(ids.map(() => `/dev/nvidia1 (c 195:1 rw), ${CONTROL}`));
  });

  test('finds what the GPU operator has put below another root, and names of older drivers', () => {
    const { '/proc/devices': _, ...proc } = PROC;
    const texts = { ...below(proc), '/proc/devices': procDevices(300, 'nvidia-frontend') };
    const host = memoryHost(
      texts,
      {
        ...below(DEV),
        '/run/nvidia/driver/dev/nvidia-uvm': 'c 300:0',
        '/run/nvidia/driver/dev/nvidia-uvm-tools': 'c 300:1',
      },
      ['', '/run/nvidia/driver'],
    );
    expect(textOf(devicesOf([gpu([FIRST])], { host }))[FIRST]).toBe(
      `/dev/nvidia1 (c 195:1 rw), ${CONTROL.replaceAll('511', '300')}`,
    );
  });

  test('takes a whole tree below another root', () => {
    const host = memoryHost({ ...below(PROC), '/proc/devices': 'Character devices:\n  1 mem\n' }, below(DEV), [
      '',
      '/run/nvidia/driver',
    ]);
    expect(textOf(devicesOf([gpu([FIRST])], { host }))[FIRST]).toBe(`/dev/nvidia1 (c 195:1 rw), ${CONTROL}`);
  });

  test('gives a MIG device what the running slave has', () => {
    const allocation = allocationOf('nvidia.com/mig-1g.10gb', [MIG], { envs: { NVIDIA_VISIBLE_DEVICES: MIG } });
    expect(nvidiaGpu.knowsNodes?.([allocation], HOST)).toBe(false);
    const nodes = live('/dev/nvidia0', '/dev/nvidia-caps/nvidia-cap12', '/dev/nvidiactl');
    expect(textOf(devicesOf([allocation], { live: nodes }))[MIG]).toBe(
      `${CONTROL}, /dev/nvidia0 (c 195:0 rw), /dev/nvidia-caps/nvidia-cap12 (c 510:12 rw)`,
    );
  });

  test('gives a MIG device what the answer names, before the slave runs', () => {
    const allocation = allocationOf(
      'nvidia.com/mig-1g.10gb',
      [MIG],
      specs('/dev/nvidia0', '/dev/nvidia-caps/nvidia-cap12'),
    );
    expect(nvidiaGpu.knowsNodes?.([allocation], HOST)).toBe(true);
    expect(textOf(devicesOf([allocation]))[MIG]).toContain('/dev/nvidia0 (c 195:0 rw), /dev/nvidia-caps/nvidia-cap12');
  });

  test('gives GPUs their nodes by a CDI spec', () => {
    const spec = {
      cdiVersion: '0.5.0',
      kind: 'k8s.device-plugin.nvidia.com/gpu',
      devices: [{ name: MIG, containerEdits: { deviceNodes: [node('/dev/nvidia1')] } }],
      containerEdits: { deviceNodes: [node('/dev/nvidiactl'), node('/dev/nvidia-uvm')] },
    };
    const host = memoryHost({ ...PROC, '/var/run/cdi/n.json': JSON.stringify(spec) }, DEV);
    const allocation = gpu([MIG], { cdiDevices: [`k8s.device-plugin.nvidia.com/gpu=${MIG}`] });
    expect(textOf(devicesOf([allocation], { host }))[MIG]).toBe(`${CONTROL}, /dev/nvidia1 (c 195:1 rw)`);
  });

  const without = (...paths: readonly string[]): Host =>
    memoryHost(PROC, Object.fromEntries(Object.entries(DEV).filter(([path]) => !paths.includes(path))));
  const fresh = memoryHost(
    { ...PROC, [`/proc/driver/nvidia/gpus/${BUS_IDS[0]}/information`]: gpuInformation(BUS_IDS[0], 1) },
    DEV,
  );
  const cases: readonly [string, string, Partial<Case> & { ids?: readonly string[]; answer?: Partial<Allocation> }][] =
    [
      [
        'a node without nvidia-uvm',
        'has no /dev/nvidia-uvm. Run "nvidia-modprobe -u -c=0" on it',
        { host: without('/dev/nvidia-uvm') },
      ],
      [
        'a node without the node of the GPU',
        'has no /dev/nvidia1. Run "nvidia-modprobe -c=1"',
        { host: without('/dev/nvidia1') },
      ],
      [
        'another device in its place',
        '/dev/nvidia1 of the host must be c 195:1, is c 1:3',
        { host: memoryHost(PROC, { ...DEV, '/dev/nvidia1': 'c 1:3' }) },
      ],
      [
        'a driver that is not loaded',
        'has no /dev/nvidiactl',
        { host: memoryHost({ '/proc/devices': 'Character devices:\n  1 mem\n' }, DEV), live: live('/dev/nvidia1') },
      ],
      [
        'an environment that names another GPU',
        `the kubelet names ${FIRST}, NVIDIA_VISIBLE_DEVICES of its device plugin: ${SECOND}`,
        { answer: { envs: { NVIDIA_VISIBLE_DEVICES: SECOND } } },
      ],
      [
        'volume mounts of another GPU',
        `mounts of its device plugin: ${SECOND}`,
        { answer: { mounts: [{ ...VOLUME, containerPath: `/var/run/nvidia-container-devices/${SECOND}` }] } },
      ],
      [
        'CDI names of another GPU',
        'CDI names of its device plugin: GPU-',
        { answer: { cdiDevices: [`v.com/gpu=${SECOND}`] } },
      ],
      [
        'device specs of another GPU',
        'the driver has it at /dev/nvidia1 (c 195:1 rw), its device plugin names /dev/nvidia0 (c 195:0 rw)',
        { answer: specs('/dev/nvidia0') },
      ],
      [
        'device specs of more than it has',
        'its device plugin names /dev/nvidia1',
        { answer: specs('/dev/nvidia1', '/dev/nvidia0') },
      ],
      ['a slave that has another GPU', 'the running slave has /dev/nvidia0', { live: live('/dev/nvidia0') }],
      ['a GPU that the driver does not know yet', 'by a patch of /spec/runtimeClassName', { host: fresh }],
      [
        'a MIG device of a slave without GPU',
        'the running slave has no GPU',
        { ids: [MIG], live: live('/dev/nvidiactl') },
      ],
    ];
  test.each(cases)('refuses %s', (_name, message, { ids = [FIRST], answer = {}, ...known }) => {
    expect(() => devicesOf([gpu(ids, answer)], known)).toThrow(message);
  });

  test('names the GPUs that it does not know by their bus ids', () => {
    expect(() => devicesOf([gpu([FIRST])], { host: fresh })).toThrow('0000:3b:00.0');
  });

  test('refuses a slave that the kubelet has allocated nothing', () => {
    expect(() => devicesOf([], { live: live('/dev/nvidia0') })).toThrow('the kubelet has allocated it no GPU');
  });

  test('gives what device specs name besides the GPU', () => {
    const allocation = gpu([FIRST], specs('/dev/nvidia1', '/dev/nvidia-caps/nvidia-cap12'));
    expect(devicesOf([allocation])[0]?.nodes.at(-1)?.path).toBe('/dev/nvidia-caps/nvidia-cap12');
  });

  test('takes no major of a block device', () => {
    const host = memoryHost({ ...PROC, '/proc/devices': procDevices().replace('7 loop', '7 nvidia-uvm') }, DEV);
    expect(textOf(devicesOf([gpu([FIRST])], { host }))[FIRST]).toContain('/dev/nvidia-uvm (c 511:0 rw)');
  });

  test('works without what only some drivers have', () => {
    const host = without('/dev/nvidia-uvm-tools', '/dev/nvidia-modeset');
    expect(devicesOf([gpu([FIRST])], { host })[0]?.nodes).toHaveLength(3);
  });
});

describe('nvidiaGpu.expected()', () => {
  const granted = live('/dev/nvidia1', '/dev/nvidiactl');

  test('is nothing of a slave whose runtime gave it no GPU', () => {
    expect(nvidiaGpu.expected?.(granted, [])).toEqual([]);
  });

  test('is the GPUs, but not the control nodes, of a slave that has one', () => {
    expect(nvidiaGpu.expected?.(granted, live('/dev/nvidia0'))).toEqual(granted.slice(0, 1));
  });
});
