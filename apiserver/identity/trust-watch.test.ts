import { getEventListeners, once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, test } from '@jest/globals';
import { KubeConfig } from '@kubernetes/client-node';
import { trustData } from '../../test/apiserver/harness.ts';
import { TestCa } from '../../test/apiserver/pki.ts';
import type { Trust } from './trust.ts';
import { type ConfigMapData, clusterTrustSource, watchTrust } from './trust-watch.ts';

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

  test('pauses before it reads again where a watch ends at once', async () => {
    const ended = new AbortController();
    const reads: number[] = [];
    const source = {
      read: async () => {
        reads.push(performance.now());
        if (reads.length === 3) ended.abort();
        return { data: good, resourceVersion: '1' };
      },
      changed: async () => undefined,
    };
    await watchTrust(source, { info: () => undefined, warn: () => undefined }, () => undefined, ended.signal, 50);
    const [first = 0, second = 0, third = 0] = reads;
    expect(Math.min(second - first, third - second)).toBeGreaterThan(45);
  });
});

describe('clusterTrustSource().changed()', () => {
  test('rejects when the watch is refused, resolves at a change, and leaves nothing behind', async () => {
    let refuse = true;
    const kube = createServer((_req, res) => {
      if (refuse) res.writeHead(403).end();
      else res.write('{"type":"MODIFIED","object":{}}\n');
    }).listen(0, '127.0.0.1');
    await once(kube, 'listening');
    const config = new KubeConfig();
    config.loadFromClusterAndUser(
      { name: 'c', server: `http://127.0.0.1:${(kube.address() as AddressInfo).port}`, skipTLSVerify: true },
      { name: 'u' },
    );
    const { signal } = new AbortController();
    const { changed } = clusterTrustSource(config);
    await expect(changed('1', signal)).rejects.toThrow('Forbidden');
    refuse = false;
    await changed('1', signal);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
    // It closes only once the watch has left it.
    await new Promise((resolve) => kube.close(resolve));
  });
});
