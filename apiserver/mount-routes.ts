import type { DeviceMount } from '../contract/device-mount.ts';
import { fail } from '../contract/failures.ts';
import { ownAttributes, type Review } from './authorization.ts';
import { allow, type Call, nameIn } from './call.ts';
import { refuseProblems } from './mount-request.ts';
import type { Mounts } from './mounts.ts';
import { formOf } from './negotiation.ts';
import { sendJson } from './respond.ts';
import { type IncludeObject, tableOf } from './table.ts';

export interface MountRoutesDeps {
  readonly review: Review;
  readonly mounts: Mounts;
}

/** `GET …/namespaces/{namespace}/devicemounts/{name}`. */
export async function getMount({ review, mounts }: MountRoutesDeps, call: Call): Promise<void> {
  const namespace = nameIn(call.req, 'namespace');
  const name = nameIn(call.req, 'name');
  await allow(review, call, ownAttributes({ verb: 'get', resource: 'devicemounts', namespace, name }));
  const mount = await mounts.get(namespace, name);
  if (mount === undefined) throw fail('NotFound', `devicemounts.device-mounter.io "${name}" not found`);
  send(call, [mount], { resourceVersion: mount.metadata.resourceVersion }, mount);
}

/** `GET …/devicemounts`, of one namespace or of all. */
export async function listMounts({ review, mounts }: MountRoutesDeps, call: Call): Promise<void> {
  const namespace = call.req.params['namespace'] === undefined ? undefined : nameIn(call.req, 'namespace');
  await allow(review, call, ownAttributes({ verb: 'list', resource: 'devicemounts', namespace: namespace ?? '' }));
  const list = await mounts.list(namespace);
  send(call, list.items, list.metadata, list);
}

function send(
  { req, res, parameters }: Call,
  rows: readonly DeviceMount[],
  metadata: Readonly<Record<string, unknown>>,
  value: unknown,
): void {
  const includeObject: IncludeObject = parameters.choice('includeObject', ['None', 'Metadata', 'Object']) ?? 'Metadata';
  refuseProblems(parameters.problems, [], { kind: 'DeviceMount', name: '' });
  const table = formOf(req.headers.accept, ['json', 'table']) === 'table';
  sendJson(req, res, 200, table ? tableOf(rows, metadata, includeObject, new Date()) : value);
}
