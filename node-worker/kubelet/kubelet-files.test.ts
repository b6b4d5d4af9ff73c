import { copyFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { Changes } from './changes.ts';
import { type Kubelet, kubeletOf } from './kubelet-files.ts';

let dir = '';
let kubelet: Kubelet;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'kubelet-'));
  mkdirSync(join(dir, 'pods/uid-1'), { recursive: true });
  kubelet = kubeletOf({ kubeletDir: dir, devicePluginDir: dir });
});
afterEach(() => rmSync(dir, { recursive: true }));

function write(podUid: string): void {
  const entry = { PodUID: podUid, ContainerName: 'c', ResourceName: 'a/b', DeviceIDs: ['1'], AllocResp: '' };
  const file = join(dir, 'kubelet_internal_checkpoint');
  writeFileSync(`${file}.new`, JSON.stringify({ Data: { PodDeviceEntries: [entry] } }));
  renameSync(`${file}.new`, file);
}

describe('kubeletOf()', () => {
  test('finds no allocations where no device was ever allocated', async () => {
    expect(await kubelet.allocations()).toEqual([]);
  });

  test('says so when the checkpoint is not what it should be', async () => {
    writeFileSync(join(dir, 'kubelet_internal_checkpoint'), 'x');
    await expect(kubelet.allocations()).rejects.toMatchObject({ type: 'KubeletUnavailable' });
  });

  test('reads a checkpoint once, and again when the kubelet has replaced it', async () => {
    write('u1');
    const first = await kubelet.allocations();
    expect(await kubelet.allocations()).toBe(first);
    write('u2');
    expect(await kubelet.allocations()).toMatchObject([{ podUid: 'u2' }]);
  });

  test('reads a replaced checkpoint once for all who ask at the same moment, and anew for who asks after that', async () => {
    write('u1');
    const [first, ...others] = await Promise.all([1, 2, 3].map(() => kubelet.allocations()));
    expect(others.map((entries) => entries === first)).toEqual([true, true]);
    const asking = kubelet.allocations();
    await Promise.resolve();
    write('u2');
    expect(await kubelet.allocations()).toMatchObject([{ podUid: 'u2' }]);
    await asking;
  });

  test('reads claims, none where none was ever prepared, and says so when their file is not what it should be', async () => {
    expect(await kubelet.claims()).toEqual([]);
    const file = join(dir, 'dra_manager_state');
    copyFileSync(join(import.meta.dirname, 'fixtures/dra_manager_state-1.36.3.json'), file);
    const claims = await kubelet.claims();
    expect(claims).toHaveLength(2);
    expect(await kubelet.claims()).toBe(claims);
    writeFileSync(file, 'x');
    await expect(kubelet.claims()).rejects.toMatchObject({ type: 'KubeletUnavailable' });
  });

  test.each([
    ['uid-1', true],
    ['uid-2', false],
    ['..', false],
    ['../pods/uid-1', false],
    ['', false],
  ])('accepted(%j) is %s', async (uid, accepted) => {
    expect(await kubelet.accepted(uid)).toBe(accepted);
  });
});

describe('Changes', () => {
  const never = new AbortController().signal;

  test('wakes when a file is replaced', async () => {
    const changes = new Changes([dir], () => undefined);
    const waiting = changes.next(changes.count, 60_000, never);
    writeFileSync(join(dir, 'kubelet_internal_checkpoint'), '');
    await waiting;
    changes.close();
  });

  test('does not wait for a change that came before', async () => {
    const changes = new Changes([], () => undefined);
    const seen = changes.count;
    changes.notify();
    await changes.next(seen, 60_000, never);
  });

  test('wakes after the poll time, and only polls what it cannot watch', async () => {
    const errors: unknown[] = [];
    const changes = new Changes([join(dir, 'missing')], (err) => errors.push(err));
    expect(errors).toHaveLength(1);
    await changes.next(changes.count, 1, never);
  });

  test('stops waiting when it is no longer wanted', async () => {
    const changes = new Changes([], () => undefined);
    await expect(changes.next(changes.count, 60_000, AbortSignal.timeout(1))).rejects.toThrow('timeout');
    await expect(changes.next(changes.count, 60_000, AbortSignal.abort(new Error('gone')))).rejects.toThrow('gone');
  });
});
