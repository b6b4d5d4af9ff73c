import type { SlaveRef } from '../../contract/device-mount.ts';
import { fail } from '../../contract/failures.ts';
import type { MountRequest, Target } from '../../contract/requests.ts';
import type { PodView } from '../cluster/pod-view.ts';
import type { NodeDependencies } from './dependencies.ts';

type Deps = Pick<NodeDependencies, 'node' | 'pods'>;

/**
 * Proves that the target is the pod that was authorised, and on this node. Asks kube-apiserver itself.
 * @throws TargetGone, NotAllocated
 */
export async function checkTarget({ node, pods }: Deps, target: Target): Promise<void> {
  const pod = await pods.get(target.namespace, target.pod);
  if (pod === undefined || pod.uid !== target.podUid) {
    throw fail('TargetGone', `Cannot attach to pod "${target.pod}": it must be ${target.podUid}, is gone`);
  }
  if (pod.end !== undefined) throw fail('TargetGone', `Cannot attach to pod "${target.pod}": ${pod.end}`);
  if (pod.nodeName !== node) {
    throw fail('NotAllocated', `Cannot attach to pod "${target.pod}": it must run on ${node}, is on ${pod.nodeName}`);
  }
}

/**
 * What became of a slave; undefined while it is well. Asks kube-apiserver itself.
 * @throws Internal
 */
export async function endOfSlaveNow(
  { pods }: Pick<NodeDependencies, 'pods'>,
  { namespace, name, uid }: SlaveRef,
): Promise<string | undefined> {
  const pod = await pods.get(namespace, name);
  return pod?.uid === uid ? pod.end : 'it is gone';
}

/**
 * Proves that a slave was made for the mount and the target: labels could be anybody's, the ownerReference's uid is what
 * garbage collection acts on. Asks kube-apiserver itself. Before it is scheduled a slave has no node.
 * @throws SlaveEnded, NotAllocated
 */
export async function checkSlave({ node, pods }: Deps, slave: SlaveRef, request: MountRequest): Promise<PodView> {
  const { target } = request;
  const refused = (rule: string): Error => fail('NotAllocated', `Cannot attach what "${slave.name}" has: ${rule}`);
  if (slave.namespace !== target.namespace) throw refused('it must be in the namespace of the target');
  const pod = await pods.get(slave.namespace, slave.name);
  if (pod === undefined || pod.uid !== slave.uid) {
    throw fail('SlaveEnded', `Cannot attach what "${slave.name}" has: the slave pod is gone`);
  }
  if (!pod.ownerUids.includes(target.podUid)) throw refused('its owner must be the target, is not');
  if (pod.mount !== request.name) throw refused(`it must be made for mount "${request.name}", is not`);
  if (pod.end !== undefined) throw fail('SlaveEnded', `Cannot attach what "${slave.name}" has: ${pod.end}`);
  if (pod.nodeName !== undefined && pod.nodeName !== node) {
    throw refused(`it must be on ${node}, is on ${pod.nodeName}`);
  }
  return pod;
}
