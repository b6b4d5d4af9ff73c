import { join } from 'node:path';
import { PORTS } from '../addresses.ts';
import type { StatePaths } from '../state.ts';
import type { ToolFolders } from '../tools.ts';
import { CONTAINERD_SOCKET, type NodePaths } from './paths.ts';
import type { NodePlan } from './plan.ts';

/** A JSON string is a TOML string too. */
const text = (value: string): string => JSON.stringify(value);

/** containerd 2, configuration version 3. */
export function containerdConfig(plan: NodePlan, paths: NodePaths, tools: ToolFolders): string {
  const runc = plan.hasLimits ? join(tools.runc, 'runc') : join(tools['runc-without-limits'], 'runc-without-limits');
  return `version = 3
root = ${text(paths.containerdRoot)}
state = "/run/containerd"
# Not used here, and their default folders and sockets would be shared by the nodes.
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt"]
[grpc]
  address = ${text(CONTAINERD_SOCKET)}
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "localhost/pause:1"
[plugins."io.containerd.cri.v1.runtime"]
  # Without CAP_SYS_RESOURCE runc could not lower a score: "can't get final child's PID from pipe".
  restrict_oom_score_adj = true
  # Network namespaces end with the node's mount namespace instead of staying in /run/netns.
  netns_mounts_under_state_dir = true
  # By default every container is asked for its use of the processor each second: half of the machine, with 300 pods. The kubelet, which looks
  # itself, does not want to know (feature gate PodAndContainerStatsFromCRI, containerd's pull request 12629).
  stats_collect_period = "24h"
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = [${text(tools.cni)}]
    conf_dir = ${text(paths.cniConfig)}
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      SystemdCgroup = ${plan.systemd}
      BinaryName = ${text(runc)}
`;
}

/** KubeletConfiguration. Nothing is evicted or collected: the machine is not a node, and tests count what is there. */
export function kubeletConfig(plan: NodePlan, state: StatePaths): unknown {
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: join(state.pki, 'ca.crt') },
    },
    authorization: { mode: 'Webhook' },
    address: plan.address,
    port: PORTS.kubelet,
    readOnlyPort: 0,
    healthzPort: 0,
    cgroupDriver: plan.systemd ? 'systemd' : 'cgroupfs',
    cgroupRoot: plan.podsCgroup,
    cgroupsPerQOS: plan.hasLimits,
    enforceNodeAllocatable: plan.hasLimits ? ['pods'] : [],
    failCgroupV1: false,
    failSwapOn: false,
    containerRuntimeEndpoint: `unix://${CONTAINERD_SOCKET}`,
    makeIPTablesUtilChains: false,
    imageGCHighThresholdPercent: 100,
    evictionHard: { 'nodefs.available': '0%', 'imagefs.available': '0%', 'memory.available': '50Mi' },
    localStorageCapacityIsolation: false,
    resolvConf: '',
    clusterDNS: ['10.96.0.10'],
    clusterDomain: 'cluster.local',
    oomScoreAdj: 0,
    // Ten for each of some hundred pods, when a restarted kubelet sets them all up at once.
    maxOpenFiles: 16_384,
    // Each mount has a pod of its own: as many as the device plugin offers of its shared device, and their targets.
    maxPods: 450,
    nodeStatusUpdateFrequency: '2s',
    // Tests kill the same containers again and again, which by default have to wait longer each time, up to five minutes.
    crashLoopBackOff: { maxContainerRestartPeriod: '2s' },
    syncFrequency: '10s',
    volumePluginDir: '/var/lib/kubelet/volume-plugins',
  };
}

/** Pods of all nodes reach each other through the host's routes; nothing is hidden behind an address of the host. */
export function cniConfig(plan: NodePlan, paths: NodePaths): unknown {
  const ipam = {
    type: 'host-local',
    dataDir: join(paths.root, 'cni-addresses'),
    ranges: [[{ subnet: plan.podSubnet }]],
    routes: [{ dst: '0.0.0.0/0' }],
  };
  return { cniVersion: '1.0.0', name: 'pods', plugins: [{ type: 'ptp', ipMasq: false, mtu: 1500, ipam }] };
}

/** Flags that have no place in KubeletConfiguration. */
export function kubeletFlags(plan: NodePlan, paths: NodePaths): string[] {
  return [
    `--config=${paths.kubeletConfig}`,
    `--kubeconfig=${paths.kubeconfig}`,
    `--hostname-override=${plan.name}`,
    `--node-ip=${plan.address}`,
    `--cert-dir=${paths.kubeletCertificates}`,
    '--node-labels=device-mounter-enable=enable',
  ];
}
