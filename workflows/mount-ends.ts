import { type FailureType, fail } from '../contract/failures.ts';
import { onSignal } from './signals.ts';

/** Why a mount is to end. */
export type End =
  | { readonly kind: 'release'; readonly by?: string | undefined }
  /** `why`: what became of the slave, in the words of whoever saw it. */
  | { readonly kind: 'slaveEnding'; readonly why?: string | undefined }
  /** `by`: the user whom the node has obeyed already. */
  | { readonly kind: 'released'; readonly by?: string | undefined }
  | { readonly kind: 'targetGone' | 'containerRestarted' | 'leaseEnded' | 'canceled' };

interface EndRow {
  /** Failure of a mount that was not made yet. */
  readonly failure: FailureType;
  readonly message: string;
  /** `status.reason` of a mount that was made. */
  readonly reason: string;
  /** Whether the devices are taken back even from processes that use them. */
  readonly force: boolean;
}

export const ENDS = {
  release: { failure: 'Canceled', message: 'it was released', reason: 'Unmounted', force: false },
  released: { failure: 'Canceled', message: 'it was unmounted', reason: 'Unmounted', force: true },
  targetGone: { failure: 'TargetGone', message: 'the target pod has ended', reason: 'TargetGone', force: true },
  slaveEnding: {
    failure: 'SlaveEnded',
    message: 'its slave pod was deleted or has ended',
    reason: 'SlaveEnded',
    force: true,
  },
  containerRestarted: {
    failure: 'ContainerNotReady',
    message: 'the container was restarted',
    reason: 'ContainerRestarted',
    force: true,
  },
  leaseEnded: { failure: 'Timeout', message: 'its lease has ended', reason: 'LeaseEnded', force: true },
  canceled: { failure: 'Canceled', message: 'it was cancelled', reason: 'Canceled', force: true },
} as const satisfies Record<End['kind'], EndRow>;

/** Collects the signals that end a mount, until it is ready to act on them. */
export class MountEnds {
  readonly #ends: End[] = [];

  /**
   * @param needs whether a mount needs the slave of this UID
   * @param refused told why a signal was left out
   */
  constructor(needs: (slaveUid: string) => boolean, refused: (why: string) => void) {
    onSignal('release', refused, ({ by }) => this.add({ kind: 'release', by }));
    onSignal('released', refused, ({ by }) => this.add({ kind: 'released', by }));
    onSignal('targetGone', refused, () => this.add({ kind: 'targetGone' }));
    onSignal('slaveEnding', refused, ({ uid, why }) => {
      if (uid === undefined || needs(uid)) this.add({ kind: 'slaveEnding', why });
    });
  }

  add(end: End): void {
    this.#ends.push(end);
  }

  /** What is waiting to be taken; one that cannot be refused goes first. */
  get next(): End | undefined {
    return this.#ends.find(({ kind }) => ENDS[kind].force) ?? this.#ends[0];
  }

  take(): End | undefined {
    const end = this.next;
    this.#ends.length = 0;
    return end;
  }
}

/** What a mount that was not made yet fails with. */
export function failureOfEnd(name: string, end: End): Error {
  return fail(ENDS[end.kind].failure, `Cannot mount "${name}": ${wordsOf(end, ' before it was mounted')}`);
}

/** Failure of a mount that was made and has lost its slave. */
export function failureOfSlave(name: string, end: End): Error {
  return fail('SlaveEnded', `Cannot keep mount "${name}": ${wordsOf(end)}`);
}

function wordsOf(end: End, when = ''): string {
  const why = end.kind === 'slaveEnding' && end.why !== undefined ? `: ${end.why}` : '';
  return `${ENDS[end.kind].message}${when}${why}`;
}
