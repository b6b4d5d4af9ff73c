import type { Request, RequestHandler, Response } from 'express';
import { fail, failureOf } from '../contract/failures.ts';
import { type AccessRecord, accessOf } from './access.ts';
import { type Attributes, authorize, type Review } from './authorization.ts';
import { ANONYMOUS, type Identity } from './identity.ts';
import { Parameters } from './parameters.ts';
import { within } from './patience.ts';
import { isLabel, isSubdomain } from './raw-path.ts';
import { sendFailure } from './respond.ts';
import type { StatusSubject } from './status.ts';

/** One request by somebody known. */
export interface Call {
  readonly req: Request;
  readonly res: Response;
  readonly identity: Identity;
  readonly parameters: Parameters;
  readonly access: AccessRecord;
}

/** Most requests that may be served at once, and how many are. */
export class InFlight {
  readonly #limit: number;
  #now = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** @throws TooManyRequests */
  async run(task: () => Promise<void>): Promise<void> {
    if (this.#now >= this.#limit)
      throw fail('TooManyRequests', 'Too many requests are being served, please try again later');
    this.#now += 1;
    try {
      await task();
    } finally {
      this.#now -= 1;
    }
  }
}

interface Gate {
  readonly identify: (req: Request) => Promise<Identity>;
  readonly inFlight: InFlight;
  readonly subject?: (req: Request) => StatusSubject;
  /** Absent: as long as it takes. */
  readonly answerWithinMs?: number | undefined;
}

/** A route that needs to know who asks. What the handler throws is answered as a Status. */
export function identified(gate: Gate, handle: (call: Call) => Promise<void>): RequestHandler {
  return async (req, res) => {
    const access = accessOf(res);
    try {
      await within(gate.answerWithinMs, async () => {
        const identity = await gate.identify(req);
        refuseAnonymous(identity);
        access.user = identity.name.slice(0, 256);
        await gate.inFlight.run(() => handle({ req, res, identity, access, parameters: new Parameters(req.url) }));
      });
    } catch (err) {
      sendFailure(req, res, err, gate.subject?.(req));
    }
  };
}

/**
 * Before anything of the request is read, and before it costs a review or a place among those being served.
 * @throws Unauthorized
 */
function refuseAnonymous({ name, groups }: Identity): void {
  if (name !== ANONYMOUS.name && !groups.includes('system:unauthenticated')) return;
  throw fail('Unauthorized', 'Unauthorized', new Error('the request is anonymous'));
}

/** @throws Forbidden */
export async function allow(
  review: Review,
  { access, identity }: Call,
  what: Attributes | { readonly path: string; readonly verb: string },
): Promise<void> {
  access.decision = 'error';
  try {
    await authorize(review, identity, what);
    access.decision = 'allow';
  } catch (err) {
    if (failureOf(err)?.type === 'Forbidden') access.decision = 'forbid';
    throw err;
  }
}

/**
 * A name from the path. Express gives it decoded, but the raw path has no escapes, so it is what the client sent.
 * @throws NotFound when no object can be called so
 */
export function nameIn(req: Request, parameter: 'namespace' | 'name'): string {
  const value = req.params[parameter];
  const isName = parameter === 'namespace' ? isLabel : isSubdomain;
  if (typeof value === 'string' && isName(value)) return value;
  throw fail('NotFound', 'the server could not find the requested resource');
}
