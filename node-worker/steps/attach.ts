import { fail } from '../../contract/failures.ts';
import type { AttachInput, AttachResult } from '../../contract/node-activities.ts';
import type { MountRequest } from '../../contract/requests.ts';
import { verifiedRequest } from '../../contract/signature.ts';
import { type Call, lockOf, type NodeDependencies } from '../mounts/dependencies.ts';
import { refuseMountsOfLater } from '../mounts/later-release.ts';
import { checkSlave, checkTarget } from '../mounts/ownership.ts';
import type { MountRecord } from '../state/mount-record.ts';
import { attachToContainer } from './attach-to-container.ts';
import { checkAlive } from './await-allocation.ts';
import { awaitFindings } from './findings.ts';
import { checkFresh, checkUnclaimed, checkUnused } from './replay.ts';

/** See `NodeActivities.attachDevices`. */
export async function attach(deps: NodeDependencies, input: AttachInput, call: Call): Promise<AttachResult> {
  const request = verifiedMount(deps, input);
  if (input.slaves.length === 0) {
    throw fail('NotAllocated', `Cannot attach mount "${request.name}": it has no slave pod`);
  }
  refuseMountsOfLater(deps.store, [{ namespace: request.target.namespace, name: request.name }]);
  checkUnclaimed(deps.store, input);
  checkFresh(deps.store, input, Date.now());
  checkUnused(deps.store, input);
  return attachVerified(deps, input, call, 'first');
}

/**
 * Gives the devices of a mount to the container that runs now in place of the one of `record`.
 * @throws like `attachDevices`
 */
export function attachAgain(deps: NodeDependencies, record: MountRecord, call: Call): Promise<AttachResult> {
  return attachVerified(deps, { signed: record.signed, slaves: record.slaves }, call, 'again');
}

async function attachVerified(
  deps: NodeDependencies,
  input: AttachInput,
  call: Call,
  turn: 'first' | 'again',
): Promise<AttachResult> {
  const { slaves, signed } = input;
  const { target } = signed.request;
  checkAlive(deps, slaves);
  await Promise.all([checkTarget(deps, target), ...slaves.map((slave) => checkSlave(deps, slave, signed.request))]);
  const findings = await awaitFindings(deps, signed.request, slaves, call.signal);
  return deps.locks.run([lockOf(target)], () => attachToContainer(deps, input, findings, call, turn));
}

/** @throws InvalidSignature also for a signed request that is not one to mount */
function verifiedMount(deps: NodeDependencies, { signed }: AttachInput): MountRequest {
  const isThere = deps.store.records().some((record) => record.signed.signature === signed.signature);
  const request = verifiedRequest(signed, deps, isThere ? 'goOn' : 'begin');
  if (request.kind === 'mount') return request;
  throw fail('InvalidSignature', 'Cannot attach: the apiserver has signed another kind of request');
}
