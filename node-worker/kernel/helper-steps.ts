import { placeFiles, takeFiles } from './container-files.ts';
import { hasNode, ifThere, type NodePlan, placeNode, planNode, takeNode } from './container-nodes.ts';
import { type ContainerPlace, withRoot } from './container-root.ts';
import { nodesBelowDev } from './dev-nodes.ts';
import type { DeviceId, DeviceNode, FilesPlan, GrantedDevice, GrantedFile, HostFile } from './engine.ts';
import { hasFile } from './file-at.ts';
import { initOf } from './init-of.ts';
import { lookForUsers, type UserLook, type UsersSeen } from './look-for-users.ts';
import { withPath } from './open-in-root.ts';
import { withOwnTree } from './own-tree.ts';
import { planFiles } from './plan-files.ts';
import { Refusal } from './refusal.ts';
import { hasLimits, setLimits } from './region-file.ts';

/** A node as far as it must be there. */
export type NodeId = DeviceId & Pick<DeviceNode, 'path'>;

/** What was done with the nodes of a grant. */
export interface NodesPlaced {
  /** Paths of those that were made. */
  readonly made: readonly string[];
  /** Path of one that the container does not see all the same. */
  readonly missing: string | null;
}

/**
 * What a helper process does: everything that reads or changes what a tenant can make slow or endless. Arguments and results
 * are JSON.
 */
export const STEPS = {
  planNodes: (place: ContainerPlace, devices: readonly DeviceNode[]): readonly NodePlan[] =>
    withRoot(place, (root) => devices.map((device) => planNode(root, device))),

  placeNodes: (place: ContainerPlace, devices: readonly DeviceNode[]): NodesPlaced =>
    withRoot(place, (root) => ({
      made: devices.filter((device) => placeNode(root, device)).map(({ path }) => path),
      missing: devices.find((device) => !hasNode(root, device))?.path ?? null,
    })),

  /** Paths of the nodes that were removed. */
  takeNodes: (place: ContainerPlace, devices: readonly GrantedDevice[]): readonly string[] =>
    withRoot(place, (root) => devices.filter((device) => takeNode(root, device)).map(({ path }) => path)),

  hasNodes: (place: ContainerPlace, devices: readonly NodeId[], files: readonly GrantedFile[] = []): boolean =>
    withRoot(
      place,
      (root) =>
        devices.every((device) => hasNode(root, device)) &&
        withOwnTree(root, (tree) => files.every((file) => hasFile(tree, file))),
    ),

  planFiles: (place: ContainerPlace, files: readonly HostFile[]): FilesPlan =>
    withRoot(place, (root) => planFiles(root, files)),

  /** Paths of the files that were not there. */
  placeFiles: (place: ContainerPlace, files: readonly GrantedFile[]): readonly string[] =>
    withRoot(place, (root) => placeFiles(root, files)),

  /** Paths of the files that were there. */
  takeFiles: (place: ContainerPlace, files: readonly GrantedFile[]): readonly string[] =>
    withRoot(place, (root) => takeFiles(root, files)),

  nodesBelowDev: (place: ContainerPlace): readonly DeviceNode[] => withRoot(place, nodesBelowDev),

  hasAnyFile: (place: ContainerPlace, paths: readonly string[]): boolean =>
    withRoot(place, ({ rootFd, guard }) =>
      paths.some((path) => ifThere(false, () => withPath(rootFd, path, 0, () => true, guard))),
    ),

  setLimits,

  hasLimits,

  initOf: (pids: readonly number[]): number | null => initOf(pids) ?? null,

  lookForUsers: (look: UserLook): UsersSeen => lookForUsers(look),
} as const;

export type Steps = typeof STEPS;

/** What a helper answers. */
export type Answer =
  | { readonly result: unknown }
  | { readonly refused: Pick<Refusal, 'type' | 'message'> }
  | { readonly failed: { readonly message: string; readonly code?: string } };

/** The name of a step and its arguments. */
export type Question = readonly [keyof Steps, ...(readonly unknown[])];

/** Answers a line of JSON: questions, each apart from the next. */
export function answersTo(line: string): readonly Answer[] {
  return (JSON.parse(line) as readonly Question[]).map(answerTo);
}

function answerTo([step, ...args]: Question): Answer {
  try {
    return { result: (STEPS[step] as (...args: readonly unknown[]) => unknown)(...args) };
  } catch (err) {
    if (err instanceof Refusal) return { refused: { type: err.type, message: err.message } };
    return { failed: errorOf(err) };
  }
}

/** Not by `instanceof`: errors of node:fs can come from another realm. */
function errorOf(err: unknown): { readonly message: string; readonly code?: string } {
  if (typeof err !== 'object' || err === null) return { message: String(err) };
  const message = 'message' in err ? String(err.message) : 'unknown';
  return 'code' in err ? { message, code: String(err.code) } : { message };
}
