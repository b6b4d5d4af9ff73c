import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { createEngine } from '../../node-worker/kernel/create-engine.ts';
import type { ContainerHandle } from '../../node-worker/kernel/engine.ts';
import { cleanUp, startContainer, type TestContainer } from './container.ts';
import { FUSE, policyOf } from './devices.ts';

const engine = createEngine();
let container: TestContainer;
let handle: ContainerHandle;
beforeAll(cleanUp);
afterAll(cleanUp);
afterEach(async () => {
  handle.close();
  await container.stop();
});

describe.each([1, 2] as const)('a container with a user namespace on cgroup v%i', (cgroupVersion) => {
  test('is refused before anything is changed', async () => {
    container = await startContainer({ cgroupVersion, userNamespaceBase: 1_000_000 });
    handle = engine.openContainer({ containerId: container.id });
    const before = policyOf(container);
    expect(handle.dev).toBe('user-namespace');
    expect(() => engine.plan(handle, 'a', [FUSE], [])).toThrow('the container has a user namespace');
    expect(policyOf(container)).toEqual(before);
  });
});
