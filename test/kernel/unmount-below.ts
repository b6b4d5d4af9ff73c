import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** Unmounts all below a folder, the deepest first. Lazily: a process that a killed run has left may still be there. */
export function unmountBelow(folder: string): void {
  const points = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  const below = points.map((line) => line.split(' ')[4] ?? '').filter((point) => point.startsWith(`${folder}/`));
  for (const point of below.toSorted().toReversed()) spawnSync('umount', ['--lazy', point]);
}
