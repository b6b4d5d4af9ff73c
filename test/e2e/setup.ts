import { beforeAll } from '@jest/globals';
import { find, send } from './kube.ts';
import { NAMESPACE } from './lane.ts';
import { until } from './until.ts';

beforeAll(async () => {
  await send('POST', '/api/v1/namespaces', { metadata: { name: NAMESPACE } });
  const account = `/api/v1/namespaces/${NAMESPACE}/serviceaccounts/default`;
  await until(`the service account of ${NAMESPACE}`, async () => (await find(account)) !== undefined);
});
