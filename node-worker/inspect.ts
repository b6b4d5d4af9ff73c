#!/usr/local/bin/node
import { existsSync } from 'node:fs';
import { failureOf } from '../contract/failures.ts';
import { deviceKey } from './cgroup/rule.ts';
import { type InspectArguments, inspectArguments } from './inspect/arguments.ts';
import { disagreements, inspectionReport } from './inspect/report.ts';
import { createEngine } from './kernel/create-engine.ts';
import type { DeviceId, KernelEngine } from './kernel/engine.ts';
import { hostPathsOf } from './kubelet/host-paths.ts';
import { readRecords } from './state/mount-store.ts';

const HELP = `Prints what a container of this node may open, which part of that is ours, and why: the kernel's own answer next to
what this program reads out of the container's rules. It changes nothing of the container.

  device-mounter-node inspect <container id> [--state-dir <directory>] [--host-root <directory>]

  <container id>  that of the runtime, with or without a prefix such as containerd://
  --state-dir     state directory of the node worker (default /var/lib/device-mounter)
  --host-root     where the root of the host is seen (default /host where that has a /dev, else /)

Exit status: 0 both answers agree; 1 they do not; 2 one could not be had.
`;
const STATUS = { agreed: 0, disagreed: 1, failed: 2 } as const;

/** Devices of the host by `deviceKey`, with the path of a node of each: the container may be able to make one of its own. */
function devicesOfHost(engine: KernelEngine, given: string | undefined): ReadonlyMap<string, HostDeviceNode> {
  const root = given ?? (existsSync('/host/dev') ? '/host' : '');
  const found = new Map<string, HostDeviceNode>();
  for (const { hostPath } of hostPathsOf(root, '/dev')) {
    try {
      const { type, major, minor } = engine.hostDevice(`${root}${hostPath}`);
      found.set(deviceKey({ type, major, minor }), { type, major, minor, hostPath });
    } catch (err) {
      // Unplugged meanwhile.
      if (failureOf(err)?.type !== 'NotFound') throw err;
    }
  }
  return found;
}

interface HostDeviceNode extends DeviceId {
  readonly hostPath: string;
}

async function inspect({ containerId, stateDir, hostRoot }: InspectArguments): Promise<number> {
  const engine = createEngine();
  const { records, unreadable } = await readRecords(stateDir);
  for (const { path } of unreadable) process.stderr.write(`Cannot read the checkpoint "${path}"\n`);
  const container = await engine.openContainer({ containerId, lookOnly: true });
  try {
    const grants = records.flatMap(({ devices }) => devices.map(({ grant }) => grant));
    const host = devicesOfHost(engine, hostRoot);
    const inspection = engine.inspect(container, grants, [...host.values()]);
    const hostPaths = new Map([...host].map(([key, { hostPath }]) => [key, hostPath]));
    process.stdout.write(inspectionReport(inspection, records, hostPaths));
    if (inspection.unasked !== undefined) return STATUS.failed;
    return disagreements(inspection).length === 0 ? STATUS.agreed : STATUS.disagreed;
  } finally {
    container.close();
  }
}

try {
  const wanted = inspectArguments(process.argv.slice(2));
  if (wanted === 'help') process.stdout.write(HELP);
  else process.exitCode = await inspect(wanted);
} catch (err) {
  process.stderr.write(`${failureOf(err)?.message ?? (err instanceof Error ? err.message : String(err))}\n`);
  process.exitCode = STATUS.failed;
}
