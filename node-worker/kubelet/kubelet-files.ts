import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fail } from '../../contract/failures.ts';
import { codeOf } from '../error-code.ts';
import { type Allocation, parseCheckpoint } from './checkpoint.ts';
import { type PreparedClaim, parsePreparedClaims } from './prepared-claims.ts';

/** What the kubelet says about pods of this node, by UID: names may be used again. */
export interface Kubelet {
  /**
   * Allocations of all pods, those of dead and rejected ones too. The same array as long as the kubelet has written nothing.
   * @throws KubeletUnavailable
   */
  allocations(): Promise<readonly Allocation[]>;
  /**
   * Claims of dynamic resource allocation. The same array as long as the kubelet has written nothing.
   * @throws KubeletUnavailable, also where an earlier kubelet writes them in another way
   */
  claims(): Promise<readonly PreparedClaim[]>;
  /**
   * True when the kubelet has admitted the pod. It allocates before its other admission checks, so that an allocation alone
   * may be that of a pod it rejects.
   */
  accepted(podUid: string): Promise<boolean>;
}

export interface KubeletDirs {
  readonly kubeletDir: string;
  readonly devicePluginDir: string;
}

/** The kubelet whose files are seen in `dirs`. */
export function kubeletOf({ kubeletDir, devicePluginDir }: KubeletDirs): Kubelet {
  return {
    allocations: checkpointReader(
      join(devicePluginDir, 'kubelet_internal_checkpoint'),
      parseCheckpoint,
      'Cannot read what the kubelet has allocated: its checkpoint is unreadable',
    ),
    claims: checkpointReader(
      join(kubeletDir, 'dra_manager_state'),
      parsePreparedClaims,
      'Cannot read which claims the kubelet has prepared: its dra_manager_state is unreadable',
    ),
    async accepted(podUid: string): Promise<boolean> {
      if (!/^[0-9a-z-]{1,64}$/.test(podUid)) return false;
      try {
        return (await stat(join(kubeletDir, 'pods', podUid))).isDirectory();
      } catch (err) {
        if (codeOf(err) === 'ENOENT') return false;
        throw fail('KubeletUnavailable', 'Cannot read which pods the kubelet has accepted', err);
      }
    },
  };
}

/** The kubelet replaces its checkpoints by a rename, so that each version is another file. */
async function versionOf(path: string): Promise<string> {
  const { ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
  return [ino, size, mtimeNs, ctimeNs].join(' ');
}

/** @throws KubeletUnavailable with `problem` */
function checkpointReader<Entry>(
  path: string,
  parse: (text: string) => readonly Entry[],
  problem: string,
): () => Promise<readonly Entry[]> {
  const none: readonly Entry[] = [];
  let known: { readonly version: string; readonly entries: readonly Entry[] } | undefined;
  const read = async (): Promise<readonly Entry[]> => {
    try {
      const version = await versionOf(path);
      if (known?.version === version) return known.entries;
      const entries = parse(await readFile(path, 'utf8'));
      // What was written in between is read again the next time.
      known = { version, entries };
      return entries;
    } catch (err) {
      // A kubelet that has never allocated such a device has not written one.
      if (codeOf(err) === 'ENOENT') return none;
      throw fail('KubeletUnavailable', problem, err);
    }
  };
  let beginning: Promise<readonly Entry[]> | undefined;
  // A change wakes all who wait, at once: they share one look, which begins after each of them has asked for it.
  return () => {
    beginning ??= Promise.resolve().then(() => {
      beginning = undefined;
      return read();
    });
    return beginning;
  };
}
