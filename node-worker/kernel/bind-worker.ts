import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import { type BindOrder, bindNode, unbindNode } from './bind-steps.ts';
import { SyscallError } from './syscall.ts';

/**
 * Runs one order in a thread of its own, because setns(2) and setfsuid(2) change the thread for good: the thread ends
 * with it. The descriptors of the order are the process's, so they mean the same here.
 */
export interface BindAnswer {
  /** Whether something was mounted or unmounted. */
  readonly changed: boolean;
  /** The name of errno when a system call failed. */
  readonly code?: string;
  readonly message?: string;
}

function answer(order: BindOrder): BindAnswer {
  try {
    return { changed: order.action === 'bind' ? bindNode(order) : unbindNode(order) };
  } catch (err) {
    return { changed: false, message: String(err), ...(err instanceof SyscallError && { code: err.code }) };
  }
}

// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port has no origins, a window's has
if (!isMainThread) parentPort?.postMessage(answer(workerData as BindOrder));
