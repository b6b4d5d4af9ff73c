import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { DefaultLogger } from '@temporalio/worker';
import { buildWorkflowBundle } from '../../../workflows/bundle.ts';
import { stripTypes } from '../../strip-types.ts';
import { run } from '../run.ts';
import { REPOSITORY } from '../state.ts';
import { type Image, type ImageSettings, imageOf, type Layer, packedLayer, packLayer } from './archive.ts';

/** What the Node binary and the native parts of the dependencies are linked with; the rest of Debian stays out. */
const BASE_PACKAGES = ['libc6', 'libstdc++6', 'libgcc-s1', 'libatomic1', 'ca-certificates', 'tzdata'];
const SUITE = 'bookworm';

/** Folders of the product; `deploy/Dockerfile` copies the same ones. */
const CODE = [
  'contract',
  'process',
  'workflows',
  'activities',
  'apiserver',
  'node-worker',
  'device-plugin',
  'proto',
  'package.json',
];

/** Prebuilt native parts for other systems: 30 MB each. */
const FOREIGN = ['aarch64-apple-darwin', 'x86_64-apple-darwin', 'x86_64-pc-windows-msvc'].concat(
  process.arch === 'arm64' ? 'x86_64-unknown-linux-gnu' : 'aarch64-unknown-linux-gnu',
);

const SETTINGS: ImageSettings = {
  entrypoint: ['/usr/local/bin/node'],
  path: '/usr/local/bin:/usr/bin:/bin',
  workingDir: '/app',
};

/** What the product's image stands on, as an image of its own: it changes with the lock file only. */
export async function foundationImage(cache: string): Promise<Image> {
  mkdirSync(cache, { recursive: true });
  const layers = await Promise.all([baseLayer(cache), dependencyLayer(cache)]);
  return imageOf(layers, SETTINGS, () => 'localhost/device-mounter-foundation:1');
}

/** The product's image: the code as it is now on its foundation. Its tag names its content. */
export async function productImage(cache: string, foundation: Promise<Image>): Promise<Image> {
  const [{ layers }, code] = await Promise.all([foundation, codeLayer(cache)]);
  return imageOf([...layers, code], SETTINGS, (digest) => `localhost/device-mounter:${digest.slice(0, 12)}`);
}

/** A root file system of Debian packages, extracted without running anything of them. */
async function baseLayer(cache: string): Promise<Layer> {
  const key = createHash('sha256')
    .update(`${SUITE} ${BASE_PACKAGES.join(' ')}`)
    .digest('hex')
    .slice(0, 12);
  const file = join(cache, `base-${key}.tar`);
  const packed = packedLayer(file);
  if (packed !== undefined) return packed;
  const folder = mkdtempSync(join(cache, 'base-'));
  try {
    const root = join(folder, 'root');
    await run('mmdebstrap', ['--quiet', '--variant=extract', `--include=${BASE_PACKAGES.join(',')}`, SUITE, root]);
    // Extracted only: ca-certificates’ own script would have made this bundle.
    const certificates = join(root, 'usr', 'share', 'ca-certificates', 'mozilla');
    const bundle = await run('sh', ['-c', 'cat "$1"/*.crt', 'sh', certificates]);
    mkdirSync(join(root, 'etc', 'ssl', 'certs'), { recursive: true });
    writeFileSync(join(root, 'etc', 'ssl', 'certs', 'ca-certificates.crt'), bundle);
    return await packLayer(root, file, [
      '--exclude=./dev',
      '--exclude=./usr/share/doc',
      '--exclude=./usr/share/man',
      '.',
    ]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Node and the production part of `node_modules`. */
async function dependencyLayer(cache: string): Promise<Layer> {
  const lock = readFileSync(join(REPOSITORY, 'package-lock.json'));
  const key = createHash('sha256').update(lock).update(dependencyLayer.toString()).digest('hex').slice(0, 12);
  const file = join(cache, `dependencies-${key}.tar`);
  const packed = packedLayer(file);
  if (packed !== undefined) return packed;
  const listed = await run('npm', ['ls', '--omit=dev', '--all', '--parseable', '--silent'], { cwd: REPOSITORY });
  const modules = listed
    .trim()
    .split('\n')
    .map((path) => relative(REPOSITORY, path))
    // Modules inside of a module come with it; npm lists the checkout itself first.
    .filter((path) => /^node_modules\/(@[^/]+\/)?[^/]+$/.test(path));
  return packLayer(REPOSITORY, file, [
    ...FOREIGN.map((target) => `--exclude=node_modules/@temporalio/core-bridge/releases/${target}`),
    '--exclude=*.d.ts',
    '--exclude=*.map',
    '--transform=flags=r;s,^node_modules/node/bin/node$,usr/local/bin/node,',
    '--transform=flags=r;s,^node_modules,app/node_modules,',
    ...modules,
    'node_modules/node/bin/node',
  ]);
}

const isProduct = (source: string): boolean => !/\.test\.ts$|\/fixtures$/.test(source);

async function codeLayer(cache: string): Promise<Layer> {
  const folder = mkdtempSync(join(cache, 'code-'));
  try {
    const app = join(folder, 'app');
    for (const name of CODE) cpSync(join(REPOSITORY, name), join(app, name), { recursive: true, filter: isProduct });
    stripTypes(app);
    writeFileSync(join(app, 'workflow-bundle.js'), await buildWorkflowBundle(new DefaultLogger('WARN')));
    const commands = join(folder, 'usr', 'local', 'bin');
    mkdirSync(commands, { recursive: true });
    symlinkSync('/app/node-worker/inspect.ts', join(commands, 'device-mounter-node'));
    return await packLayer(folder, join(cache, 'code.tar'));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
