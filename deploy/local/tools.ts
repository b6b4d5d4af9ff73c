import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Progress } from './progress.ts';
import { runToFile } from './run.ts';
import { cacheFolder } from './state.ts';

interface Tool {
  readonly name: string;
  readonly version: string;
  /** Go packages whose `main` is built, with the file name of the binary where Go would choose another. */
  readonly packages: readonly string[];
  readonly binary?: string;
  readonly ldflags?: string;
  readonly tags?: string;
  /** On 2 cores with nothing downloaded yet. */
  readonly usualMinutes: number;
}

const KUBERNETES_VERSION = '1.36.3';
const versionFlag = (name: string, value: string): string => `-X k8s.io/component-base/version.${name}=${value}`;

/** Every server and plugin of the local cluster. The versions are pinned in `tools/<name>/go.mod`. */
export const TOOLS = [
  {
    name: 'runc',
    version: '1.4.3',
    packages: ['github.com/opencontainers/runc'],
    // Without seccomp the kubelet's sandboxes fail: "config provided but seccomp not supported".
    tags: 'seccomp',
    usualMinutes: 0.5,
  },
  { name: 'runc-without-limits', version: '1', packages: ['.'], binary: 'runc-without-limits', usualMinutes: 0.2 },
  {
    name: 'cni',
    version: '1.9.1',
    packages: ['ipam/host-local', 'main/loopback', 'main/ptp', 'meta/portmap'].map(
      (plugin) => `github.com/containernetworking/plugins/plugins/${plugin}`,
    ),
    usualMinutes: 0.5,
  },
  { name: 'etcd', version: '3.6.8', packages: ['go.etcd.io/etcd/server/v3'], binary: 'etcd', usualMinutes: 1 },
  {
    name: 'containerd',
    version: '2.4.2',
    packages: ['containerd', 'containerd-shim-runc-v2', 'ctr'].map(
      (command) => `github.com/containerd/containerd/v2/cmd/${command}`,
    ),
    tags: 'no_btrfs,no_devmapper,no_zfs',
    usualMinutes: 3,
  },
  { name: 'temporal', version: '1.8.2', packages: ['github.com/temporalio/cli/cmd/temporal'], usualMinutes: 7 },
  {
    name: 'kubernetes',
    version: KUBERNETES_VERSION,
    packages: [
      ...['kube-apiserver', 'kube-controller-manager', 'kube-proxy', 'kube-scheduler', 'kubectl', 'kubelet'].map(
        (command) => `k8s.io/kubernetes/cmd/${command}`,
      ),
      'k8s.io/kubernetes/test/images/sample-device-plugin',
    ],
    ldflags: [
      versionFlag('gitVersion', `v${KUBERNETES_VERSION}`),
      versionFlag('gitMajor', '1'),
      versionFlag('gitMinor', '36'),
      versionFlag('gitTreeState', 'clean'),
    ].join(' '),
    usualMinutes: 12,
  },
] as const satisfies readonly Tool[];

export type ToolName = (typeof TOOLS)[number]['name'];

/** Folder of each tool's binaries. */
export type ToolFolders = Readonly<Record<ToolName, string>>;

const MODULES = join(import.meta.dirname, 'tools');

/** `DEVICE_MOUNTER_TOOLS` names ready-made ones. */
function toolsFolder(env: NodeJS.ProcessEnv): string {
  return env['DEVICE_MOUNTER_TOOLS'] ?? join(cacheFolder(env), 'tools');
}

/** Name, version and a digest of all that decides what is built, so that a changed flag is a new folder. */
function folderName(tool: Tool): string {
  const digest = createHash('sha256').update(JSON.stringify([tool.packages, tool.ldflags, tool.tags]));
  const module = join(MODULES, tool.name);
  for (const file of readdirSync(module).sort()) digest.update(readFileSync(join(module, file)));
  return `${tool.name}-${tool.version}-${digest.digest('hex').slice(0, 8)}`;
}

async function build(tool: Tool, folder: string, logFile: string): Promise<void> {
  const unfinished = `${folder}.building`;
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { recursive: true });
  const output = join(unfinished, tool.binary ?? '/');
  const flags = ['-trimpath', '-buildvcs=false', '-ldflags', `-s -w ${tool.ldflags ?? ''}`.trim()];
  if (tool.tags !== undefined) flags.push('-tags', tool.tags);
  await runToFile('go', ['build', ...flags, '-o', output, ...tool.packages], logFile, {
    cwd: join(MODULES, tool.name),
    env: { ...process.env, GOFLAGS: '-mod=readonly', GOWORK: 'off' },
  });
  // A killed build leaves only `.building`; the name without it appears complete or not at all.
  renameSync(unfinished, folder);
}

/**
 * Builds what is missing, one after the other (two linkers at once need too much memory), and answers where everything is.
 * Throws with the end of the compiler's output when a build fails.
 */
export async function ensureTools(progress: Progress, logFolder: string): Promise<ToolFolders> {
  const cache = toolsFolder(process.env);
  const folders = TOOLS.map((tool) => ({ tool, folder: join(cache, folderName(tool)) }));
  const missing = folders.filter(({ folder }) => !existsSync(folder));
  for (const [index, { tool, folder }] of missing.entries()) {
    const title = `build ${tool.name} ${tool.version} (${index + 1} of ${missing.length}, usually ${tool.usualMinutes} min)`;
    await progress.step(title, () => build(tool, folder, join(logFolder, `build-${tool.name}.log`)));
  }
  return Object.fromEntries(folders.map(({ tool, folder }) => [tool.name, folder])) as ToolFolders;
}
