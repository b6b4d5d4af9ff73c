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
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { pino } from 'pino';
import { KubeletSide } from '../test/device-plugin/kubelet-side.ts';
import { eventually } from '../test/workflows/outcome.ts';
import { parseConfigFile } from './config-file.ts';
import { ConfigSource } from './config-source.ts';
import { type HostDev, parseDevs } from './devs.ts';
import { HostDevPlugin } from './host-dev-plugin.ts';

const FUSE = 'hostdev.k8s.io/dev_fuse';
const KVM = 'hostdev.k8s.io/dev_kvm';
let dir = '';
let devRoot = '';
let volume = '';
let kubelet: KubeletSide;
let plugin: HostDevPlugin | undefined;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'plugins-'));
  devRoot = mkdtempSync(join(tmpdir(), 'dev-'));
  for (const name of ['fuse', 'kvm', 'null']) execFileSync('mknod', [join(devRoot, name), 'c', '1', '3']);
  volume = mkdtempSync(join(tmpdir(), 'config-'));
  kubelet = new KubeletSide(dir);
});

afterEach(async () => {
  await plugin?.close();
  kubelet.stop();
  rmSync(dir, { recursive: true });
  rmSync(devRoot, { recursive: true });
  rmSync(volume, { recursive: true });
});

function startPlugin(
  devs: string | (() => readonly HostDev[]) = '/dev/fuse:rwm,/dev/kvm:rw:2',
  pauseMs = 100,
): HostDevPlugin {
  plugin = new HostDevPlugin({
    devs: typeof devs === 'string' ? () => parseDevs(devs).devs : devs,
    pluginDir: dir,
    devRoot,
    pollMs: 20,
    pauseMs,
    log: pino({ enabled: false }),
  });
  return plugin;
}

/** Writes the file as the kubelet writes a ConfigMap's volume: new folder, then the link `..data` is exchanged. */
function configMap(text: string): string {
  const folder = mkdtempSync(join(volume, '..v'));
  writeFileSync(join(folder, 'devices.yaml'), text);
  symlinkSync(folder, join(volume, '..next'));
  renameSync(join(volume, '..next'), join(volume, '..data'));
  rmSync(join(volume, 'devices.yaml'), { force: true });
  symlinkSync('..data/devices.yaml', join(volume, 'devices.yaml'));
  return join(volume, 'devices.yaml');
}

async function started(): Promise<HostDevPlugin> {
  await kubelet.start();
  const running = startPlugin();
  await eventually(() => running.registered && (kubelet.lists.get(FUSE)?.length ?? 0) > 0);
  return running;
}

