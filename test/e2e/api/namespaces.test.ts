import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { kubectl } from '../kubectl.ts';
import { apiAvailable } from '../nodes.ts';
import {
  bringEverythingBack,
  createNamespace,
  deleteNamespace,
  namespaceGone,
  takeEverythingDown,
} from './namespaces.ts';

describe('with Temporal, the control worker and every node worker down', () => {
  beforeAll(takeEverythingDown);
  afterAll(bringEverythingBack);

  test('a namespace is deleted in seconds', async () => {
    await createNamespace('contract-empty');
    await deleteNamespace('contract-empty');
    await namespaceGone('contract-empty', 20_000);
  });

  test('the API is Available, and what needs Temporal says so', async () => {
    await apiAvailable();
    const listed = await kubectl(['get', 'devicemounts.device-mounter.io']);
    expect([listed.code, listed.stderr]).toEqual([1, expect.stringMatching(/Cannot reach Temporal/)]);
  });
});
