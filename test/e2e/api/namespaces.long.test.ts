import { afterAll, beforeAll, test } from '@jest/globals';
import {
  bringEverythingBack,
  createNamespace,
  deleteNamespace,
  mountIn,
  namespaceGone,
  takeEverythingDown,
} from './namespaces.ts';

const NAMESPACE = 'contract-mounted';

beforeAll(async () => {
  await createNamespace(NAMESPACE);
  await mountIn(NAMESPACE);
  await takeEverythingDown();
});
afterAll(bringEverythingBack);

test('a namespace with mounted devices is deleted once its pods have ended, with nobody there to unmount', async () => {
  await deleteNamespace(NAMESPACE);
  await namespaceGone(NAMESPACE, 60_000);
});
