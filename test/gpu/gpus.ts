import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** UUIDs of the GPUs that NVIDIA's driver has here, in the order of their bus ids. One that nobody has used yet has none. */
export function gpusHere(root = '/'): readonly string[] {
  const gpus = join(root, 'proc/driver/nvidia/gpus');
  return namesIn(gpus).flatMap((busId) => {
    const information = readFileSync(join(gpus, busId, 'information'), 'utf8');
    return /^GPU UUID:\s*(GPU-[0-9a-f-]+)$/m.exec(information)?.[1] ?? [];
  });
}

/** Why the tests that need a GPU cannot run here, in one sentence; undefined where they can. */
export function lacking(root = '/', isRoot = process.getuid?.() === 0): string | undefined {
  if (namesIn(join(root, 'proc/driver/nvidia/gpus')).length === 0)
    return 'Cannot test with a GPU: NVIDIA’s driver has none on this machine.';
  if (gpusHere(root).length === 0)
    return 'Cannot test with a GPU: the driver does not know its UUID before its first use; run "nvidia-smi" once.';
  return isRoot ? undefined : 'Cannot test with a GPU: containers are started and changed by root only.';
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory).toSorted();
  } catch {
    return [];
  }
}
