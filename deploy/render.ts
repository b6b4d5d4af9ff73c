import { createHash } from 'node:crypto';
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { crdTemplate } from './crd.ts';
import { CHART, ensureHelm, type Helm } from './helm.ts';

/** A file of manifests, for those who do not use Helm. */
interface Manifest {
  readonly name: string;
  /** First lines, as comments. */
  readonly about: readonly string[];
  /** Templates of the chart, in this order. */
  readonly templates: readonly string[];
  /** Values that are not the chart's own. */
  readonly set: readonly string[];
  readonly kubernetes: string;
}

const KUBERNETES = '1.31.0';

export const MANIFESTS: readonly Manifest[] = [
  {
    name: 'device-mounter-apiserver.yaml',
    about: [
      'Everything but the node workers, which are in device-mounter-daemonset.yaml: the aggregated API, the control worker, and a Temporal',
      'server. For Kubernetes 1.30 and later. See docs/guides/install.md.',
    ],
    templates: [
      'owner',
      'namespace',
      'quota',
      'apiserver-rbac',
      'control-rbac',
      'users-rbac',
      'policies',
      'network-policies',
      'temporal',
      'apiserver',
      'control',
      'crd',
    ],
    set: ['namespace.create=true'],
    kubernetes: KUBERNETES,
  },
  {
    name: 'device-mounter-daemonset.yaml',
    about: ['It needs what is in device-mounter-apiserver.yaml.'],
    templates: ['node-worker'],
    set: [],
    kubernetes: KUBERNETES,
  },
  {
    name: 'hostdev-plugin-ds.yaml',
    about: [],
    templates: ['host-device-plugin'],
    set: ['hostDevicePlugin.enabled=true', 'hostDevicePlugin.namespace=kube-system'],
    kubernetes: KUBERNETES,
  },
  {
    name: 'device-mounter-crd.yaml',
    about: ['For Kubernetes 1.31 and later.'],
    templates: ['crd'],
    set: [],
    kubernetes: KUBERNETES,
  },
  {
    name: 'device-mounter-crd-1.30.yaml',
    about: ['For Kubernetes 1.30, which has no field selectors for them.'],
    templates: ['crd'],
    set: [],
    kubernetes: '1.30.0',
  },
];

/** What the chart says for `manifest`. */
export async function rendered(helm: Helm, { about, templates, set, kubernetes }: Manifest): Promise<string> {
  const values = set.flatMap((value) => ['--set', value]);
  const fixed = ['--namespace', 'device-mounter', '--kube-version', kubernetes];
  const output = await helm('template', 'device-mounter', CHART, ...fixed, ...values);
  const objects = objectsByTemplate(output);
  const texts = templates.flatMap((name) => objects.get(name) ?? []);
  const head = [...about, 'Rendered from deploy/chart by `npm run render`.'].map((line) => `# ${line}\n`).join('');
  return `${head}\n${texts.map((text) => `${text.trim()}\n`).join('---\n')}`;
}

/** Helm sorts objects by their kind; the files tell them part by part. */
function objectsByTemplate(output: string): ReadonlyMap<string, readonly string[]> {
  const objects = new Map<string, string[]>();
  for (const [, template = '', text = ''] of output.matchAll(
    /^---\n# Source: (\S+)\n(.*?)(?=^---\n# Source: |(?![^]))/gms,
  )) {
    const name = basename(template, '.yaml');
    objects.set(name, [...(objects.get(name) ?? []), text]);
  }
  return objects;
}

const VERSION = (
  JSON.parse(readFileSync(join(import.meta.dirname, '..', 'package.json'), 'utf8')) as { version: string }
).version;
const RECORD = join(import.meta.dirname, 'rendered.sha256');

const digest = (name: string): string =>
  createHash('sha256')
    .update(readFileSync(join(import.meta.dirname, name)))
    .digest('hex');

/** Digests of all that is rendered, and of all that it is rendered from, as sha256sum writes them. */
export function record(): string {
  const sources = globSync('chart/**/*', { cwd: import.meta.dirname, withFileTypes: true })
    .filter((file) => file.isFile())
    .map(({ parentPath, name }) => join(parentPath, name).slice(import.meta.dirname.length + 1));
  const names = [...sources, 'render.ts', ...MANIFESTS.map(({ name }) => name)].sort();
  return names.map((name) => `${digest(name)}  ${name}\n`).join('');
}

/** Writes what is generated in the chart, then the manifests that the chart renders. */
async function render(): Promise<void> {
  const chart = join(CHART, 'Chart.yaml');
  writeFileSync(chart, readFileSync(chart, 'utf8').replace(/^(version|appVersion): .*$/gm, `$1: ${VERSION}`));
  writeFileSync(join(CHART, 'templates', 'crd.yaml'), crdTemplate());
  const helm = await ensureHelm();
  for (const manifest of MANIFESTS)
    writeFileSync(join(import.meta.dirname, manifest.name), await rendered(helm, manifest));
  writeFileSync(RECORD, record());
}

// Without await, so that require() can load this file.
if (import.meta.main) void render();
