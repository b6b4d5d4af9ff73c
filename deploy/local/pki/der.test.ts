import { describe, expect, test } from '@jest/globals';
import { bits, integer, octets, oid, sequence, time } from './der.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

describe('lengths', () => {
  test.each([
    [0, '0400'],
    [127, '047f'],
    [128, '048180'],
    [255, '0481ff'],
    [256, '04820100'],
    [4_000, '04820fa0'],
  ])('%p bytes', (length, head) => {
    expect(hex(octets(Buffer.alloc(length))).slice(0, head.length)).toBe(head);
  });
});

test.each([
  ['2.5.4.3', '0603550403'],
  ['1.2.840.10045.4.3.2', '06082a8648ce3d040302'],
])('oid() writes %s', (dotted, expected) => {
  expect(hex(oid(dotted))).toBe(expected);
});

test('integer() keeps a number positive whose first bit is set', () => {
  expect(hex(integer(Uint8Array.of(0x80)))).toBe('02020080');
  expect(hex(integer(Uint8Array.of(0x7f)))).toBe('02017f');
});

test('bits() and sequence() nest', () => {
  expect(hex(sequence(bits(Uint8Array.of(0x80), 7)))).toBe('300403020780');
});

describe('time()', () => {
  test.each([
    ['2026-01-02T03:04:05.678Z', '170d3236303130323033303430355a'],
    ['2050-01-02T03:04:05Z', '180f32303530303130323033303430355a'],
  ])('writes %s', (iso, expected) => {
    expect(hex(time(new Date(iso)))).toBe(expected);
  });
});
