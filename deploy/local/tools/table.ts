/** A file of a release. `{arch}` in its address stands for `amd64` or `arm64`. */
export interface ReleaseFile {
  /** Where its makers publish it, without `https://`: the name that SHA256SUMS has for it. */
  readonly address: string;
  /** Binaries in it, by their path, when it is a gzipped tar. */
  readonly members?: readonly string[];
  /** File name of the binary, when it is one itself. */
  readonly binary?: string;
}

export interface Tool {
  readonly name: string;
  readonly version: string;
  /** Go packages whose `main` is built, with the file name of the binary where Go would choose another. */
  readonly packages: readonly string[];
  readonly binary?: string;
  readonly ldflags?: string;
  readonly tags?: string;
  /** Folder of its Go module, where that is not its name. */
  readonly module?: string;
  /** The Go that builds it, where that is not the one of this machine; it comes from the module proxy. */
  readonly toolchain?: string;
  /** Files of the release that together have every binary. Without them the tool is always built. */
  readonly release?: readonly ReleaseFile[];
  /** To build it on 2 cores with nothing downloaded yet. */
  readonly usualMinutes: number;
}

const KUBERNETES_VERSION = '1.36.3';
const KUBERNETES_COMMANDS = [
  'kube-apiserver',
  'kube-controller-manager',
  'kube-proxy',
  'kube-scheduler',
  'kubectl',
  'kubelet',
];
const versionFlag = (name: string, value: string): string => `-X k8s.io/component-base/version.${name}=${value}`;
/** What a build tells the programs about their version. */
function kubernetesVersion(version: string): string {
  const [major = '', minor = ''] = version.split('.');
  const known = { gitVersion: `v${version}`, gitMajor: major, gitMinor: minor, gitTreeState: 'clean' };
  return Object.entries(known)
    .map(([name, value]) => versionFlag(name, value))
    .join(' ');
}

/**
 * Every server and plugin of the local cluster. The versions are pinned in `<name>/go.mod`, the files of releases in `SHA256SUMS`.
 * Small ones come first: how long they took to build tells how long the others will take.
 */
export const TOOLS = [
  {
    name: 'runc',
    version: '1.4.3',
    packages: ['github.com/opencontainers/runc'],
    // Without seccomp the kubelet's sandboxes fail: "config provided but seccomp not supported". The release has it too.
    tags: 'seccomp',
    release: [{ address: 'github.com/opencontainers/runc/releases/download/v1.4.3/runc.{arch}', binary: 'runc' }],
    usualMinutes: 0.5,
  },
  { name: 'runc-without-limits', version: '1', packages: ['.'], binary: 'runc-without-limits', usualMinutes: 0.2 },
  {
    name: 'cni',
    version: '1.9.1',
    packages: ['ipam/host-local', 'main/loopback', 'main/ptp', 'meta/portmap'].map(
      (plugin) => `github.com/containernetworking/plugins/plugins/${plugin}`,
    ),
    release: [
      {
        address: 'github.com/containernetworking/plugins/releases/download/v1.9.1/cni-plugins-linux-{arch}-v1.9.1.tgz',
        members: ['host-local', 'loopback', 'ptp', 'portmap'],
      },
    ],
    usualMinutes: 0.5,
  },
  {
    name: 'etcd',
    version: '3.6.8',
    packages: ['go.etcd.io/etcd/server/v3'],
    binary: 'etcd',
    release: [
      {
        address: 'github.com/etcd-io/etcd/releases/download/v3.6.8/etcd-v3.6.8-linux-{arch}.tar.gz',
        members: ['etcd-v3.6.8-linux-{arch}/etcd'],
      },
    ],
    usualMinutes: 1,
  },
  {
    name: 'containerd',
    version: '2.3.4',
    packages: ['containerd', 'containerd-shim-runc-v2', 'ctr'].map(
      (command) => `github.com/containerd/containerd/v2/cmd/${command}`,
    ),
    tags: 'no_btrfs,no_devmapper,no_zfs',
    release: [
      {
        // The static one: the other needs a C library as new as the one it was linked with.
        address:
          'github.com/containerd/containerd/releases/download/v2.3.4/containerd-static-2.3.4-linux-{arch}.tar.gz',
        members: ['bin/containerd', 'bin/containerd-shim-runc-v2', 'bin/ctr'],
      },
    ],
    usualMinutes: 2.5,
  },
  {
    name: 'temporal',
    version: '1.8.2',
    packages: ['github.com/temporalio/cli/cmd/temporal'],
    release: [
      {
        address: 'github.com/temporalio/cli/releases/download/v1.8.2/temporal_cli_1.8.2_linux_{arch}.tar.gz',
        members: ['temporal'],
      },
    ],
    usualMinutes: 7,
  },
  {
    name: 'kubernetes',
    version: KUBERNETES_VERSION,
    packages: KUBERNETES_COMMANDS.map((command) => `k8s.io/kubernetes/cmd/${command}`),
    ldflags: kubernetesVersion(KUBERNETES_VERSION),
    // One by one: the server archive has container images too.
    release: KUBERNETES_COMMANDS.map((command) => ({
      address: `dl.k8s.io/release/v${KUBERNETES_VERSION}/bin/linux/{arch}/${command}`,
      binary: command,
    })),
    usualMinutes: 9,
  },
] as const satisfies readonly Tool[];

