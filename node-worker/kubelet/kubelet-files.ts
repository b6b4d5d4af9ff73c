import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fail } from '../../contract/failures.ts';
import { codeOf } from '../error-code.ts';
import { type Allocation, parseCheckpoint } from './checkpoint.ts';

/** What the kubelet says about pods of this node, by UID: names may be used again. */
export interface Kubelet {
  /**
   * Allocations of all pods, those of dead and rejected ones too. The same array as long as the kubelet has written nothing.
   * @throws KubeletUnavailable
   */
  allocations(): Promise<readonly Allocation[]>;
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

const NONE: readonly Allocation[] = [];

/** The kubelet replaces its checkpoint by a rename, so that each version is another file. */
async function versionOf(path: string): Promise<string> {
  const { ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
  return [ino, size, mtimeNs, ctimeNs].join(' ');
}

/** The kubelet whose files are seen in `dirs`. */
export function kubeletOf({ kubeletDir, devicePluginDir }: KubeletDirs): Kubelet {
  const checkpoint = join(devicePluginDir, 'kubelet_internal_checkpoint');
  let known: { readonly version: string; readonly allocations: readonly Allocation[] } | undefined;
  return {
    async allocations(): Promise<readonly Allocation[]> {
      try {
        const version = await versionOf(checkpoint);
        if (known?.version === version) return known.allocations;
        const allocations = parseCheckpoint(await readFile(checkpoint, 'utf8'));
        // What was written in between is read again the next time.
        known = { version, allocations };
        return allocations;
      } catch (err) {
        // A kubelet that has never allocated a device has not written one.
        if (codeOf(err) === 'ENOENT') return NONE;
        throw fail(
          'KubeletUnavailable',
          'Cannot read what the kubelet has allocated: its checkpoint is unreadable',
          err,
        );
      }
    },
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
