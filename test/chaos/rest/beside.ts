import type { DeviceState } from '../../e2e/device-state.ts';

/** What decides over a container's devices beside what a twin without a mount has: `+ node …` more, `- rule …` less. */
export function besideTwin(state: DeviceState, twin: DeviceState): string[] {
  const [own, its] = [linesOf(state), linesOf(twin)];
  return [
    ...own.filter((line) => !its.includes(line)).map((line) => `+ ${line}`),
    ...its.filter((line) => !own.includes(line)).map((line) => `- ${line}`),
  ];
}

function linesOf({ rules, nodes, mounts }: DeviceState): string[] {
  return [
    ...Object.entries(rules).flatMap(([cgroup, list]) => list.map((rule) => `rule ${cgroup} ${rule}`)),
    ...nodes.map(
      (node) => `node ${node.replace(/ (\d+):(\d+) /, (_owner, uid, gid) => ` ${inside(uid)}:${inside(gid)} `)}`,
    ),
    ...mounts.map((mount) => `mount ${mount}`),
  ];
}

/** User namespaces of pods have 65,536 ids each, beginning with a multiple of that (KEP-127): the id as seen inside. */
const inside = (id: string): number => Number(id) % 65_536;
