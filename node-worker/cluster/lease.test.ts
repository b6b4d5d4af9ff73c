import { afterEach, expect, test } from '@jest/globals';
import type { KubeApi } from '../../process/kube-api.ts';
import { LeaseRenewal } from './lease.ts';

interface Lease {
  readonly spec: { readonly leaseDurationSeconds: number; readonly holderIdentity: string };
}

let lease: Lease | undefined;
let errors: unknown[] = [];
/** Resolves at the next write. */
let written = Promise.withResolvers<void>();
let renewal: LeaseRenewal | undefined;
afterEach(async () => {
  await renewal?.stop();
  [lease, errors, renewal, written] = [undefined, [], undefined, Promise.withResolvers<void>()];
});

/** kube-apiserver with one Lease, which may refuse to write. */
function renewalWith(refusal?: Error): LeaseRenewal {
  const api: Pick<KubeApi, 'get' | 'send'> = {
    get: async () => lease,
    send: async (_method, _path, body) => {
      if (refusal !== undefined) throw refusal;
      lease = body as Lease;
      written.resolve();
      return lease;
    },
  };
  renewal = new LeaseRenewal({
    api: api as KubeApi,
    namespace: 'device-mounter',
    node: 'n1',
    onError: (err) => errors.push(err),
  });
  return renewal;
}

test('stop() leaves the node its time until the next node worker, also when the first renewal is under way', async () => {
  const one = renewalWith();
  one.start();
  await one.stop();
  expect(lease?.spec).toMatchObject({ holderIdentity: 'n1', leaseDurationSeconds: 20 });
});

test('the next node worker takes that back', async () => {
  await renewalWith().stop();
  written = Promise.withResolvers<void>();
  renewalWith().start();
  await written.promise;
  expect(lease?.spec.leaseDurationSeconds).toBe(9);
});

test('stop() ends although kube-apiserver refuses', async () => {
  const refusal = new Error('refused');
  await renewalWith(refusal).stop();
  expect([lease, errors]).toEqual([undefined, [refusal]]);
});