describe('HostDevPlugin', () => {
  test('registers each resource on a socket of its own and lists its devices', async () => {
    await started();
    await eventually(() => kubelet.lists.size === 2);
    expect(kubelet.registered.map(({ version, endpoint, resourceName }) => [version, endpoint, resourceName])).toEqual(
      expect.arrayContaining([
        ['v1beta1', 'hostdev.k8s.io_dev_fuse.sock', FUSE],
        ['v1beta1', 'hostdev.k8s.io_dev_kvm.sock', 'hostdev.k8s.io/dev_kvm'],
      ]),
    );
    expect(kubelet.lists.get(FUSE)).toEqual([[{ ID: '/dev/fuse', health: 'Healthy' }]]);
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

  test('waits for a kubelet that starts later', async () => {
    startPlugin();
    await kubelet.start();
    await eventually(() => plugin!.registered);
  });

  test.each(['stopped', 'killed'])('registers again after the kubelet was %s and started', async (how) => {
    const running = await started();
    if (how === 'stopped') kubelet.stop();
    else for (const stream of kubelet.streams.values()) stream.cancel();
    const next = new KubeletSide(dir);
    await next.start();
    await eventually(
      () => next.registered.length === 2 && running.registered && (next.lists.get(FUSE)?.length ?? 0) > 0,
    );
    expect(await next.allocate(FUSE, ['/dev/fuse'])).toBeDefined();
    kubelet.stop();
    kubelet = next;
  });

  test('loses no device when the kubelet restarts 50 times, and asks each one once', async () => {
    const running = await started();
    for (let restart = 1; restart <= 50; restart += 1) {
      if (restart % 2 === 0) kubelet.stop();
      else kubelet.kill();
      kubelet = new KubeletSide(dir);
      await kubelet.start();
      await eventually(() => running.registered && kubelet.devices(FUSE) && kubelet.devices(KVM));
      expect(kubelet.devices(FUSE)).toEqual(['/dev/fuse Healthy']);
      expect(kubelet.devices(KVM)).toEqual(['/dev/kvm Healthy', '/dev/kvm::1 Healthy']);
      expect(kubelet.asked).toBe(2);
    }
  }, 60_000);

  test('asks a kubelet that refuses it less and less often', async () => {
    await kubelet.start();
    kubelet.refusal = 'no such thing';
    const since = performance.now();
    startPlugin('/dev/fuse:rwm');
    await eventually(() => kubelet.asked === 3);
    // Pauses of 200 and 400 ms; at every look there would have been 30 questions by then.
    expect(performance.now() - since).toBeGreaterThan(550);
  });

  test('asks the next kubelet at once, whatever the last one has answered', async () => {
    await kubelet.start();
    kubelet.refusal = 'no such thing';
    startPlugin('/dev/fuse:rwm', 60_000);
    await eventually(() => kubelet.asked === 1);
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
    const before = kubelet.registered.length;
    unlinkSync(join(dir, 'hostdev.k8s.io_dev_fuse.sock'));
    await eventually(() => kubelet.registered.length === before + 1 && plugin!.registered);
    expect(await kubelet.allocate(FUSE, ['/dev/fuse'])).toBeDefined();
  });

  test('registers again when the same kubelet has dropped it', async () => {
    await started();
    const before = kubelet.registered.length;
    kubelet.streams.get(FUSE)?.cancel();
    await eventually(() => kubelet.registered.length === before + 1 && plugin!.registered);
  });

  test('replaces the socket file that a killed plugin left', async () => {
    await kubelet.start();
    writeFileSync(join(dir, 'hostdev.k8s.io_dev_fuse.sock'), '');
    startPlugin();
    await eventually(() => plugin!.registered);
  });

  test('takes a ConfigMap that changes 50 times, while what stays keeps its stream', async () => {
    const file = configMap('devices: [{ path: /dev/fuse, count: 2 }]');
    const source = new ConfigSource([], file, pino({ enabled: false }));
    await kubelet.start();
    startPlugin(() => source.look());
    await eventually(() => kubelet.devices(FUSE));
    const stream = kubelet.streams.get(FUSE);
    for (let change = 1; change <= 50; change += 1) {
      const kvm = change % 2 === 0 ? '' : ', { path: /dev/kvm }';
      configMap(`devices: [{ path: /dev/fuse, count: ${2 + change} }${kvm}]`);
      await eventually(() => kubelet.devices(FUSE)?.length === 2 + change && (kvm === '') === !kubelet.lists.has(KVM));
      const allocated = await kubelet.allocate(FUSE, ['/dev/fuse::1']);
      expect(allocated).toMatchObject({ containerResponses: [{ devices: [{ hostPath: '/dev/fuse' }] }] });
    }
    expect(kubelet.streams.get(FUSE)).toBe(stream);
    expect(kubelet.registered.filter(({ resourceName }) => resourceName === FUSE)).toHaveLength(1);
  }, 60_000);

  test('keeps the last good configuration and says what is wrong with the new one', async () => {
    const file = configMap('devices: [{ path: /dev/fuse }]');
    const lines: string[] = [];
    const source = new ConfigSource(
      parseDevs('/dev/null:r').devs,
      file,
      pino({}, { write: (line: string) => lines.push(line) }),
    );
    const offered = (): string[] => source.look().map(({ resource }) => resource);
    expect(offered()).toEqual(['hostdev.k8s.io/dev_null', FUSE]);
    for (const bad of ['devices: [{ path: /etc/x }]', 'devices: [{ path: /dev/null }]', '{']) {
      configMap(bad);
      lines.length = 0;
      expect([offered(), offered()]).toEqual([offered(), ['hostdev.k8s.io/dev_null', FUSE]]);
      expect(lines).toHaveLength(1);
      expect(lines[0]).toContain('the last good one stays in force');
    }
    rmSync(file);
    expect(offered()).toEqual(['hostdev.k8s.io/dev_null', FUSE]);
    expect(source.problem).toBeUndefined();
    configMap('devices: [{ path: /dev/kvm }]');
    expect(offered()).toEqual(['hostdev.k8s.io/dev_null', KVM]);
  });

  test('a file that was never good offers nothing and is told by readiness', () => {
    const source = new ConfigSource([], join(dir, 'none'), pino({ enabled: false }));
    expect(source.look()).toEqual([]);
    expect(source.problem).toContain('ENOENT');
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
