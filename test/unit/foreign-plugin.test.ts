import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { ForeignPlugin } from '../device-plugin/foreign-plugin.ts';
import { KubeletSide } from '../device-plugin/kubelet-side.ts';
import { eventually } from '../workflows/outcome.ts';

const GPU = 'nvidia.com/gpu';

let dir: string;
let kubelet: KubeletSide;
let plugin: ForeignPlugin;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'plugins-'));
  kubelet = new KubeletSide(dir);
  plugin = new ForeignPlugin(dir, {
    resource: GPU,
    ids: ['GPU-0', 'GPU-1'],
    grant: (ids) => ({ envs: { NVIDIA_VISIBLE_DEVICES: ids.join(',') }, cdiDevices: ids.map((name) => ({ name })) }),
  });
});
afterEach(() => {
  plugin.close();
  kubelet.stop();
  rmSync(dir, { recursive: true });
});

test('a foreign plugin registers, lists healthy devices, and grants each container what it was made for', async () => {
  await kubelet.start();
  await plugin.start();
  await eventually(() => kubelet.devices(GPU) !== undefined);
  expect(kubelet.devices(GPU)).toEqual(['GPU-0 Healthy', 'GPU-1 Healthy']);
  expect(await kubelet.allocate(GPU, ['GPU-1'], ['GPU-0'])).toMatchObject({
    containerResponses: [
      { envs: { NVIDIA_VISIBLE_DEVICES: 'GPU-1' }, devices: [], mounts: [], cdiDevices: [{ name: 'GPU-1' }] },
      { envs: { NVIDIA_VISIBLE_DEVICES: 'GPU-0' } },
    ],
  });
});

test('a foreign plugin that is closed ends the stream of the kubelet and leaves no file', async () => {
  await kubelet.start();
  await plugin.start();
  await eventually(() => kubelet.lists.has(GPU));
  plugin.close();
  await eventually(() => !kubelet.lists.has(GPU));
  expect(readdirSync(dir)).toEqual(['kubelet.sock']);
});

test('a foreign plugin that the kubelet refuses says why, and leaves no file when it is closed', async () => {
  await kubelet.start();
  kubelet.refusal = 'no such resource';
  await expect(plugin.start()).rejects.toThrow('no such resource');
  plugin.close();
  expect(readdirSync(dir)).toEqual(['kubelet.sock']);
});

test('one that stays registers again with each kubelet that has removed its socket', async () => {
  await kubelet.start();
  await plugin.stay();
  kubelet.kill();
  kubelet = new KubeletSide(dir);
  await kubelet.start();
  await eventually(() => kubelet.devices(GPU) !== undefined);
  expect(await kubelet.allocate(GPU, ['GPU-0'])).toMatchObject({
    containerResponses: [{ cdiDevices: [{ name: 'GPU-0' }] }],
  });
});

test('what it cannot grant is told to the kubelet', async () => {
  const refusing = new ForeignPlugin(dir, {
    resource: 'example.com/none',
    ids: ['one'],
    grant: () => Promise.reject(new Error('no pod waits for it')),
  });
  try {
    await kubelet.start();
    await refusing.start();
    await expect(kubelet.allocate('example.com/none', ['one'])).rejects.toThrow('no pod waits for it');
  } finally {
    refusing.close();
  }
});
