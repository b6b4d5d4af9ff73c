/** A device that every Linux has and no container gets by itself, to be shared by as many containers as a node has pods. */
const SHARED = { path: '/dev/kmsg', count: 400 } as const;

/** What the local cluster's device plugin offers, for its `--devs`. The kernel's log only to write: to read it is a right of its own. */
export const LOCAL_DEVS = `/dev/fuse:rwm,/dev/net/tun:rw,${SHARED.path}:w:${SHARED.count}`;

/** What a node of the local cluster can give in the end, by resource. */
export const LOCAL_RESOURCES = { 'hostdev.k8s.io/dev_fuse': 1, 'hostdev.k8s.io/dev_kmsg': SHARED.count } as const;
