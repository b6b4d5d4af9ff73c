/** What is killed: every process of that kind in the cluster. */
export const PARTS = ['apiserver', 'control worker', 'node worker', 'Temporal', 'kubelet', 'containerd'] as const;
export type Part = (typeof PARTS)[number];
