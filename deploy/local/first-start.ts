import { CONTROL_ADDRESS, POD_RANGE } from './addresses.ts';
import { missingPackages, type Purpose } from './prerequisites.ts';
import type { Progress } from './progress.ts';
import { cacheFolder, statePaths } from './state.ts';
import { namesOf, type PlacedTool } from './tools/table.ts';
import { planTools, type ToolPlan } from './tools.ts';

/** Says what a first start will do, how long it takes and what it changes here. Nothing is said when all tools are there. */
export function announceFirstStart(progress: Progress, env: NodeJS.ProcessEnv, purpose?: Purpose): void {
  const plan = planTools(env);
  if (plan.toBuild.length + plan.toFetch.length === 0) return;
  const packages = missingPackages(purpose).map(({ name }) => name);
  progress.say(noticeOf(plan, packages, [cacheFolder(env), statePaths(env).root]));
}

const minutesOf = (tools: readonly PlacedTool[]): number =>
  Math.ceil(tools.reduce((sum, { tool }) => sum + tool.usualMinutes, 0));

/** The text for a plan. `packages` are Debian's, `folders` are what stays on the machine. */
export function noticeOf(
  { toFetch, toBuild }: ToolPlan,
  packages: readonly string[],
  folders: readonly string[],
): string {
  const lines = ['The servers of the cluster are not all on this machine yet. This start'];
  if (packages.length > 0) lines.push(`- installs with apt-get: ${packages.join(', ')};`);
  if (toFetch.length > 0)
    lines.push(
      `- downloads ${namesOf(toFetch)} (0.6 GB for all of them). What cannot be downloaded`,
      `  is built from source: about ${minutesOf(toFetch)} minutes for all of them on 2 cores;`,
    );
  if (toBuild.length > 0)
    lines.push(`- builds ${namesOf(toBuild)} from source: about ${minutesOf(toBuild)} min on 2 cores;`);
  lines.push(
    `- keeps all of it for later starts, in ${folders.join(' and ')}.`,
    `While the cluster runs, this machine has addresses ${CONTROL_ADDRESS.replace(/\d+$/, 'x')} on lo, routes to ${POD_RANGE}, nft tables, cgroups,`,
    'mounts and a network namespace for it. "npm stop" takes them back. Kernel settings that Kubernetes makes stay until the next',
    'boot: vm.overcommit_memory, kernel.panic, net.ipv4.ip_forward and a few more.\n',
  );
  return lines.join('\n');
}
