import { afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { NODES } from './cluster.ts';
import { containerPid } from './device-state.ts';
import { getJson } from './kubectl.ts';
import { loadOpenerImage, openAnswers, startOpener } from './opener/image.ts';
import { deviceMount, expectNothingMounted, FUSE, inPod, mountOk, slavesGone, unmount } from './pods.ts';
import { Targets } from './targets.ts';
import { until } from './until.ts';

const targets = new Targets();
let opener: string;

beforeAll(async () => {
  opener = await loadOpenerImage();
});

afterEach(() => targets.remove());

async function openerOn(node: string): Promise<string> {
  return targets.add(await startOpener(node, opener));
}

const lastAnswer = async (pod: string): Promise<string | undefined> => (await openAnswers(pod)).at(-1)?.answer;

async function answers(pod: string, answer: string): Promise<void> {
  await until(`${pod} to be answered ${answer}`, async () => (await lastAnswer(pod)) === answer);
}

async function restarts(pod: string): Promise<number | undefined> {
  const object = await getJson<{ status: { containerStatuses?: { restartCount: number }[] } }>(['pod', pod]);
  return object?.status.containerStatuses?.[0]?.restartCount;
}

describe.each(NODES.map(({ name }) => name))('on %s', (node) => {
  test('a pod with its own user namespace opens the device as one of its own', async () => {
    const pod = await targets.start(node, { hostUsers: false });
    await mountOk(pod, FUSE);
    expect(await inPod(pod, 'exec 3<>/dev/fuse && echo opened')).toMatchObject({ stdout: 'opened\n' });
    expect((await inPod(pod, 'cat /proc/self/uid_map')).stdout.trim()).not.toMatch(/^0\s+0\s/);
    expect((await unmount(pod)).code).toBe(0);
    expect((await inPod(pod, 'test -e /dev/fuse')).code).toBe(1);
  });

  test('a distroless container opens the device while it is mounted and not after', async () => {
    const pod = await openerOn(node);
    await answers(pod, 'ENOENT');
    await mountOk(pod, FUSE);
    await answers(pod, 'opened');
    expect((await unmount(pod, '&force=1')).code).toBe(0);
    await answers(pod, 'ENOENT');
    expect((await inPod(pod, 'true')).code).not.toBe(0);
  });

  test('a container that restarts has its device again', async () => {
    const pod = await openerOn(node);
    const { metadata } = await mountOk(pod, FUSE);
    await answers(pod, 'opened');
    process.kill(await containerPid(pod), 'SIGKILL');
    await until('the container to run again', async () => (await restarts(pod)) === 1);
    await answers(pod, 'opened');
    expect(await deviceMount(metadata.name)).toMatchObject({ status: { phase: 'Mounted' } });
    expect((await unmount(pod, '&force=1')).code).toBe(0);
    await answers(pod, 'ENOENT');
  });

  test('a mount with onRestart release ends when the container restarts', async () => {
    const pod = await openerOn(node);
    const { metadata } = await mountOk(pod, FUSE, '', { onRestart: 'release' });
    process.kill(await containerPid(pod), 'SIGKILL');
    await until(
      'the mount to be released',
      async () => (await deviceMount(metadata.name))?.status.phase === 'Released',
    );
    await slavesGone(pod);
    await until('the container to run again', async () => (await restarts(pod)) === 1);
    await answers(pod, 'ENOENT');
    const other = await targets.start(node);
    await mountOk(other, FUSE);
    expect((await unmount(other)).code).toBe(0);
    await expectNothingMounted(other);
  });
});
