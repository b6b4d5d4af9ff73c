import { deviceKey } from '../cgroup/rule.ts';
import type { DeviceNode } from '../kernel/engine.ts';

/** Device nodes for people: `/dev/fuse (c 10:229 rw), /dev/kvm (c 10:232 rw)`, or `none`. */
export function nodesText(nodes: readonly Pick<DeviceNode, 'type' | 'major' | 'minor' | 'path' | 'access'>[]): string {
  if (nodes.length === 0) return 'none';
  return nodes.map((node) => `${node.path} (${deviceKey(node)} ${node.access})`).join(', ');
}
