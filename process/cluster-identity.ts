import { setTimeout as delay } from 'node:timers/promises';

/** Which cluster a process belongs to. */
export interface ClusterIdentity {
  /** What it is called in Temporal. */
  readonly name: string;
  /** Of its namespace `kube-system`, which lives exactly as long as the cluster. */
  readonly uid: string;
}

/** Pause between tries to reach kube-apiserver. */
const RETRY_MS = 1_000;

/** Answers the function that reads the identity, until that has succeeded once. `name` absent: the name is made of the UID. */
export function identityReader(
  name: string | undefined,
  readUid: () => Promise<string>,
): () => Promise<ClusterIdentity> {
  let known: ClusterIdentity | undefined;
  return async () => {
    if (known === undefined) {
      const uid = await readUid();
      known = { name: name ?? defaultName(uid), uid };
    }
    return known;
  };
}

/** The first part of the UID: short enough to be read, and random. */
function defaultName(uid: string): string {
  return uid.slice(0, 8).toLowerCase();
}

/** Resolves as soon as kube-apiserver has answered. `onError` hears of each try that failed. */
export async function awaitIdentity(
  read: () => Promise<ClusterIdentity>,
  onError: (err: unknown) => void,
): Promise<ClusterIdentity> {
  for (;;) {
    try {
      return await read();
    } catch (err) {
      onError(err);
      await delay(RETRY_MS);
    }
  }
}
