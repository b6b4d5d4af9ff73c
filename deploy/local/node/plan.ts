/** What the machine's cgroup v2 hierarchy is: the only one, or an empty one beside v1 (hybrid). */
export interface CgroupHost {
  readonly hybrid: boolean;
  /** Controllers that v2 can hand to containers, `cgroup.controllers` of its root. */
  readonly v2Controllers: readonly string[];
}

export interface NodePlan {
  readonly name: string;
  readonly cgroup: 1 | 2;
  /** Folder on the host that the node sees as `/sys/fs/cgroup`. */
  readonly cgroupRoot: string;
  /** Cgroup below it that all pods of the node share; kubelets of one hierarchy must not find each other's pods. */
  readonly podsCgroup: string;
  /** False where v2 has no memory or CPU controller: no QoS cgroups, and runc must leave limits out. */
  readonly hasLimits: boolean;
  readonly systemd: boolean;
  /** Address of the kubelet, put on `lo`. */
  readonly address: string;
  readonly podSubnet: string;
}

const HYBRID_V2_ROOT = '/sys/fs/cgroup/unified';

/**
 * Plans 2 nodes, or 3, or node-1 alone. On a hybrid host node-1 uses cgroup v1 and node-2 sees the v2 hierarchy only; on a v2 host both use v2. node-3
 * runs under a systemd of its own, as most real nodes do.
 */
export function planNodes(count: 1 | 2 | 3, host: CgroupHost): NodePlan[] {
  const v2Root = host.hybrid ? HYBRID_V2_ROOT : '/sys/fs/cgroup';
  const hasLimits = ['cpu', 'memory', 'pids'].every((controller) => host.v2Controllers.includes(controller));
  const v2 = { cgroup: 2, cgroupRoot: v2Root, hasLimits, systemd: false } as const;
  const v1 = { cgroup: 1, cgroupRoot: '/sys/fs/cgroup', hasLimits: true, systemd: false } as const;
  const kinds = [host.hybrid ? v1 : v2, v2, { ...v2, cgroupRoot: `${v2Root}/node-3`, hasLimits: false, systemd: true }];
  return kinds.slice(0, count).map((kind, index) => {
    const name = `node-${index + 1}`;
    return {
      ...kind,
      name,
      podsCgroup: kind === v2 && !host.hybrid ? `/${name}` : '/',
      address: `10.97.0.${11 + index}`,
      // 510 addresses: an address is free again only when its pod is gone.
      podSubnet: `10.244.${2 * index}.0/23`,
    };
  });
}
