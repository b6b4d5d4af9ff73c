import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../run.ts';
import { REPOSITORY } from '../state.ts';
import { packLayer } from './archive.ts';
import type { Buildah } from './buildah.ts';

const SUITE = 'bookworm';
/** What Node and the native parts of the dependencies are linked with, and what the Dockerfile's commands need; no more of Debian. */
const LIBRARIES = ['libc6', 'libstdc++6', 'libgcc-s1', 'libatomic1', 'ca-certificates', 'tzdata'];
const PACKAGES = LIBRARIES.concat('dash', 'coreutils', 'findutils');
const NPM = '11.19.1';
const NODE = join(REPOSITORY, 'node_modules', 'node');

/** The tag of an image that stands in for `node:24-bookworm-slim`, made without a registry of images, when it is missing. */
export async function ensureBase(buildah: Buildah, cache: string): Promise<string> {
  const node = (JSON.parse(readFileSync(join(NODE, 'package.json'), 'utf8')) as { version: string }).version;
  const key = createHash('sha256')
    .update(JSON.stringify([SUITE, PACKAGES, NPM, node]))
    .digest('hex')
    .slice(0, 12);
  const tag = `localhost/device-mounter-base:${key}`;
  if (await buildah.has(tag)) return tag;
  const folder = mkdtempSync(join(cache, 'base-'));
  try {
    await fill(join(folder, 'root'));
    const exclude = ['dev', 'usr/share/doc', 'usr/share/man'].map((name) => `--exclude=./${name}`);
    const { file } = await packLayer(join(folder, 'root'), join(folder, 'base.tar'), [...exclude, '.']);
    const container = (await buildah.run('from', 'scratch')).trim();
    await buildah.run('add', '--quiet', container, file, '/');
    await buildah.run('config', '--env', 'PATH=/usr/local/bin:/usr/bin:/bin', container);
    await buildah.run('commit', '--quiet', '--rm', container, tag);
  } finally {
    rmSync(folder, { recursive: true });
  }
  return tag;
}

/** A root file system of Debian packages, extracted without running anything of them, with Node and npm. */
async function fill(root: string): Promise<void> {
  await run('mmdebstrap', ['--quiet', '--variant=extract', `--include=${PACKAGES.join(',')}`, SUITE, root]);
  // Extracted only: ca-certificates’ own script would have made this bundle.
  const certificates = join(root, 'usr', 'share', 'ca-certificates', 'mozilla');
  const bundle = await run('sh', ['-c', 'cat "$1"/*.crt', 'sh', certificates]);
  mkdirSync(join(root, 'etc', 'ssl', 'certs'), { recursive: true });
  writeFileSync(join(root, 'etc', 'ssl', 'certs', 'ca-certificates.crt'), bundle);
  const local = join(root, 'usr', 'local');
  mkdirSync(join(local, 'bin'), { recursive: true });
  copyFileSync(join(NODE, 'bin', 'node'), join(local, 'bin', 'node'));
  await run('npm', ['install', '--silent', '--global', '--prefix', local, `npm@${NPM}`]);
}
