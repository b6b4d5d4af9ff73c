import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import type { UnmountRequest } from './requests.ts';
import { type PublicKey, parsePublicKeys, signRequest, type Verifier, verifiedRequest } from './signature.ts';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const stranger = generateKeyPairSync('ed25519');
const request: UnmountRequest = {
  kind: 'unmount',
  cluster: 'test',
  id: 'r1',
  target: { namespace: 'default', pod: 'web-0', podUid: 'u1', container: 'main' },
  deviceType: 'HOSTDEV',
  force: false,
  user: { name: 'jane' },
  requestedAt: '2026-01-01T00:00:00Z',
  deadlineSeconds: 10,
};

const at = (requestedAt: string) => signRequest({ ...request, requestedAt }, privateKey);
const pem = (key = publicKey) => key.export({ type: 'spki', format: 'pem' }).toString();

/** With the keys of every object in it the other way round. */
function reversed(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const entries = Object.entries(value).map(([key, inner]) => [key, reversed(inner)]);
  return Object.fromEntries(entries.toReversed());
}

/** A worker of the cluster that the request is for. */
function by(keys: readonly PublicKey[], clusterName = 'test'): Verifier {
  return { clusterName, publicKeys: () => keys };
}

describe('verifiedRequest()', () => {
  test('answers the request whatever the order of its keys', () => {
    const { request: sent, signature } = signRequest(request, privateKey);
    const reordered = reversed(sent) as UnmountRequest;
    expect(JSON.stringify(reordered.target)).not.toBe(JSON.stringify(sent.target));
    expect(verifiedRequest({ request: reordered, signature }, by([{ key: publicKey }]))).toEqual(request);
  });

  test('accepts either key during a rotation', () => {
    expect(
      verifiedRequest(signRequest(request, privateKey), by([{ key: stranger.publicKey }, { key: publicKey }])),
    ).toEqual(request);
  });

  test.each([
    ['an altered field', { ...signRequest(request, privateKey), request: { ...request, force: true } }],
    ['an added field', { ...signRequest(request, privateKey), request: { ...request, mount: 'other' } }],
    ['a stranger’s key', signRequest(request, stranger.privateKey)],
    ['no signature', { request, signature: '' }],
  ])('refuses %s', (_name, signed) => {
    expect(() => verifiedRequest(signed, by([{ key: publicKey }]))).toThrow(
      'Cannot serve a request to unmount: it is not signed by a key that this worker knows',
    );
  });
});

test('verifiedRequest() refuses a request for another cluster that trusts the same key', () => {
  expect(() => verifiedRequest(signRequest(request, privateKey), by([{ key: publicKey }], 'other'))).toThrow(
    'Cannot serve a request to unmount: it is for cluster "test", and this is "other"',
  );
});

describe('verifiedRequest() by a retired key', () => {
  const keys = [{ key: stranger.publicKey }, { key: publicKey, retiredAtMs: Date.parse('2026-01-02T00:00:00Z') }];

  test('goes on with what was requested before', () => {
    const earlier = at('2026-01-01T23:59:59Z');
    expect(verifiedRequest(earlier, by(keys), 'goOn')).toBe(earlier.request);
  });

  test.each([
    ['begins nothing, whenever it was requested', '2026-01-01T23:59:59Z', 'begin'],
    ['does not go on with what was requested later', '2026-01-02T00:00:01Z', 'goOn'],
    ['does not go on with what was requested at no time', 'then', 'goOn'],
  ] as const)('%s', (_name, requestedAt, use) => {
    expect(() => verifiedRequest(at(requestedAt), by(keys), use)).toThrow(
      'Cannot serve a request to unmount: the key that has signed it is retired',
    );
  });
});

describe('parsePublicKeys()', () => {
  test('reads every key, and when one was retired', () => {
    const text = `# since March\n${pem()}\n# retired 2026-01-02T00:00:00Z\n${pem(stranger.publicKey)}${pem()}`;
    const retired = parsePublicKeys(text).map(({ retiredAtMs }) => retiredAtMs);
    expect(retired).toEqual([undefined, Date.parse('2026-01-02T00:00:00Z'), undefined]);
    expect(parsePublicKeys(text)[1]?.key.equals(stranger.publicKey)).toBe(true);
  });

  test.each([
    ['no key', '# nothing yet', 'there must be one in PEM, is none'],
    ['no time', `# Retired\n${pem()}`, '"retired" must be followed by a time of RFC 3339, is by ""'],
    ['a wrong time', `# retired: tomorrow\n${pem()}`, 'is by "tomorrow"'],
    ['a key of another type', pem(generateKeyPairSync('x25519').publicKey), 'one is of type x25519'],
  ])('refuses %s', (_name, text, why) => {
    expect(() => parsePublicKeys(text)).toThrow(why);
  });
});
