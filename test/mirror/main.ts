import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { copyFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { basename, dirname, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { pack } from 'tar-stream';
import { Progress } from '../../deploy/local/progress.ts';
import { statePaths } from '../../deploy/local/state.ts';
import { type ReleaseFile, TOOLS, type Tool } from '../../deploy/local/tools/table.ts';
import { ensureTools } from '../../deploy/local/tools.ts';
import { startHost } from './host.ts';

/**
 * A mirror on loopback, of archives in their makers' layout with binaries that were built here: `node test/mirror/main.ts FOLDER`.
 * It says how to start a cluster from it, and serves until Ctrl-C. Its digests are its own.
 */
const ARCH = process.arch === 'x64' ? 'amd64' : process.arch;

async function packRelease(file: ReleaseFile, built: string, mirror: string): Promise<string> {
  const address = file.address.replaceAll('{arch}', ARCH);
  const target = join(mirror, address);
  mkdirSync(dirname(target), { recursive: true });
  if (file.binary !== undefined) await copyFile(join(built, file.binary), target);
  else await packArchive(file.members ?? [], built, target);
  return `${await sha256Of(target)}  ${address}\n`;
}

/** Level 1 is enough: who serves on loopback saves no bytes. */
async function packArchive(members: readonly string[], built: string, target: string): Promise<void> {
  const archive = pack();
  const written = pipeline(archive, createGzip({ level: 1 }), createWriteStream(target));
  for (const member of members) {
    const binary = join(built, basename(member));
    const entry = archive.entry({
      name: `./${member.replaceAll('{arch}', ARCH)}`,
      size: statSync(binary).size,
      mode: 0o755,
    });
    await pipeline(createReadStream(binary), entry);
  }
  archive.finalize();
  await written;
}

async function sha256Of(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}

/** A client may leave when it has seen enough. */
async function serve(file: string, response: ServerResponse): Promise<void> {
  response.setHeader('content-length', statSync(file).size);
  await pipeline(createReadStream(file), response).catch(() => undefined);
}

const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error('Cannot make a mirror: name a folder for it');
const mirror = resolve(folder);
const progress = new Progress(process.stdout);
const env = { ...process.env, DEVICE_MOUNTER_DOWNLOADS: 'off' };
const folders = await ensureTools(progress, join(statePaths(env).root, 'build-log'), { env });
const lines = await progress.step('pack the archives', async () => {
  const tools: readonly (Tool & { readonly name: keyof typeof folders })[] = TOOLS;
  const files = tools.flatMap(({ name, release = [] }) => release.map((file) => ({ file, built: folders[name] })));
  return Promise.all(files.map(({ file, built }) => packRelease(file, built, mirror)));
});
const digests = join(mirror, 'SHA256SUMS');
writeFileSync(digests, lines.join(''));
const host = await startHost((request, response) => {
  const address = lines.map((line) => line.trim().split('  ')[1]).find((one) => request.url === `/${one}`);
  if (address === undefined) response.writeHead(404).end();
  else void serve(join(mirror, address), response);
});
progress.say(`
  export DEVICE_MOUNTER_DOWNLOADS=${host.url} DEVICE_MOUNTER_DIGESTS=${digests}
  npm start -- --once

Ctrl-C ends the mirror.`);
