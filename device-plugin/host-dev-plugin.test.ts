import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { ConfigMapVolume } from '../test/device-plugin/config-map.ts';
import { KubeletSide } from '../test/device-plugin/kubelet-side.ts';
import { UsbTree } from '../test/device-plugin/usb-tree.ts';
import { RUNS } from '../test/property-runs.ts';
import { eventually } from '../test/workflows/outcome.ts';
import { Allocations } from './allocations.ts';
import { parseConfigFile } from './config-file.ts';
import { ConfigSource } from './config-source.ts';
import { type HostDev, parseDevs } from './devs.ts';
import { HostDevPlugin } from './host-dev-plugin.ts';
import type { Host } from './host-files.ts';
import { PluginMetrics } from './metrics.ts';

const FUSE = 'hostdev.k8s.io/dev_fuse';
const KVM = 'hostdev.k8s.io/dev_kvm';
const SILENT = pino({ enabled: false });
/** Where registrations are counted: none is repeated because the machine stood still for a while. */
const LONG_PAUSE_MS = 600_000;
/** 10 in `npm test`, 50 in `npm run test:long`. */
const RESTARTS = Math.min(50, RUNS / 20);
let [dir, devRoot] = ['', ''];
let volume: ConfigMapVolume;
let kubelet: KubeletSide;
let metrics: PluginMetrics;
let plugin: HostDevPlugin | undefined;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'plugins-'));
  devRoot = mkdtempSync(join(tmpdir(), 'dev-'));
  for (const name of ['fuse', 'kvm', 'null']) execFileSync('mknod', [join(devRoot, name), 'c', '1', '3']);
  volume = new ConfigMapVolume();
  kubelet = new KubeletSide(dir);
  metrics = new PluginMetrics();
});

afterEach(async () => {
  await plugin?.close();
  kubelet.stop();
  for (const folder of [dir, devRoot]) rmSync(folder, { recursive: true });
  volume.remove();
});

function startPlugin(
  devs: string | (() => readonly HostDev[]) = '/dev/fuse:rwm,/dev/kvm:rw:2',
  pauseMs = 100,
  host: Host = { devRoot, sysRoot: '/sys' },
): HostDevPlugin {
  plugin = new HostDevPlugin({
    devs: typeof devs === 'string' ? () => parseDevs(devs).devs : devs,
    pluginDir: dir,
    host,
    allocations: new Allocations(join(dir, 'hostdev/allocations.json'), 'this boot', SILENT),
    metrics,
    pollMs: 20,
    pauseMs,
    log: SILENT,
  });
  return plugin;
}

async function started(pauseMs?: number): Promise<HostDevPlugin> {
  await kubelet.start();
  const running = startPlugin(undefined, pauseMs);
  await eventually(() => running.registered && (kubelet.lists.get(FUSE)?.length ?? 0) > 0);
  return running;
}

const registrations = (resource: string): number =>
  kubelet.registered.filter(({ resourceName }) => resourceName === resource).length;

