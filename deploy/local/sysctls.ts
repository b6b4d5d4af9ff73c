import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Settings of the kernel below /proc/sys, name → value. */
export type Sysctls = Readonly<Record<string, string>>;

const FORWARDING = 'net/ipv4/ip_forward';

/** What the cluster changes of the whole machine: forwarding for pods, the others by kubelet (pkg/kubelet/cm `setupKernelTunables`). */
const CHANGED = [
  FORWARDING,
  'vm/overcommit_memory',
  'vm/panic_on_oom',
  'kernel/panic',
  'kernel/panic_on_oops',
  'kernel/keys/root_maxkeys',
  'kernel/keys/root_maxbytes',
];

const fileOf = (name: string): string => join('/proc/sys', name);

/** Those that this kernel has. */
export function readSysctls(): Sysctls {
  const names = CHANGED.filter((name) => existsSync(fileOf(name)));
  return Object.fromEntries(names.map((name) => [name, readFileSync(fileOf(name), 'utf8').trim()]));
}

/** Sets what differs. */
export function writeSysctls(values: Sysctls): void {
  const now = readSysctls();
  for (const [name, value] of Object.entries(values)) if (now[name] !== value) writeFileSync(fileOf(name), value);
}

export function allowForwarding(): void {
  writeSysctls({ [FORWARDING]: '1' });
}
