import type { DeviceMount } from '../contract/device-mount.ts';
import { fail } from '../contract/failures.ts';
import { GROUP_VERSION } from '../contract/names.ts';
import { ownAttributes, type Review } from './authorization.ts';
import { allow, type Call, nameIn } from './call.ts';
import { type ListQuery, parseListQuery, parseReviewed, refuseExact, tokenOf } from './list-query.ts';
import { isListed, keyOf } from './mount-feed.ts';
import { refuseProblems } from './mount-request.ts';
import type { Mounts } from './mounts.ts';
import { formOf } from './negotiation.ts';
import { sendJson } from './respond.ts';
import { type IncludeObject, tableOf } from './table.ts';
import { listVersion, type Shape, streamMounts, type WatchDeps } from './watch-mounts.ts';

export interface MountRoutesDeps extends WatchDeps {
  readonly review: Review;
  readonly mounts: Mounts;
}

/** `GET …/namespaces/{namespace}/devicemounts/{name}`. */
export async function getMount({ review, mounts }: MountRoutesDeps, call: Call): Promise<void> {
  const namespace = nameIn(call.req, 'namespace');
  const name = nameIn(call.req, 'name');
  await allow(review, call, ownAttributes({ verb: 'get', resource: 'devicemounts', namespace, name }));
  const form = answerFormOf(call);
  refuse(call);
  const mount = await mounts.get(namespace, name);
  if (mount === undefined) throw fail('NotFound', `devicemounts.device-mounter.io "${name}" not found`);
  const { resourceVersion } = mount.metadata;
  sendJson(call.req, call.res, 200, form.table ? form.tableOf([mount], { resourceVersion }) : mount);
}

/** `GET …/devicemounts`, of one namespace or of all; with `watch` the changes from then on. */
export async function listMounts(deps: MountRoutesDeps, call: Call): Promise<void> {
  const namespace = call.req.params['namespace'] === undefined ? undefined : nameIn(call.req, 'namespace');
  const reviewed = parseReviewed(call.parameters);
  const attributes = {
    verb: reviewed.watch ? 'watch' : 'list',
    resource: 'devicemounts',
    namespace: namespace ?? '',
    // kube-apiserver does so, too: who may see one by name may list and watch that one.
    ...(reviewed.fields?.name !== undefined && { name: reviewed.fields.name }),
  };
  await allow(deps.review, call, ownAttributes(attributes));
  const query = parseListQuery(call.parameters, reviewed);
  const form = answerFormOf(call);
  refuse(call);
  if (reviewed.watch) {
    const shape: Shape = (mount, resourceVersion, first) =>
      form.table ? form.tableOf(mount === undefined ? [] : [mount], { resourceVersion }, first) : (mount ?? {});
    return streamMounts(deps, call, { ...query, namespace }, shape);
  }
  refuseExact(query);
  const now = new Date();
  const { items } = await deps.mounts.list(namespace);
  const { page, metadata } = pageOf(
    items.filter((mount) => isListed(mount, now) && query.matches(mount)),
    query,
    listVersion(now),
  );
  const list = { apiVersion: GROUP_VERSION, kind: 'DeviceMountList', metadata, items: page };
  sendJson(call.req, call.res, 200, form.table ? form.tableOf(page, metadata) : list);
}

function pageOf(items: readonly DeviceMount[], { after, limit }: ListQuery, version: string) {
  const sorted = items.toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  const rest = after === undefined ? sorted : sorted.filter((mount) => keyOf(mount) > after.after);
  const page = rest.slice(0, limit);
  const last = page.at(-1);
  const resourceVersion = after?.rv ?? version;
  if (page.length === rest.length || last === undefined) return { page, metadata: { resourceVersion } };
  const token = tokenOf({ rv: resourceVersion, after: keyOf(last) });
  return { page, metadata: { resourceVersion, continue: token, remainingItemCount: rest.length - page.length } };
}

function answerFormOf({ req, parameters }: Call) {
  const includeObject: IncludeObject = parameters.choice('includeObject', ['None', 'Metadata', 'Object']) ?? 'Metadata';
  const table = formOf(req.headers.accept, ['json', 'table']) === 'table';
  return {
    table,
    tableOf: (rows: readonly DeviceMount[], metadata: Readonly<Record<string, unknown>>, columns = true) =>
      tableOf(rows, metadata, { includeObject, columns }, new Date()),
  };
}

/** @throws BadRequest */
function refuse({ parameters }: Call): void {
  refuseProblems(parameters.problems, [], { kind: 'DeviceMount', name: '' });
}
