import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import { describe, expect, test } from '@jest/globals';
import type { Payload } from '@temporalio/common';
import { assert, dictionary, property, record, string, uint8Array } from 'fast-check';
import { payloadBytes, payloadOf } from './payload-bytes.ts';
import { parsePayloadKeys, payloadEncryption } from './payload-encryption.ts';

interface PayloadType {
  encode(payload: Payload): { finish(): Uint8Array };
  decode(bytes: Uint8Array): Payload;
}

/** The SDK's own. */
const { temporal } = createRequire(createRequire(import.meta.url).resolve('@temporalio/client'))(
  '@temporalio/proto',
) as { readonly temporal: { readonly api: { readonly common: { readonly v1: { readonly Payload: PayloadType } } } } };
const { Payload: SdkPayload } = temporal.api.common.v1;

const bytes = (length = 300) => uint8Array({ maxLength: length });
const payloads = record({ metadata: dictionary(string(), bytes(20)), data: bytes(20_000) });

function plain({ metadata, data }: Payload): unknown {
  const entries = Object.entries(metadata ?? {}).map(([key, value]) => [key, Buffer.from(value).toString('hex')]);
  return [Object.fromEntries(entries), Buffer.from(data ?? []).toString('hex')];
}

const key = (id: string) => ({ id, key: randomBytes(32) });

describe('payloadBytes() and payloadOf()', () => {
  test('are the wire format of the SDK', () => {
    assert(
      property(payloads, (payload) => {
        expect(plain(SdkPayload.decode(payloadBytes(payload)))).toEqual(plain(payload));
        expect(plain(payloadOf(SdkPayload.encode(payload).finish()))).toEqual(plain(payload));
      }),
    );
  });

  test.each([['08'], ['0a05'], ['ffffffffff'], ['1001']])('throw for %s, which is no payload', (hex) => {
    expect(() => payloadOf(Buffer.from(hex, 'hex'))).toThrow('Cannot read a payload');
  });
});

describe('payloadEncryption()', () => {
  const payload = { metadata: { encoding: Buffer.from('json/plain') }, data: Buffer.from('"web-0"') };

  test('hides what a payload says, and gives it back', async () => {
    const codec = payloadEncryption([key('a')]);
    const [hidden] = await codec.encode([payload]);
    expect(Buffer.from(hidden?.data ?? []).includes('web-0')).toBe(false);
    expect(Buffer.from(hidden?.metadata?.['encoding'] ?? []).toString()).toBe('binary/encrypted');
    expect((await codec.decode([hidden!])).map(plain)).toEqual([plain(payload)]);
  });

  test('reads what an earlier key has written, and what was written before there was one', async () => {
    const [old, next] = [key('old'), key('next')];
    const [written] = await payloadEncryption([old]).encode([payload]);
    const codec = payloadEncryption([next, old]);
    expect((await codec.decode([written!, payload])).map(plain)).toEqual([plain(payload), plain(payload)]);
  });

  test('throws for an unknown key, and for bytes that were changed', async () => {
    const codec = payloadEncryption([key('a')]);
    const [hidden] = await codec.encode([payload]);
    await expect(payloadEncryption([key('b')]).decode([hidden!])).rejects.toThrow('its key "a" must be among');
    const data = Buffer.from(hidden?.data ?? []);
    data.writeUInt8(data.readUInt8(20) ^ 1, 20);
    await expect(codec.decode([{ ...hidden, data }])).rejects.toThrow();
  });
});

describe('parsePayloadKeys()', () => {
  const base64 = randomBytes(32).toString('base64');

  test('takes them in their order', () => {
    expect(parsePayloadKeys(`# rotated in May\nnext:${base64}\n\nold:${base64}\n`).map(({ id }) => id)).toEqual([
      'next',
      'old',
    ]);
  });

  test.each([
    ['no key', '', 'holds none'],
    ['a short one', 'a:AAAA', 'lines 1'],
    ['lines without an id', `a:${base64}\n${base64}\n:${base64}`, 'lines 2, 3'],
  ])('throws for %s', (_name, text, message) => {
    expect(() => parsePayloadKeys(text)).toThrow(message);
  });
});
