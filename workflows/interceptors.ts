import { defaultPayloadConverter, type Payload } from '@temporalio/common';
import type { WorkflowInterceptorsFactory } from '@temporalio/workflow';

/** In the place of what a signal brings that cannot be read; no signal takes it. */
const UNREADABLE = 'unreadable';

/**
 * Loaded by name into the bundle. The SDK decodes signals before any handler can look at them, and an encoding that it does
 * not know would stop the workflow for ever.
 */
export const interceptors: WorkflowInterceptorsFactory = () => ({
  internals: [
    {
      activate(input, next) {
        for (const { signalWorkflow } of input.activation.jobs ?? []) {
          if (signalWorkflow?.input) signalWorkflow.input = signalWorkflow.input.map(readable);
        }
        next(input);
      },
    },
  ],
});

function readable(payload: Payload): Payload {
  try {
    defaultPayloadConverter.fromPayload(payload);
    return payload;
  } catch {
    return defaultPayloadConverter.toPayload(UNREADABLE);
  }
}
