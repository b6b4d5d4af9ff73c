import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What the machine had before: in a file, so that a run that was killed does not change the machine for good. */
const SAVED = join(tmpdir(), 'device-mounter-kernel-test.sysctl.json');

/** Sets files below /proc/sys until `restoreSysctls`. */
export function setSysctls(values: Readonly<Record<string, string>>): void {
  restoreSysctls();
  const before = Object.keys(values).map((name) => [name, readFileSync(`/proc/sys/${name}`, 'utf8').trim()]);
  writeFileSync(SAVED, JSON.stringify(Object.fromEntries(before)));
  write(values);
}

/** Also what a killed run has left. */
export function restoreSysctls(): void {
  if (!existsSync(SAVED)) return;
  write(JSON.parse(readFileSync(SAVED, 'utf8')) as Record<string, string>);
  rmSync(SAVED);
}

function write(values: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(values)) writeFileSync(`/proc/sys/${name}`, value);
}
