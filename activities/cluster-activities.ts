import { fail } from '../contract/failures.ts';
import type { Target } from '../contract/requests.ts';
import { type Adoption, checkAdoption } from './adopt-mount.ts';
import { ClusterError, type MountRef } from './cluster.ts';
import { type DeleteSlaveInput, deleteSlave } from './delete-slave.ts';
import type { Dependencies } from './dependencies.ts';
import { type FindMountsInput, type FoundMount, findMounts } from './find-mounts.ts';
import type { Projection } from './first-objects.ts';
import { type NodeState, nodeState } from './node-state.ts';
import { type ProjectMountInput, projectMount } from './project-mount.ts';
import { type FailedUnmount, type PublishInput, publish, publishFailedUnmount } from './publish.ts';
import { type Reservation, type ReserveInput, reserveDevices } from './reserve-devices.ts';
import { confirmMounts, settleMount, showMount } from './settle-mount.ts';
import { type Shortage, type ShortageInput, shortage } from './shortage.ts';
import { type SurveyInput, type SurveyPage, surveyMounts } from './survey-mounts.ts';
import { type TargetState, targetState } from './target.ts';

/** The steps of workflows that touch the cluster. Each can be repeated. Failures are those of `FAILURES`. */
export interface ClusterActivities {
  reserveDevices(input: ReserveInput): Promise<Reservation>;
  deleteSlave(input: DeleteSlaveInput): Promise<void>;
  findMounts(input: FindMountsInput): Promise<readonly FoundMount[]>;
  nodeState(input: { readonly node: string }): Promise<NodeState>;
  shortage(input: ShortageInput): Promise<Shortage>;
  targetState(input: { readonly target: Target }): Promise<TargetState>;
  surveyMounts(input?: SurveyInput): Promise<SurveyPage>;
  /** Starts an owner for a mount; one that has started in the meantime stays. */
  adoptMount(input: Adoption): Promise<void>;
  checkAdoption(input: Adoption): Promise<void>;
  /** Signals the owner of a mount, if it still has one. */
  tellOwner(input: {
    readonly namespace: string;
    readonly mount: string;
    readonly signal: string;
    readonly args?: readonly string[];
  }): Promise<void>;
  projectMount(input: ProjectMountInput): Promise<Projection>;
  confirmMounts(input: { readonly mounts: readonly MountRef[] }): Promise<void>;
  settleMount(input: { readonly namespace: string; readonly name: string }): Promise<void>;
  /** Answers whether the object of an open mount shows it in the end. */
  showMount(input: MountRef): Promise<boolean>;
  publish(input: PublishInput): Promise<void>;
  publishFailedUnmount(input: FailedUnmount): Promise<void>;
}

export function createClusterActivities(deps: Dependencies): ClusterActivities {
  return told({
    reserveDevices: (input) => reserveDevices(deps, input),
    deleteSlave: (input) => deleteSlave(deps, input),
    findMounts: (input) => findMounts(deps, input),
    nodeState: ({ node }) => nodeState(deps, node),
    shortage: (input) => shortage(deps, input),
    targetState: ({ target }) => targetState(deps.cluster, target),
    surveyMounts: (input) => surveyMounts(deps, input),
    adoptMount: async ({ signed, mount }) => void (await deps.owners.adopt(signed, mount)),
    checkAdoption: (input) => checkAdoption(deps, input),
    tellOwner: async ({ namespace, mount, signal, args = [] }) =>
      void (await deps.owners.signal(namespace, mount, signal, ...args)),
    projectMount: (input) => projectMount(deps, input),
    confirmMounts: ({ mounts }) => confirmMounts(deps, mounts),
    settleMount: (input) => settleMount(deps, input),
    showMount: (input) => showMount(deps, input),
    publish: (input) => publish(deps, input),
    publishFailedUnmount: (input) => publishFailedUnmount(deps, input),
  });
}

/** What no step has made sense of is told as a failure of the table. */
function told(steps: ClusterActivities): ClusterActivities {
  const all = Object.entries(steps).map(([name, step]: [string, (input: never) => Promise<unknown>]) => [
    name,
    (input: never) => step(input).catch((err: unknown) => Promise.reject(failureFor(err))),
  ]);
  return Object.fromEntries(all) as ClusterActivities;
}

function failureFor(err: unknown): unknown {
  if (!(err instanceof ClusterError)) return err;
  return fail('KubernetesUnavailable', `Cannot ask kube-apiserver: ${err.message}`, err);
}
