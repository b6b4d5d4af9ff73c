import type { Payload } from '@temporalio/common';

/**
 * The wire format of `temporal.api.common.v1.Payload`: `map<string, bytes> metadata = 1; bytes data = 2;` (protobuf: a tag is
 * `field << 3 | type`, type 2 is length-delimited, an entry of a map is a message with `key = 1; value = 2;`).
 */
const LENGTH_DELIMITED = 2;

/** Answers the bytes that every SDK of Temporal reads as this payload. */
export function payloadBytes({ metadata, data }: Payload): Buffer {
  const entries = Object.entries(metadata ?? {}).map(([key, value]) =>
    field(1, Buffer.concat([field(1, Buffer.from(key)), field(2, value)])),
  );
  return Buffer.concat([...entries, ...(data ? [field(2, data)] : [])]);
}

/** Reads what `payloadBytes` or another SDK has written. Throws `RangeError` for what is no payload. */
export function payloadOf(bytes: Uint8Array): Payload {
  const metadata: (readonly [string, Uint8Array])[] = [];
  let data: Uint8Array | undefined;
  for (const { number, value } of fieldsOf(bytes)) {
    if (number === 2) data = value;
    if (number !== 1) continue;
    const entry = fieldsOf(value);
    const of = (part: number): Uint8Array => entry.findLast((each) => each.number === part)?.value ?? new Uint8Array();
    metadata.push([Buffer.from(of(1)).toString(), of(2)]);
  }
  return { metadata: Object.fromEntries(metadata), ...(data !== undefined && { data }) };
}

function field(number: number, value: Uint8Array): Buffer {
  return Buffer.concat([varint((number << 3) | LENGTH_DELIMITED), varint(value.length), value]);
}

function fieldsOf(bytes: Uint8Array): readonly { readonly number: number; readonly value: Uint8Array }[] {
  const fields: { number: number; value: Uint8Array }[] = [];
  for (let at = 0; at < bytes.length; ) {
    const tag = readVarint(bytes, at);
    const length = readVarint(bytes, tag.next);
    const end = length.next + length.value;
    if ((tag.value & 7) !== LENGTH_DELIMITED || end > bytes.length) throw new RangeError('Cannot read a payload');
    fields.push({ number: tag.value >> 3, value: bytes.subarray(length.next, end) });
    at = end;
  }
  return fields;
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return Buffer.from([...bytes, rest]);
}

function readVarint(bytes: Uint8Array, start: number): { readonly value: number; readonly next: number } {
  let value = 0;
  for (let at = start, factor = 1; at < start + 5; at++, factor *= 128) {
    const byte = bytes[at];
    if (byte === undefined) break;
    value += (byte & 127) * factor;
    if (byte < 128) return { value, next: at + 1 };
  }
  throw new RangeError('Cannot read a payload');
}
