import { type FailureType, fail } from '../contract/failures.ts';
import { onSignal } from './signals.ts';

/** Why a mount is to end. */
export type End =
  | { readonly kind: 'release'; readonly by?: string | undefined }
  /** `why`: what became of the slave, in the words of whoever saw it. */
  | { readonly kind: 'slaveEnding'; readonly uid?: string | undefined; readonly why?: string | undefined }
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

/** Which slaves a mount has. */
export interface OwnSlaves {
  has(uid: string): boolean;
  /** Whether it has those that it is to have. Until then a signal may be about one of them. */
  readonly areKnown: boolean;
}

/** Others may send any number of signals about slaves that a mount does not know yet. */
const MAX_ENDS = 1_000;

/** Collects the signals that end a mount, until it is ready to act on them. */
export class MountEnds {
  readonly #slaves: OwnSlaves;
  readonly #ends: End[] = [];

  /** @param refused told why a signal was left out */
  constructor(slaves: OwnSlaves, refused: (why: string) => void) {
    this.#slaves = slaves;
    onSignal('release', refused, ({ by }) => this.add({ kind: 'release', by }));
    onSignal('released', refused, ({ by }) => this.add({ kind: 'released', by }));
    onSignal('targetGone', refused, () => this.add({ kind: 'targetGone' }));
    onSignal('slaveEnding', refused, ({ uid, why }) => {
      if (uid === undefined || slaves.has(uid)) this.add({ kind: 'slaveEnding', uid, why });
      else if (!slaves.areKnown && this.#ends.length < MAX_ENDS) this.add({ kind: 'slaveEnding', uid, why });
    });
  }

  add(end: End): void {
    this.#ends.push(end);
  }

  /** What is waiting to be taken; one that cannot be refused goes first. */
  get next(): End | undefined {
    const ends = this.#ends.filter((end) => this.#isOurs(end));
    return ends.find(({ kind }) => ENDS[kind].force) ?? ends[0];
  }

  /** After a reset, signals about earlier slaves come again. */
  #isOurs(end: End): boolean {
    return end.kind !== 'slaveEnding' || end.uid === undefined || this.#slaves.has(end.uid);
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