describe('HostDevPlugin', () => {
  test('registers each resource on a socket of its own and lists its devices', async () => {
    await started(LONG_PAUSE_MS);
    await eventually(() => kubelet.devices(KVM));
    expect(kubelet.registered.map(({ version, endpoint, resourceName }) => [version, endpoint, resourceName])).toEqual(
      expect.arrayContaining([
        ['v1beta1', 'hostdev.k8s.io_dev_fuse.sock', FUSE],
        ['v1beta1', 'hostdev.k8s.io_dev_kvm.sock', 'hostdev.k8s.io/dev_kvm'],
      ]),
    );
    expect(kubelet.lists.get(FUSE)).toEqual([[{ ID: '/dev/fuse', health: 'Healthy', topology: null }]]);
    expect(kubelet.lists.get('hostdev.k8s.io/dev_kvm')?.[0]).toHaveLength(2);
  });

  test('answers each container of an Allocate with the device node', async () => {
    await started();
    const node = { containerPath: '/dev/fuse', hostPath: '/dev/fuse', permissions: 'rwm' };
    expect(await kubelet.allocate(FUSE, ['/dev/fuse'], ['/dev/fuse'])).toMatchObject({
      containerResponses: [{ devices: [node] }, { devices: [node] }],
    });
    await expect(kubelet.allocate(FUSE, ['/dev/kvm'])).rejects.toThrow('there is no such device');
  });

  test('says so when the device file goes and comes back', async () => {
    await started();
    const health = (): unknown => kubelet.lists.get(FUSE)?.at(-1);
    renameSync(join(devRoot, 'fuse'), join(devRoot, 'away'));
    await eventually(() => JSON.stringify(health()).includes('Unhealthy'));
    await expect(kubelet.allocate(FUSE, ['/dev/fuse'])).rejects.toThrow('/dev/fuse is no device file of the host now');
    renameSync(join(devRoot, 'away'), join(devRoot, 'fuse'));
    await eventually(() => JSON.stringify(health()).includes('Healthy'));
  });

  test('another device in place of one that was given is another one, also for a plugin that starts anew', async () => {
    const running = await started();
    await kubelet.allocate(FUSE, ['/dev/fuse']);
    rmSync(join(devRoot, 'fuse'));
    execFileSync('mknod', [join(devRoot, 'fuse'), 'c', '1', '5']);
    const both = ['/dev/fuse Unhealthy', '/dev/fuse@c1:5 Healthy'];
    await eventually(() => isDeepStrictEqual(kubelet.devices(FUSE), both));
    await expect(kubelet.allocate(FUSE, ['/dev/fuse'])).rejects.toThrow('/dev/fuse is another device now');
    await running.close();
    startPlugin();
    await eventually(() => plugin!.registered && isDeepStrictEqual(kubelet.devices(FUSE), both));
    expect(await kubelet.allocate(FUSE, ['/dev/fuse@c1:5'])).toMatchObject({
      containerResponses: [{ devices: [{ containerPath: '/dev/fuse', hostPath: '/dev/fuse' }] }],
    });
    rmSync(join(devRoot, 'fuse'));
    execFileSync('mknod', [join(devRoot, 'fuse'), 'c', '1', '3']);
    await eventually(() => isDeepStrictEqual(kubelet.devices(FUSE), ['/dev/fuse Healthy', '/dev/fuse@c1:5 Unhealthy']));
  });

  test('a USB device is offered with its NUMA node, and under another id when it is plugged in again', async () => {
    const tree = new UsbTree();
    const stick = { port: '1-1', vendor: '0403', product: '6001', serial: 'A', number: 7 };
    tree.plug(stick);
    await kubelet.start();
    const { devs } = parseConfigFile('devices: [{ name: stick, usb: { vendor: "0403", product: "6001" } }]');
    startPlugin(() => devs, 100, tree);
    const id = 'usb:0403:6001:A@1-1';
    const STICK = 'hostdev.k8s.io/stick';
    await eventually(() => kubelet.devices(STICK));
    expect(kubelet.lists.get(STICK)).toEqual([[{ ID: id, health: 'Healthy', topology: { nodes: [{ ID: '1' }] } }]]);
    await kubelet.allocate(STICK, [id]);
    tree.unplug(stick);
    await eventually(() => isDeepStrictEqual(kubelet.devices(STICK), [`${id} Unhealthy`]));
    tree.plug({ ...stick, number: 8 });
    await eventually(() => isDeepStrictEqual(kubelet.devices(STICK), [`${id} Unhealthy`, `${id}@c189:7 Healthy`]));
    tree.remove();
  });

  test('counts devices, allocations and registrations', async () => {
    await kubelet.start();
    let devs = parseDevs('/dev/fuse:rw:3,/dev/gone:r').devs;
    const running = startPlugin(() => devs, LONG_PAUSE_MS);
    await eventually(() => running.registered && kubelet.devices(FUSE));
    await kubelet.allocate(FUSE, ['/dev/fuse']);
    await expect(kubelet.allocate(FUSE, ['/dev/nothing'])).rejects.toThrow('there is no such device');
    const text = await metrics.text();
    for (const series of [
      'devices{resource="hostdev.k8s.io/dev_fuse",health="healthy"} 3',
      'devices{resource="hostdev.k8s.io/dev_gone",health="unhealthy"} 1',
      'allocations_total{resource="hostdev.k8s.io/dev_fuse",result="ok"} 1',
      'allocations_total{resource="hostdev.k8s.io/dev_fuse",result="refused"} 1',
      'registrations_total{resource="hostdev.k8s.io/dev_fuse",result="ok"} 1',
    ])
      expect(text).toContain(`device_mounter_hostdev_${series}`);
    devs = [];
    await eventually(async () => !(await metrics.text()).includes(FUSE));
  });

  test('waits for a kubelet that starts later', async () => {
    startPlugin();
    await kubelet.start();
    await eventually(() => plugin!.registered);
  });

  test.each(['stopped', 'killed'])('registers again after the kubelet was %s and started', async (how) => {
    const running = await started(LONG_PAUSE_MS);
    if (how === 'stopped') kubelet.stop();
    else for (const stream of kubelet.streams.values()) stream.cancel();
    const next = new KubeletSide(dir);
    await next.start();
    await eventually(
      () => next.registered.length >= 2 && running.registered && (next.lists.get(FUSE)?.length ?? 0) > 0,
    );
    expect(await next.allocate(FUSE, ['/dev/fuse'])).toBeDefined();
    kubelet.stop();
    kubelet = next;
  });

  test(`loses no device when the kubelet restarts ${RESTARTS} times, and asks each one once`, async () => {
    const running = await started(LONG_PAUSE_MS);
    for (let restart = 1; restart <= RESTARTS; restart += 1) {
      if (restart % 2 === 0) kubelet.stop();
      else kubelet.kill();
      kubelet = new KubeletSide(dir);
      await kubelet.start();
      await eventually(() => running.registered && kubelet.devices(FUSE) && kubelet.devices(KVM));
      expect(kubelet.devices(FUSE)).toEqual(['/dev/fuse Healthy']);
      expect(kubelet.devices(KVM)).toEqual(['/dev/kvm Healthy', '/dev/kvm::1 Healthy']);
      expect(kubelet.asked).toBe(2);
    }
  });

  test('asks a kubelet that refuses it less and less often', async () => {
    await kubelet.start();
    kubelet.refusal = 'no such thing';
    const since = performance.now();
    startPlugin('/dev/fuse:rwm');
    await eventually(() => kubelet.asked >= 3);
    // Pauses of 200 and 400 ms; at every look there would have been 30 questions by then.
    expect(performance.now() - since).toBeGreaterThan(550);
  });

  test('asks the next kubelet at once, whatever the last one has answered', async () => {
    await kubelet.start();
    kubelet.refusal = 'no such thing';
    startPlugin('/dev/fuse:rwm', LONG_PAUSE_MS);
    await eventually(() => kubelet.asked >= 1);
    kubelet.kill();
    kubelet = new KubeletSide(dir);
    await kubelet.start();
    await eventually(() => plugin!.registered);
    expect(kubelet.asked).toBe(1);
  });

  test('registers on a socket whose path fits, whatever the length of the name', async () => {
    const path = `/dev/serial/by-id/usb-${'x'.repeat(60)}`;
    mkdirSync(join(devRoot, 'serial/by-id'), { recursive: true });
    symlinkSync('/dev/null', join(devRoot, path.slice('/dev/'.length)));
    await kubelet.start();
    startPlugin(`${path}:rw`);
    await eventually(() => plugin!.registered);
    expect(kubelet.registered[0]?.resourceName).toHaveLength('hostdev.k8s.io/'.length + 63);
    expect(kubelet.lists.size).toBe(1);
  });

  test('serves again when only its own socket was removed', async () => {
    await started();
    const before = registrations(FUSE);
    unlinkSync(join(dir, 'hostdev.k8s.io_dev_fuse.sock'));
    await eventually(() => registrations(FUSE) > before && plugin!.registered);
    expect(await kubelet.allocate(FUSE, ['/dev/fuse'])).toBeDefined();
  });

  test('registers again when the same kubelet has dropped it', async () => {
    await started();
    const before = registrations(FUSE);
    kubelet.streams.get(FUSE)?.cancel();
    await eventually(() => registrations(FUSE) > before && plugin!.registered);
  });

  test('replaces the socket file that a killed plugin left', async () => {
    await kubelet.start();
    writeFileSync(join(dir, 'hostdev.k8s.io_dev_fuse.sock'), '');
    startPlugin();
    await eventually(() => plugin!.registered);
  });

  test('takes a ConfigMap that changes 50 times, while what stays keeps its stream', async () => {
    volume.write('devices: [{ path: /dev/fuse, count: 2 }]');
    const source = new ConfigSource([], volume.file, SILENT, metrics);
    await kubelet.start();
    startPlugin(() => source.look(), LONG_PAUSE_MS);
    await eventually(() => kubelet.devices(FUSE));
    const stream = kubelet.streams.get(FUSE);
    for (let change = 1; change <= 50; change += 1) {
      const kvm = change % 2 === 0 ? '' : ', { path: /dev/kvm }';
      volume.write(`devices: [{ path: /dev/fuse, count: ${2 + change} }${kvm}]`);
      await eventually(() => kubelet.devices(FUSE)?.length === 2 + change && (kvm === '') === !kubelet.lists.has(KVM));
      const allocated = await kubelet.allocate(FUSE, ['/dev/fuse::1']);
      expect(allocated).toMatchObject({ containerResponses: [{ devices: [{ hostPath: '/dev/fuse' }] }] });
    }
    expect(kubelet.streams.get(FUSE)).toBe(stream);
    expect(registrations(FUSE)).toBe(1);
  });

  test('refuses two devices for one path in a container', async () => {
    await kubelet.start();
    startPlugin(() => parseConfigFile('devices: [{ name: all, path: "/dev/*", containerPath: /dev/it }]').devs);
    await eventually(() => kubelet.devices('hostdev.k8s.io/all'));
    await expect(kubelet.allocate('hostdev.k8s.io/all', ['/dev/fuse', '/dev/kvm'])).rejects.toThrow(
      '/dev/it would be two devices',
    );
  });

  test('close() ends the streams and removes the sockets', async () => {
    const running = await started();
    await running.close();
    plugin = undefined;
    expect(readdirSync(dir)).toEqual(['kubelet.sock']);
  });
});
