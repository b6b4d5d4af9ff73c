import type { FailureType } from '../../contract/failures.ts';

/**
 * Why something cannot be done in a container. It becomes a failure of contract/failures.ts in the node worker: the helper
 * processes, where it is thrown, stay small because they do not load Temporal's libraries.
 */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly type: FailureType;

  constructor(type: FailureType, message: string, cause?: unknown) {
    super(message, { cause });
    this.type = type;
  }
}
