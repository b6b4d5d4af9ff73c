import { closeSync, readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { fail } from '../../contract/failures.ts';
import type { BindOrder } from './bind-steps.ts';
import type { BindAnswer } from './bind-worker.ts';
import type { OpenContainer } from './container.ts';
import { unwritable } from './device-node.ts';
import type { DeviceNode } from './engine.ts';
import { O_DIRECTORY } from './flags.ts';
import { hostIdOf } from './id-map.ts';
import { openInRoot } from './open-in-root.ts';
import { componentsBelowDev } from './safe-path.ts';

/** `placeNode` for a container with a user namespace. Throws `ContainerUnsupported`. */
export async function bindInContainer(container: OpenContainer, device: DeviceNode): Promise<boolean> {
  const answer = await runInThread(container, device, 'bind');
  if (answer.message === undefined) return answer.changed;
  const err = new BindError(answer);
  const known = unwritable(device.path, err);
  if (known !== err) throw known;
  throw fail('ContainerUnsupported', `Cannot make device node "${device.path}" in a user namespace`, err);
}

/** `takeNode` for a container with a user namespace. */
export async function unbindInContainer(container: OpenContainer, device: DeviceNode): Promise<boolean> {
  const answer = await runInThread(container, device, 'unbind');
  if (answer.message === undefined) return answer.changed;
  if (['ENOENT', 'ELOOP', 'ENOTDIR', 'ESRCH'].includes(answer.code ?? '')) return false;
  throw new BindError(answer);
}

class BindError extends Error {
  override readonly name = 'BindError';
  readonly code: string;
  constructor({ code = '', message = '' }: BindAnswer) {
    super(message);
    this.code = code;
  }
}

async function runInThread(
  container: OpenContainer,
  device: DeviceNode,
  action: BindOrder['action'],
): Promise<BindAnswer> {
  const ids = (map: string): string => readFileSync(`/proc/${container.pid}/${map}`, 'latin1');
  const [uids, gids] = container.isAlive() ? [ids('uid_map'), ids('gid_map')] : ['', ''];
  const devFd = openInRoot(container.rootFd, '/dev', O_DIRECTORY);
  const order: BindOrder = {
    action,
    pidfd: container.pidfd,
    devFd,
    parts: componentsBelowDev(device.path),
    device: { ...device, uid: mapped(uids, device.uid), gid: mapped(gids, device.gid) },
    rootUid: mapped(uids, 0),
    rootGid: mapped(gids, 0),
  };
  try {
    return await answerOf(
      new Worker(new URL('./bind-worker.ts', import.meta.url), { workerData: order, execArgv: ['--no-warnings'] }),
    );
  } finally {
    closeSync(devFd);
  }
}

/** An id that the namespace does not have is its root's. */
const mapped = (map: string, id: number): number => hostIdOf(map, id) ?? hostIdOf(map, 0) ?? 0;

/** The thread's answer, once the thread has ended and can touch nothing any more. */
function answerOf(worker: Worker): Promise<BindAnswer> {
  return new Promise((resolve, reject) => {
    let answer: BindAnswer | undefined;
    worker.on('message', (message: BindAnswer) => {
      answer = message;
    });
    worker.on('error', reject);
    worker.on('exit', () => {
      if (answer === undefined) reject(new Error('the thread that binds nodes ended without an answer'));
      else resolve(answer);
    });
  });
}
