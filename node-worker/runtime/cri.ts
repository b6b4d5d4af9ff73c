import { type Client, status } from '@grpc/grpc-js';
import { fail } from '../../contract/failures.ts';
import { callOnce, loadService } from '../../proto/services.ts';
import type { RuntimeRule } from '../cgroup/runtime-rule.ts';
import { codeOf } from '../error-code.ts';
import { parseContainerInfo } from './container-info.ts';

/** A container as its runtime knows it. */
export interface RuntimeContainer {
  /** 64 hexadecimal digits. */
  readonly id: string;
  /** Its init in the host's pid namespace. */
  readonly pid: number;
  /** Handler of its RuntimeClass, for example `kata`; empty for the default one. */
  readonly runtimeHandler: string;
  /** The shim as containerd names it, for example `io.containerd.runc.v2`; not known of other runtimes. */
  readonly runtimeType: string | undefined;
  /** Device rules of its OCI spec; undefined when the runtime does not tell them. */
  readonly spec?: readonly RuntimeRule[] | undefined;
}

/** The containers of this node. */
export interface Containers {
  /** The running container of that name in that pod, the newest if there are several; undefined when none runs. */
  running(podUid: string, name: string): Promise<RuntimeContainer | undefined>;
  /** All running containers of that pod. */
  allRunning(podUid: string): Promise<readonly RuntimeContainer[]>;
  /** Every running container of the node that the kubelet has started. */
  everyRunning(): Promise<readonly PlacedContainer[]>;
}

/** A container with its place in the cluster. */
export interface PlacedContainer extends RuntimeContainer {
  readonly podUid: string;
  /** In its pod's specification. */
  readonly name: string;
}

interface Listed {
  readonly id: string;
  readonly podSandboxId: string;
  /** Nanoseconds since 1970. */
  readonly createdAt: string;
  readonly labels: Readonly<Record<string, string>>;
}

const LABEL = { podUid: 'io.kubernetes.pod.uid', name: 'io.kubernetes.container.name' } as const;

const RUNTIME = loadService('RuntimeService');
const CALL_MS = 5_000;

/**
 * The containers of the runtime that `client` is connected to. Labels are the kubelet's (pkg/kubelet/types/labels.go). A call ends after
 * `callMs`.
 */
export function criContainers(client: Client, callMs = CALL_MS): Containers {
  const call = <T>(method: string, request: object): Promise<T> =>
    callOnce<T>(client, RUNTIME, method, request, { timeoutMs: callMs });
  const list = async (labelSelector: Readonly<Record<string, string>>): Promise<readonly Listed[]> => {
    const filter = { state: { state: 'CONTAINER_RUNNING' }, labelSelector };
    return (await call<{ containers: readonly Listed[] }>('ListContainers', { filter })).containers;
  };
  return {
    async running(podUid: string, name: string): Promise<RuntimeContainer | undefined> {
      try {
        const containers = await list({ [LABEL.podUid]: podUid, [LABEL.name]: name });
        const newest = containers.toSorted((a, b) => Number(BigInt(b.createdAt) - BigInt(a.createdAt)))[0];
        return newest && (await detailsOf(newest, call));
      } catch (err) {
        // It ended between two calls.
        if (codeOf(err) === status.NOT_FOUND) return undefined;
        throw fail('KubeletUnavailable', `Cannot find container "${name}": the container runtime does not answer`, err);
      }
    },
    async allRunning(podUid: string): Promise<readonly RuntimeContainer[]> {
      try {
        const containers = await list({ [LABEL.podUid]: podUid });
        const details = await Promise.all(containers.map((container) => detailsOf(container, call)));
        return details.filter((container) => container !== undefined);
      } catch (err) {
        if (codeOf(err) === status.NOT_FOUND) return [];
        throw fail('KubeletUnavailable', 'Cannot find the containers of a pod: the runtime does not answer', err);
      }
    },
    async everyRunning(): Promise<readonly PlacedContainer[]> {
      try {
        const placed: PlacedContainer[] = [];
        // One after the other: there may be hundreds, and nobody waits for this.
        for (const listed of await list({})) placed.push(...(await placedOf(listed, call)));
        return placed;
      } catch (err) {
        throw fail('KubeletUnavailable', 'Cannot find the containers of this node: the runtime does not answer', err);
      }
    },
  };
}

async function placedOf(
  listed: Listed,
  call: <T>(method: string, request: object) => Promise<T>,
): Promise<readonly PlacedContainer[]> {
  const { [LABEL.podUid]: podUid, [LABEL.name]: name } = listed.labels;
  if (podUid === undefined || name === undefined) return [];
  try {
    const container = await detailsOf(listed, call);
    return container === undefined ? [] : [{ ...container, podUid, name }];
  } catch (err) {
    if (codeOf(err) === status.NOT_FOUND) return [];
    throw err;
  }
}

async function detailsOf(
  { id, podSandboxId }: Listed,
  call: <T>(method: string, request: object) => Promise<T>,
): Promise<RuntimeContainer | undefined> {
  const [container, sandbox] = await Promise.all([
    call<{ status: { state: string }; info: Record<string, string> }>('ContainerStatus', {
      containerId: id,
      verbose: true,
    }),
    call<{ status: { runtimeHandler: string } }>('PodSandboxStatus', { podSandboxId }),
  ]);
  if (container.status.state !== 'CONTAINER_RUNNING') return undefined;
  const { runtimeHandler } = sandbox.status;
  return { id, runtimeHandler, ...parseContainerInfo(container.info['info'] ?? '{}') };
}
