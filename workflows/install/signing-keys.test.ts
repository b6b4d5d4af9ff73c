import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { V1ConfigMap, V1Secret } from '@kubernetes/client-node';
import { type PublicKey, parsePublicKeys } from '../../contract/signature.ts';
import { MemoryKube } from '../../test/install/memory-kube.ts';
import { type InstallObjects, installObjects } from './kubernetes.ts';
import { keepSigningKeys } from './signing-keys.ts';

const SECRET = '/api/v1/namespaces/dm/secrets/device-mounter-signing';
const PUBLIC = '/api/v1/namespaces/dm/configmaps/device-mounter-signing-public';
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
/** Longer than this machine ever stands still. */
const NEVER_MS = 600_000;
const START_MS = Date.parse('2026-01-01T00:00:00Z');

let kube: MemoryKube;
let replicas: readonly [InstallObjects, InstallObjects];
beforeEach(async () => {
  kube = await new MemoryKube().start();
  kube.nowMs = () => START_MS;
  const replica = () => installObjects(kube.config(), 'dm', NEVER_MS);
  replicas = [replica(), replica()];
});
afterEach(() => kube.stop());

/** As the control worker does it: again until there is nothing more to do. */
async function settled(objects: InstallObjects, nowMs: number): Promise<readonly PublicKey[]> {
  for (;;) {
    const keys = await keepSigningKeys(objects, nowMs);
    if (keys !== undefined) return keys;
  }
}

const bothSettled = (nowMs: number) => Promise.all(replicas.map((objects) => settled(objects, nowMs)));

const published = (): readonly PublicKey[] =>
  parsePublicKeys((kube.get(PUBLIC) as V1ConfigMap | undefined)?.data?.['public.pem'] ?? '');
const publicPart = (pem: string): KeyObject => createPublicKey(createPrivateKey(Buffer.from(pem, 'base64')));
const signing = (): KeyObject => publicPart((kube.get(SECRET) as V1Secret | undefined)?.data?.['private.pem'] ?? '');
const pem = (key: KeyObject): string => key.export({ type: 'spki', format: 'pem' }).toString();
const idOf = (key: KeyObject): string => key.export({ type: 'spki', format: 'der' }).toString('hex');

/** Whether a key is not used yet, or no longer used but not retired. */
const isRotating = (): boolean => published().filter(({ retiredAtMs }) => retiredAtMs === undefined).length > 1;

describe('keepSigningKeys()', () => {
  test('makes one key and publishes it, however many replicas start at once', async () => {
    const seen = await bothSettled(START_MS);
    const [only, ...more] = published();
    expect(more).toEqual([]);
    expect(only?.key.equals(signing())).toBe(true);
    expect(seen.map((keys) => keys.map(({ key }) => idOf(key)))).toEqual([[idOf(signing())], [idOf(signing())]]);
    expect(kube.writes).toContain('POST /api/v1/namespaces/dm/secrets');
    await bothSettled(START_MS + DAY_MS);
    expect(published()).toHaveLength(1);
  });

  test('takes the keys that somebody else has made, in whatever form', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const other = generateKeyPairSync('ed25519').publicKey;
    const file = Buffer.from(privateKey.export({ type: 'pkcs8', format: 'pem' })).toString('base64');
    kube.put(SECRET, { data: { 'private.pem': file } });
    const text = `# ours\n${pem(publicKey)}# retired 2025-01-01T00:00:00Z\n${pem(other)}`;
    kube.put(PUBLIC, { data: { 'public.pem': text } });
    expect(await settled(replicas[0], START_MS + DAY_MS)).toHaveLength(2);
    expect(signing().equals(publicKey)).toBe(true);
    expect((kube.get(PUBLIC) as V1ConfigMap | undefined)?.data).toEqual({ 'public.pem': text });
  });

  test('in a year every key is known for an hour before it signs, and begins requests for two hours after', async () => {
    const knownMs = new Map<string, number>();
    const lastMs = new Map<string, number>();
    for (let nowMs = START_MS; nowMs < START_MS + 365 * DAY_MS; nowMs += isRotating() ? 30 * MINUTE_MS : DAY_MS) {
      const what = `${(nowMs - START_MS) / HOUR_MS} h`;
      // A day without any replica in each month, and one replica alone every other day.
      if (Math.floor((nowMs - START_MS) / DAY_MS) % 30 === 29) continue;
      if (Math.floor(nowMs / DAY_MS) % 2 === 0) await settled(replicas[0], nowMs);
      else await bothSettled(nowMs);
      const id = idOf(signing());
      if (nowMs > START_MS)
        expect([what, nowMs - (knownMs.get(id) ?? nowMs) >= HOUR_MS || lastMs.has(id)]).toEqual([what, true]);
      lastMs.set(id, nowMs);
      for (const { key, retiredAtMs } of published()) {
        knownMs.set(idOf(key), knownMs.get(idOf(key)) ?? nowMs);
        const last = lastMs.get(idOf(key));
        if (last === undefined) continue;
        // What was signed may begin for an hour, and the apiserver gets the next key some time later.
        if (nowMs - last < 90 * MINUTE_MS) expect([what, retiredAtMs]).toEqual([what, undefined]);
        if (nowMs - last > 2 * DAY_MS)
          expect([what, retiredAtMs !== undefined && retiredAtMs > last]).toEqual([what, true]);
      }
    }
    expect(lastMs.size).toBe(5);
    expect(published()).toHaveLength(5);
  });

  test('uses no key that could not be published', async () => {
    await settled(replicas[0], START_MS);
    const first = idOf(signing());
    kube.mayDo = ({ verb, resource }) => verb !== 'update' || resource !== 'configmaps';
    for (let nowMs = START_MS + 90 * DAY_MS; nowMs < START_MS + 92 * DAY_MS; nowMs += HOUR_MS)
      await settled(replicas[0], nowMs).catch(() => undefined);
    expect(idOf(signing())).toBe(first);
    expect((kube.get(SECRET) as V1Secret | undefined)?.data).toHaveProperty(['next-private.pem']);
    kube.mayDo = () => true;
    for (const hour of [0, 1]) await settled(replicas[0], START_MS + 93 * DAY_MS + hour * HOUR_MS);
    expect(idOf(signing())).not.toBe(first);
    expect((kube.get(SECRET) as V1Secret | undefined)?.data).not.toHaveProperty(['next-private.pem']);
  });

  test('makes another key when the Secret was deleted, and knows the former one', async () => {
    await settled(replicas[0], START_MS);
    const first = idOf(signing());
    kube.remove(SECRET);
    await bothSettled(START_MS + HOUR_MS);
    expect(idOf(signing())).not.toBe(first);
    expect(published().map(({ key }) => idOf(key))).toEqual([idOf(signing()), first]);
  });
});
