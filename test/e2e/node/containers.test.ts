import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { containerPid } from '../device-state.ts';
import { canOpen, exec, inPod } from '../exec.ts';
import { find } from '../kube.ts';
import { laneNode } from '../lane.ts';
import { loadOpenerImage, openAnswers, startOpener } from '../opener/image.ts';
import { deviceMount, expectNothingMounted, FUSE, mountOk, podPath, slavesGone, unmount } from '../pods.ts';
import { expectNoPods, Targets } from '../targets.ts';
import { until } from '../until.ts';

const node = laneNode();
const targets = new Targets();
let opener: string;

beforeAll(async () => {
  opener = await loadOpenerImage([node]);
});

afterEach(() => targets.remove());
afterAll(expectNoPods);

async function startedOpener(): Promise<string> {
  return targets.add(await startOpener(node.name, opener));
}

const lastAnswer = async (pod: string): Promise<string | undefined> => (await openAnswers(pod)).at(-1)?.answer;

async function answers(pod: string, answer: string): Promise<void> {
  await until(`${pod} to be answered ${answer}`, async () => (await lastAnswer(pod)) === answer);
}

async function restarts(pod: string): Promise<number | undefined> {
  const object = await find<{ status: { containerStatuses?: { restartCount: number }[] } }>(podPath(pod));
  return object?.status.containerStatuses?.[0]?.restartCount;
}

test('a pod with its own user namespace opens the device as one of its own', async () => {
  const pod = await targets.start(node.name, { hostUsers: false });
  await mountOk(pod, FUSE);
  expect(await canOpen(pod, '/dev/fuse')).toBe(true);
  expect((await inPod(pod, 'cat /proc/self/uid_map')).stdout.trim()).not.toMatch(/^0\s+0\s/);
  expect((await unmount(pod)).status).toBe(200);
  expect((await inPod(pod, 'test -e /dev/fuse')).code).toBe(1);
});

test('a distroless container opens the device while it is mounted and not after', async () => {
  const pod = await startedOpener();
  await answers(pod, 'ENOENT');
  await mountOk(pod, FUSE);
  await answers(pod, 'opened');
  expect((await unmount(pod, '&force=1')).status).toBe(200);
  await answers(pod, 'ENOENT');
  // There is no program in it that anybody could run.
  await expect(exec(pod, ['true'])).rejects.toThrow(/executable file not found/);
});

test('a container that restarts has its device again', async () => {
  const pod = await startedOpener();
  const { metadata } = await mountOk(pod, FUSE);
  await answers(pod, 'opened');
  process.kill(await containerPid(pod), 'SIGKILL');
  await until('the container to run again', async () => (await restarts(pod)) === 1);
  await answers(pod, 'opened');
  expect(await deviceMount(metadata.name)).toMatchObject({ status: { phase: 'Mounted' } });
  expect((await unmount(pod, '&force=1')).status).toBe(200);
  await answers(pod, 'ENOENT');
});

test('a mount with onRestart release ends when the container restarts', async () => {
  const pod = await startedOpener();
  const { metadata } = await mountOk(pod, FUSE, '', { onRestart: 'release' });
  process.kill(await containerPid(pod), 'SIGKILL');
  await until('the mount to be released', async () => (await deviceMount(metadata.name))?.status.phase === 'Released');
  await slavesGone(pod);
  await until('the container to run again', async () => (await restarts(pod)) === 1);
  await answers(pod, 'ENOENT');
  const other = await targets.start(node.name);
  await mountOk(other, FUSE);
  expect((await unmount(other)).status).toBe(200);
  await expectNothingMounted(other);
});
