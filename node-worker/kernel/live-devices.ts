import type { OpenContainer } from './container.ts';
import type { DeviceNode } from './engine.ts';
import { accessTo } from './policy.ts';

/** Nodes every container has: OCI runtime spec, "Default Devices". */
const DEFAULT_NODES = new Set(['null', 'zero', 'full', 'random', 'urandom', 'tty', 'console', 'ptmx']);

/** See `KernelEngine.devicesOf`. */
export async function devicesOf(container: OpenContainer): Promise<readonly DeviceNode[]> {
  const all = await container.files.nodesBelowDev(container);
  const found = all.filter(({ path }) => !DEFAULT_NODES.has(path.slice('/dev/'.length)));
  const access = accessTo(container, found);
  return found.map((node, index) => ({ ...node, access: access[index] ?? '' })).filter((node) => node.access !== '');
}
