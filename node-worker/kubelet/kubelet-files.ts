import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fail } from '../../contract/failures.ts';
import { codeOf } from '../error-code.ts';
import { type Allocation, parseCheckpoint } from './checkpoint.ts';

/** What the kubelet says about pods of this node, by UID: names may be used again. */
export interface Kubelet {
  /** Allocations of all pods, those of dead and rejected ones too. @throws KubeletUnavailable */
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

/** The kubelet whose files are seen in `dirs`. */
export function kubeletOf({ kubeletDir, devicePluginDir }: KubeletDirs): Kubelet {
  const checkpoint = join(devicePluginDir, 'kubelet_internal_checkpoint');
  return {
    async allocations(): Promise<readonly Allocation[]> {
      try {
        return parseCheckpoint(await readFile(checkpoint, 'utf8'));
      } catch (err) {
        // A kubelet that has never allocated a device has not written one.
        if (codeOf(err) === 'ENOENT') return [];
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