/**
 * Kubernetes as it was, for `npm run test:compat`, with the Go of its last release. kubectl stays that of the local cluster: it speaks to us.
 */
export const OLD_KUBERNETES: Readonly<Record<string, Tool>> = {
  '1.28': {
    name: 'kubernetes',
    version: '1.28.15',
    module: 'kubernetes-1.28',
    toolchain: 'go1.22.8',
    packages: KUBERNETES_COMMANDS.filter((command) => command !== 'kubectl').map(
      (command) => `k8s.io/kubernetes/cmd/${command}`,
    ),
    ldflags: kubernetesVersion('1.28.15'),
    usualMinutes: 9,
  },
};

/** What renders and checks the chart. No start of the cluster waits for it. */
export const HELM: Tool = {
  name: 'helm',
  version: '4.3.1',
  packages: ['helm.sh/helm/v4/cmd/helm'],
  ldflags: '-X helm.sh/helm/v4/internal/version.version=v4.3.1',
  usualMinutes: 2,
};

/** For the test of its certificates. The programs of later releases are modules of their own, which no module proxy has. */
export const CERT_MANAGER: Tool = {
  name: 'cert-manager',
  version: '1.11.5',
  packages: ['cainjector', 'controller'].map((name) => `github.com/cert-manager/cert-manager/cmd/${name}`),
  usualMinutes: 5,
};

/** A driver of dynamic resource allocation that nobody here has written. */
export const DRA_EXAMPLE_DRIVER: Tool = {
  name: 'dra-example-driver',
  version: '0.4.0',
  packages: ['sigs.k8s.io/dra-example-driver/cmd/dra-example-kubeletplugin'],
  usualMinutes: 2,
};

/** NVIDIA's device plugin, for `npm run test:gpu`. The plugin looks for NVML when it runs, so the linker must not. */
export const NVIDIA_DEVICE_PLUGIN: Tool = {
  name: 'nvidia-device-plugin',
  version: '0.18.0',
  packages: [
    'github.com/NVIDIA/k8s-device-plugin/cmd/nvidia-device-plugin',
    // What its CDI specs have the runtime run.
    'github.com/NVIDIA/nvidia-container-toolkit/cmd/nvidia-cdi-hook',
  ],
  ldflags: '-extldflags=-Wl,-z,lazy -X github.com/NVIDIA/k8s-device-plugin/internal/info.version=v0.18.0',
  usualMinutes: 2,
};

/** The device plugin of Kubernetes' own tests. */
export const SAMPLE_DEVICE_PLUGIN: Tool = {
  name: 'sample-device-plugin',
  version: KUBERNETES_VERSION,
  packages: ['k8s.io/kubernetes/test/images/sample-device-plugin'],
  module: 'kubernetes',
  usualMinutes: 1,
};

/** Cluster DNS, for the test of an installation that knows Temporal by its Service. */
export const COREDNS: Tool = {
  name: 'coredns',
  version: '1.12.4',
  packages: ['.'],
  binary: 'coredns',
  // Static without them: it runs in an image of its own.
  tags: 'netgo,osusergo',
  usualMinutes: 2,
};

export type ToolName = (typeof TOOLS)[number]['name'];

/** Folder of each tool's binaries. */
export type ToolFolders = Readonly<Record<ToolName, string>>;

/** A tool, and the folder that its binaries have or are to have. */
export interface PlacedTool {
  readonly tool: Tool;
  readonly folder: string;
}

export const namesOf = (tools: readonly PlacedTool[]): string => tools.map(({ tool }) => tool.name).join(', ');
