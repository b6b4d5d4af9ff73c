import { describe, expect, test } from '@jest/globals';
import { trustData } from '../test/apiserver/harness.ts';
import { TestCa } from '../test/apiserver/pki.ts';
import type { Trust } from './trust.ts';
import { type ConfigMapData, watchTrust } from './trust-watch.ts';

const ca = TestCa.selfSigned('ca').pair.cert;
const good = trustData(ca, ca);

describe('watchTrust()', () => {
  test('keeps the last good trust over deletion and broken content, and takes the next good one', async () => {
    const broken = { ...good, 'requestheader-allowed-names': 'x' };
    const states: (ConfigMapData | undefined)[] = [
      { data: good, resourceVersion: '1' },
      undefined,
      { data: broken, resourceVersion: '3' },
      { data: good, resourceVersion: '4' },
      { data: { ...good, 'requestheader-allowed-names': '[]' }, resourceVersion: '5' },
    ];
    const ended = new AbortController();
    const applied: Trust[] = [];
    const warnings: string[] = [];
    const source = {
      read: async () => {
        if (states.length === 1) ended.abort();
        return states.shift();
      },
      changed: async () => undefined,
    };
    const log = {
      info: () => undefined,
      warn: (_object: object, message: string) => {
        warnings.push(message);
      },
    };
    await watchTrust(source, log, (trust) => applied.push(trust), ended.signal, 0);
    expect(applied.map(({ requestHeader }) => requestHeader?.allowedNames)).toEqual([['front-proxy-client'], []]);
    expect(warnings).toEqual([
      'cannot read whom to believe, the last that could be read stays',
      'cannot read whom to believe, the last that could be read stays',
      'requestheader-allowed-names is empty: every certificate of the front proxy’s CA can be anyone',
    ]);
  });
});
