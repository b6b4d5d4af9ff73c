import { Context } from '@temporalio/activity';
import type { NodeActivities } from '../../contract/node-activities.ts';
import type { NodeDependencies } from '../mounts/dependencies.ts';
import { attach } from './attach.ts';
import { detach } from './detach.ts';
import { takenBack } from './taken-back.ts';

/** Often enough that a cancellation is heard of soon; the SDK sends only as many as the time-out needs. */
const HEARTBEAT_MS = 500;

/** The activities of this node for a Temporal worker. */
export function createNodeActivities(deps: NodeDependencies): NodeActivities {
  return {
    attachDevices: (input) =>
      withHeartbeat((signal) => deps.metrics.timed('attach', () => attach(deps, input, { signal }))),
    detachDevices: (input) => withHeartbeat(() => deps.metrics.timed('detach', () => detach(deps, input))),
    takenBack: async (input) => takenBack(deps.store, input),
  };
}

async function withHeartbeat<T>(step: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const context = Context.current();
  const beats = context.info.heartbeatTimeoutMs !== undefined && context.info.heartbeatTimeoutMs > 0;
  const timer = beats ? setInterval(() => context.heartbeat(), HEARTBEAT_MS) : undefined;
  try {
    return await step(context.cancellationSignal);
  } finally {
    clearInterval(timer);
  }
}
