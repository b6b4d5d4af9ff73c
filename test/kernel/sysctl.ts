import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What the machine had before: in a file, so that a run that was killed does not change the machine for good. */
const SAVED = join(tmpdir(), 'device-mounter-kernel-test.sysctl.json');

/** Sets names below /proc/sys (`kernel/kptr_restrict`) until `restoreSysctls`. */
export function setSysctls(values: Readonly<Record<string, string>>): void {
  restoreSysctls();
  const before = Object.keys(values).map((name) => [name, onMachine('cat', name).trim()]);
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
  for (const [name, value] of Object.entries(values)) onMachine('tee', name, value);
}

/** Some of `net` are only in the machine's own network namespace, to which `npm run test:host-v2` names a way. */
function onMachine(command: string, name: string, input = ''): string {
  const network = process.env['DEVICE_MOUNTER_MACHINE_NETWORK'] ?? '/proc/self/ns/net';
  return execFileSync('nsenter', [`--net=${network}`, command, `/proc/sys/${name}`], { input, encoding: 'utf8' });
}
