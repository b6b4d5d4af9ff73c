import type { V1Container } from '@kubernetes/client-node';

/** What whoever installs device-mounter decides about slave pods. */
export interface SlaveSettings {
  readonly image: string;
  /** Secrets for it, of the namespaces of users; one that a namespace does not have is not used. */
  readonly pullSecrets: readonly string[];
  /** How long a slave that somebody ends holds its devices, so that the node worker can take them back from the target. */
  readonly graceSeconds: number;
  /** Its own use, besides the devices, by resource. */
  readonly requests: Readonly<Record<string, string>>;
  readonly limits: Readonly<Record<string, string>>;
  /** How it holds them. Kubernetes has `preStop.sleep` from 1.30 on (KEP-3960). */
  readonly holdsBy: 'preStop' | 'ignoringSigterm';
}

/** Minor version of the first Kubernetes 1.x with `preStop.sleep` switched on. */
const PRE_STOP_SLEEP_SINCE = 30;

export const holdsBy = (kubernetesMinor: number): SlaveSettings['holdsBy'] =>
  kubernetesMinor < PRE_STOP_SLEEP_SINCE ? 'ignoringSigterm' : 'preStop';

/** Seconds of a slave's grace that `preStop` leaves to its container, which only sleeps. */
const STOP_SECONDS = 5;

/** That part of a slave's container by which it outlives a SIGTERM for its grace. */
export function holdingContainer({ holdsBy, graceSeconds }: SlaveSettings): Partial<V1Container> {
  // A signal that is ignored stays so when another program takes the shell's place. The kubelet kills it when its grace is over.
  if (holdsBy === 'ignoringSigterm') return { command: ['/bin/sh', '-c', "trap '' TERM; exec sleep infinity"] };
  return { lifecycle: { preStop: { sleep: { seconds: graceSeconds - STOP_SECONDS } } } };
}
