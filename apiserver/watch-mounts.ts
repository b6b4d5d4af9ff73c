import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import type { Response } from 'express';
import type { DeviceMount } from '../contract/device-mount.ts';
import { fail } from '../contract/failures.ts';
import { GROUP_VERSION } from '../contract/names.ts';
import type { Call } from './call.ts';
import type { ListQuery } from './list-query.ts';
import { type MountFeed, type Snapshot, WINDOW_MS } from './mount-feed.ts';
import { statusOf } from './status.ts';
import { WatchState } from './watch-events.ts';

/** Between two signs that nothing was missed; kube-apiserver gives one a minute. */
const BOOKMARK_MS = 30_000;
/** As kube-apiserver's `--min-request-timeout`, doubled by chance so that clients do not return together. */
const LONGEST_SECONDS = 1_800;
/**
 * How long a change may take from its workflow into a list, clocks of different machines included. The `resourceVersion` of a list lies so far back:
 * who watches from there may hear twice of a change, but of all.
 */
const LAG_MS = 3_000;

/** The `resourceVersion` of a list that is read now. */
export function listVersion(now: Date): string {
  return String(now.getTime() - LAG_MS);
}

export interface WatchDeps {
  readonly feed: MountFeed;
  /** Ends every watch, so that the process can stop. */
  readonly ending?: AbortSignal | undefined;
}

/** What a client is sent of a mount; `first` is true once. */
export type Shape = (mount: DeviceMount | undefined, version: string, first: boolean) => object;

/**
 * Streams changes of mounts as `metav1.WatchEvent`s until the client, its `timeoutSeconds` or the server ends it. What happens between
 * two looks at Temporal is told as one change.
 * @throws Expired, TemporalUnavailable before anything was sent
 */
export async function streamMounts(
  { feed, ending }: WatchDeps,
  { res, access }: Call,
  query: ListQuery & { readonly namespace: string | undefined },
  shape: Shape,
): Promise<void> {
  const stop = endOf(res, query.timeoutSeconds, ending);
  const since = sinceOf(query);
  const state = new WatchState((mount) => isWanted(mount, query), since);
  let first = true;
  const send = async (type: string, object: object) => {
    first = false;
    if (!res.write(`${JSON.stringify({ type, object })}\n`)) await once(res, 'drain', { signal: stop });
  };
  const stopped = once(stop, 'abort');
  let snapshot = await feed.next();
  res.writeHead(200, { 'Content-Type': 'application/json', 'Cache-Control': 'no-cache, private' });
  res.flushHeaders();
  let bookmarkAtMs = query.sendInitialEvents && query.bookmarks ? 0 : performance.now() + BOOKMARK_MS;
  try {
    while (!stop.aborted) {
      for (const { type, mount } of state.events(snapshot)) {
        await send(type, shape(mount, mount.metadata.resourceVersion, first));
      }
      if (query.bookmarks && performance.now() >= bookmarkAtMs) {
        await send('BOOKMARK', bookmark(shape, first, bookmarkAtMs === 0));
        bookmarkAtMs = performance.now() + BOOKMARK_MS;
      }
      snapshot = await nextOf(feed, snapshot, stopped);
    }
  } catch (err) {
    // Of `drain`: nobody is left to be told.
    if (!stop.aborted) res.write(`${JSON.stringify({ type: 'ERROR', object: statusOf(err, access.auditId) })}\n`);
  }
  res.end();
}

/** While Temporal is away nothing is known to have changed. */
async function nextOf(feed: MountFeed, last: Snapshot, stopped: Promise<unknown>): Promise<Snapshot> {
  return Promise.race([feed.next().catch(() => last), stopped.then(() => last)]);
}

function isWanted(mount: DeviceMount, { namespace, matches }: ListQuery & { readonly namespace: string | undefined }) {
  return (namespace === undefined || mount.metadata.namespace === namespace) && matches(mount);
}

/** @throws Expired */
function sinceOf({ resourceVersion, sendInitialEvents }: ListQuery): number | undefined {
  if (sendInitialEvents || resourceVersion === undefined) return undefined;
  const oldest = Date.now() - WINDOW_MS;
  if (resourceVersion >= oldest) return resourceVersion;
  throw fail('Expired', `too old resource version: ${resourceVersion} (${oldest})`);
}

function endOf(res: Response, timeoutSeconds: number | undefined, ending: AbortSignal | undefined): AbortSignal {
  const seconds = Math.min(timeoutSeconds ?? LONGEST_SECONDS + randomInt(LONGEST_SECONDS), 2 * LONGEST_SECONDS);
  const gone = new AbortController();
  res.once('close', () => gone.abort());
  return AbortSignal.any([
    gone.signal,
    AbortSignal.timeout(seconds * 1_000),
    ...(ending === undefined ? [] : [ending]),
  ]);
}

/** `k8s.io/initial-events-end` tells a client of WatchList (KEP-3157) that it knows all that there was. */
function bookmark(shape: Shape, first: boolean, initial: boolean): object {
  const version = listVersion(new Date());
  const shaped = shape(undefined, version, first);
  if ('rows' in shaped) return shaped;
  const annotations = initial ? { annotations: { 'k8s.io/initial-events-end': 'true' } } : {};
  return { apiVersion: GROUP_VERSION, kind: 'DeviceMount', metadata: { resourceVersion: version, ...annotations } };
}
