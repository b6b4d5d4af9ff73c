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
import { parseDevs } from './devs.ts';
import { HostDevPlugin } from './host-dev-plugin.ts';

const FUSE = 'hostdev.k8s.io/dev_fuse';
const KVM = 'hostdev.k8s.io/dev_kvm';
let dir = '';
let devRoot = '';
let kubelet: KubeletSide;
let plugin: HostDevPlugin | undefined;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'plugins-'));
  devRoot = mkdtempSync(join(tmpdir(), 'dev-'));
  // A symlink to a device file counts as one; making a device file needs root.
  symlinkSync('/dev/null', join(devRoot, 'fuse'));
  symlinkSync('/dev/null', join(devRoot, 'kvm'));
  kubelet = new KubeletSide(dir);
});

afterEach(async () => {
  await plugin?.close();
  kubelet.stop();
  rmSync(dir, { recursive: true });
  rmSync(devRoot, { recursive: true });
});

function startPlugin(devs = '/dev/fuse:rwm,/dev/kvm:rw:2', pauseMs = 100): HostDevPlugin {
  plugin = new HostDevPlugin({
    devs: parseDevs(devs).devs,
    pluginDir: dir,
    devRoot,
    pollMs: 20,
    pauseMs,
    log: pino({ enabled: false }),
  });
  return plugin;
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
    await expect(kubelet.allocate(FUSE, ['/dev/fuse'])).rejects.toThrow('it is no device file of the host now');
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

  test('close() ends the streams and removes the sockets', async () => {
    const running = await started();
    await running.close();
    plugin = undefined;
    expect(readdirSync(dir)).toEqual(['kubelet.sock']);
  });
});
