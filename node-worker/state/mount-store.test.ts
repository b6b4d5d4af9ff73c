import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { mountRequest } from '../../test/node-worker/memory-node.ts';
import type { MountRecord } from './mount-record.ts';
import { FileMountStore } from './mount-store.ts';

let dir = '';
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'store-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

const MOUNT = { namespace: 'default', name: 'web-0.fuse' };
const RECORD: MountRecord = {
  version: 1,
  mount: MOUNT,
  phase: 'attached',
  signed: mountRequest(),
  slaves: [{ namespace: 'default', name: 's', uid: 'u' }],
  containerId: 'c1',
  devices: [{ id: 'd', resource: 'a/b', grant: { owner: 'o', containerId: 'c1', devices: [] } }],
  since: '2026-01-01T00:00:00Z',
};

describe('FileMountStore', () => {
  test('finds after a restart what was put, and not what was deleted', async () => {
    const store = await FileMountStore.open(dir);
    await store.put(RECORD);
    await store.put({ ...RECORD, mount: { namespace: 'other', name: 'x' } });
    await store.delete({ namespace: 'other', name: 'x' });
    const again = await FileMountStore.open(dir);
    expect(again.records()).toEqual([RECORD]);
    expect(again.get(MOUNT)).toEqual(RECORD);
  });

  test('keeps a readable file for each mount, for root only, and nothing unfinished', async () => {
    const store = await FileMountStore.open(dir);
    await store.put(RECORD);
    expect(JSON.parse(readFileSync(join(dir, 'mounts/default/web-0.fuse'), 'utf8'))).toEqual(RECORD);
    expect(readdirSync(join(dir, 'tmp'))).toEqual([]);
  });

  test('drops what a killed process left unfinished', async () => {
    mkdirSync(join(dir, 'tmp'));
    writeFileSync(join(dir, 'tmp', 'half'), '{');
    await FileMountStore.open(dir);
    expect(existsSync(join(dir, 'tmp', 'half'))).toBe(false);
  });

  test.each([
    ['damaged', '{'],
    ['of a later version', JSON.stringify({ ...RECORD, version: 2 })],
    ['without devices', JSON.stringify({ ...RECORD, devices: undefined })],
  ])('reports a file that is %s and leaves it there', async (_name, text) => {
    const path = join(dir, 'mounts/default/m');
    mkdirSync(join(dir, 'mounts/default'), { recursive: true });
    writeFileSync(path, text);
    const store = await FileMountStore.open(dir);
    expect(store.unreadable).toMatchObject([{ path }]);
    expect(store.records()).toEqual([]);
    expect(existsSync(path)).toBe(true);
  });

  test.each(['..', '.', '', 'a/b', '../../etc/x', 'A'])('refuses the name "%s"', async (name) => {
    const store = await FileMountStore.open(dir);
    await expect(store.put({ ...RECORD, mount: { namespace: 'default', name } })).rejects.toThrow('Kubernetes name');
    expect(store.records()).toEqual([]);
  });

  test('takes a name as long as they get', async () => {
    const store = await FileMountStore.open(dir);
    await store.put({ ...RECORD, mount: { namespace: 'n'.repeat(63), name: 'm'.repeat(253) } });
    expect((await FileMountStore.open(dir)).records()).toHaveLength(1);
  });

  test('keeps tombstones over a restart for a week', async () => {
    const store = await FileMountStore.open(dir);
    await store.put(RECORD);
    await store.bury(['u']);
    await store.bury(['u']);
    await store.delete(MOUNT);
    expect((await FileMountStore.open(dir)).buried('u')).toBe(true);
    expect((await FileMountStore.open(dir, Date.now() + 6 * 24 * 3_600_000)).buried('u')).toBe(true);
    expect((await FileMountStore.open(dir, Date.now() + 8 * 24 * 3_600_000)).buried('u')).toBe(false);
    expect((await FileMountStore.open(dir)).buried('u')).toBe(false);
  });

  test('counts a change before it is durable', async () => {
    const store = await FileMountStore.open(dir);
    const writing = [store.put(RECORD), store.bury(['u1'])];
    expect(store.get(MOUNT)).toBe(RECORD);
    expect(store.buried('u1')).toBe(true);
    await Promise.all(writing);
  });
});
