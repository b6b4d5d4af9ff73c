import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import type { UnmountRequest } from './requests.ts';
import { signRequest, verifiedRequest } from './signature.ts';

const { privateKey, publicKey } = generateKeyPairSync('ed25519');
const stranger = generateKeyPairSync('ed25519');
const request: UnmountRequest = {
  kind: 'unmount',
  id: 'r1',
  target: { namespace: 'default', pod: 'web-0', podUid: 'u1', container: 'main' },
  deviceType: 'HOSTDEV',
  force: false,
  user: { name: 'jane' },
  requestedAt: '2026-01-01T00:00:00Z',
  deadlineSeconds: 10,
};

describe('verifiedRequest()', () => {
  test('answers the request whatever the order of its keys', () => {
    const { request: sent, signature } = signRequest(request, privateKey);
    const reordered = Object.fromEntries(Object.entries(sent).toReversed()) as unknown as UnmountRequest;
    expect(verifiedRequest({ request: reordered, signature }, [publicKey])).toEqual(request);
  });

  test('accepts either key during a rotation', () => {
    expect(verifiedRequest(signRequest(request, privateKey), [stranger.publicKey, publicKey])).toEqual(request);
  });

  test.each([
    ['an altered field', { ...signRequest(request, privateKey), request: { ...request, force: true } }],
    ['an added field', { ...signRequest(request, privateKey), request: { ...request, mount: 'other' } }],
    ['a stranger’s key', signRequest(request, stranger.privateKey)],
    ['no signature', { request, signature: '' }],
  ])('refuses %s', (_name, signed) => {
    expect(() => verifiedRequest(signed, [publicKey])).toThrow(
      'Cannot serve a request to unmount: the apiserver has not signed it',
    );
  });
});
