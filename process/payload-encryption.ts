import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import type { Payload, PayloadCodec } from '@temporalio/common';
import { payloadBytes, payloadOf } from './payload-bytes.ts';

export interface PayloadKey {
  readonly id: string;
  /** 32 bytes, for AES-256. */
  readonly key: Buffer;
}

/** Of GCM, NIST SP 800-38D: a nonce of 96 bits, a tag of 128. */
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const CIPHER = 'aes-256-gcm';

/** Metadata by which Temporal's own examples of encryption, and the codec servers built from them, know such payloads. */
const ENCODING = 'binary/encrypted';
const KEY_ID = 'encryption-key-id';

/** Reads lines `<id>:<base64>`; empty ones and those that begin with `#` are left out. Throws with every wrong line. */
export function parsePayloadKeys(text: string): readonly [PayloadKey, ...PayloadKey[]] {
  const lines = text.split('\n').map((line, index) => ({ line: line.trim(), number: index + 1 }));
  const meant = lines.filter(({ line }) => line !== '' && !line.startsWith('#'));
  const keys = meant.map(({ line, number }) => {
    const [id = '', base64 = ''] = line.split(':', 2);
    return { number, id, key: Buffer.from(base64, 'base64') };
  });
  const wrong = keys.filter(({ id, key }) => !/^[\w.-]+$/.test(id) || key.length !== 32).map(({ number }) => number);
  if (wrong.length > 0) {
    throw new Error(`Cannot use payload keys: lines ${wrong.join(', ')} must be "<id>:<32 bytes in base64>"`);
  }
  const [first, ...others] = keys.map(({ id, key }) => ({ id, key }));
  if (first === undefined) throw new Error('Cannot use payload keys: the file must hold one, holds none');
  return [first, ...others];
}

/** Encrypts with the first key. Decrypts with all; what is not encrypted is read as it is, so that encryption can begin. */
export function payloadEncryption(keys: readonly [PayloadKey, ...PayloadKey[]]): PayloadCodec {
  return {
    encode: async (payloads) => payloads.map((payload) => encrypted(payload, keys[0])),
    decode: async (payloads) => payloads.map((payload) => decrypted(payload, keys)),
  };
}

function encrypted(payload: Payload, { id, key }: PayloadKey): Payload {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES });
  const data = Buffer.concat([nonce, cipher.update(payloadBytes(payload)), cipher.final(), cipher.getAuthTag()]);
  return { metadata: { encoding: Buffer.from(ENCODING), [KEY_ID]: Buffer.from(id) }, data };
}

function decrypted(payload: Payload, keys: readonly PayloadKey[]): Payload {
  const { metadata, data } = payload;
  if (textOf(metadata?.['encoding']) !== ENCODING || !data) return payload;
  const id = textOf(metadata?.[KEY_ID]);
  const known = keys.find((each) => each.id === id);
  if (known === undefined) throw new Error(`Cannot read a payload: its key "${id}" must be among the payload keys`);
  const decipher = createDecipheriv(CIPHER, known.key, data.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES });
  decipher.setAuthTag(data.subarray(-TAG_BYTES));
  return payloadOf(Buffer.concat([decipher.update(data.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]));
}

function textOf(bytes: Uint8Array | null | undefined): string {
  return Buffer.from(bytes ?? []).toString();
}
