import { describe, expect, test } from '@jest/globals';
import { ByteShare, Share } from './share.ts';

const MINUTE = 60_000;
const BUILDS = [
  { name: 'etcd', usualMinutes: 1 },
  { name: 'temporal', usualMinutes: 4 },
  { name: 'kubernetes', usualMinutes: 5 },
];

describe('Share', () => {
  test('text() weighs builds by their usual minutes', () => {
    const share = new Share(BUILDS);
    expect(share.text(0)).toBe('0 %, about 10 min left');
    share.begin('etcd', 0);
    expect(share.text(MINUTE / 2)).toBe('5 %, about 10 min left');
    share.end(MINUTE);
    share.begin('temporal', MINUTE);
    expect(share.text(3 * MINUTE)).toBe('30 %, about 7 min left');
    share.end(5 * MINUTE);
    expect(share.text(5 * MINUTE)).toBe('50 %, about 5 min left');
  });

  test('text() judges what is left by how long the finished builds took', () => {
    const share = new Share(BUILDS);
    share.begin('etcd', 0);
    share.end(2 * MINUTE);
    share.begin('temporal', 2 * MINUTE);
    expect(share.text(2 * MINUTE)).toBe('10 %, about 18 min left');
    expect(share.text(4 * MINUTE)).toBe('20 %, about 16 min left');
  });

  test('text() never calls a build done that goes on', () => {
    const share = new Share(BUILDS);
    share.begin('etcd', 0);
    share.end(MINUTE);
    share.begin('temporal', MINUTE);
    expect(share.text(60 * MINUTE)).toBe('48 %, about 6 min left');
    share.end(60 * MINUTE);
    share.begin('kubernetes', 60 * MINUTE);
    share.end(120 * MINUTE);
    expect(share.text(120 * MINUTE)).toBe('100 %, about 0 min left');
  });
});

describe('ByteShare', () => {
  test('text() adds up what goes on side by side', () => {
    const share = new ByteShare();
    expect(share.text()).toBe('0 of 0 MB, 0 %');
    share.size(20e6);
    share.size(80e6);
    share.piece(15e6);
    share.piece(10e6);
    expect(share.text()).toBe('25 of 100 MB, 25 %');
  });
});
