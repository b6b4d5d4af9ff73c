import { fail } from '../contract/failures.ts';
import type { Parameters } from './parameters.ts';
import { type FieldSelector, parseFieldSelector, parseLabelSelector, type Selector } from './selectors.ts';

/** Longer selectors are refused. */
const MOST_CHARACTERS = 4_096;

/** What of a query the review of a list or watch has to know. */
export interface ReviewedQuery {
  readonly watch: boolean;
  readonly fields: FieldSelector | undefined;
}

/** The query of a list or watch: `metav1.ListOptions`. */
export interface ListQuery {
  readonly matches: Selector;
  readonly limit: number | undefined;
  /** Where the page before has ended. */
  readonly after: ContinueToken | undefined;
  /** Undefined: whatever is now. */
  readonly resourceVersion: number | undefined;
  readonly resourceVersionMatch: 'Exact' | 'NotOlderThan' | undefined;
  readonly sendInitialEvents: boolean;
  readonly bookmarks: boolean;
  readonly timeoutSeconds: number | undefined;
}

interface ContinueToken {
  /** `resourceVersion` of the first page. */
  readonly rv: string;
  /** Namespace and name of the last mount of the page before. */
  readonly after: string;
}

export function parseReviewed(parameters: Parameters): ReviewedQuery {
  return {
    watch: parameters.flag('watch'),
    fields: parsed<FieldSelector>(parameters, 'fieldSelector', parseFieldSelector),
  };
}

/** All else, to be read once the review has allowed it. */
export function parseListQuery(parameters: Parameters, { fields }: ReviewedQuery): ListQuery {
  const labels = parsed<Selector>(parameters, 'labelSelector', parseLabelSelector);
  parameters.text('pretty');
  parameters.duration('timeout');
  return {
    matches: (mount) => (fields?.matches(mount) ?? true) && (labels?.(mount) ?? true),
    limit: parameters.count('limit') || undefined,
    after: parsed<ContinueToken>(parameters, 'continue', parseToken),
    resourceVersion: resourceVersionOf(parameters),
    resourceVersionMatch: parameters.choice('resourceVersionMatch', ['Exact', 'NotOlderThan']),
    sendInitialEvents: parameters.flag('sendInitialEvents'),
    bookmarks: parameters.flag('allowWatchBookmarks'),
    timeoutSeconds: parameters.count('timeoutSeconds') || undefined,
  };
}

/** 0 is "any", which is what there is now. */
function resourceVersionOf(parameters: Parameters): number | undefined {
  const text = parameters.text('resourceVersion');
  if (text === undefined || text === '0') return undefined;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  parameters.refuse('resourceVersion', text, 'must be one that a list or an object had');
  return undefined;
}

function parsed<T>(parameters: Parameters, name: string, parse: (text: string) => T | string): T | undefined {
  const text = parameters.text(name);
  if (text === undefined) return undefined;
  if (text.length > MOST_CHARACTERS) {
    parameters.refuse(name, `${text.slice(0, 64)}…`, `must have at most ${MOST_CHARACTERS} characters`);
    return undefined;
  }
  const value = parse(text);
  if (typeof value !== 'string') return value;
  parameters.refuse(name, text, value);
  return undefined;
}

export function tokenOf(token: ContinueToken): string {
  return Buffer.from(JSON.stringify(token)).toString('base64url');
}

function parseToken(text: string): ContinueToken | string {
  try {
    const { rv, after } = JSON.parse(Buffer.from(text, 'base64url').toString('utf8')) as Record<string, unknown>;
    if (typeof rv === 'string' && typeof after === 'string') return { rv, after };
  } catch {
    // It is none, as below.
  }
  return 'must be what the page before has answered';
}

/**
 * Only what is now can be listed.
 * @throws Expired
 */
export function refuseExact({ resourceVersion, resourceVersionMatch }: ListQuery): void {
  if (resourceVersionMatch !== 'Exact' || resourceVersion === undefined) return;
  throw fail('Expired', `The resourceVersion for the provided list is too old: ${resourceVersion}`);
}
