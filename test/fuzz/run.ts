import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fail } from '../../contract/failures.ts';
import { GROUP_VERSION } from '../../contract/names.ts';
import { makeCluster, TestServer } from '../apiserver/harness.ts';

/**
 * Fuzzes the API by its own OpenAPI document: `npm run test:fuzz [examples]`. The server is the real one, on loopback, with what is behind it in
 * memory. Schemathesis comes from PyPI into `.local`.
 */
const LOCAL = join(import.meta.dirname, '..', '..', '.local');
const VENV = join(LOCAL, 'schemathesis-4.32.5');
const BINARY = join(VENV, 'bin', 'schemathesis');
/** Of each of five operations in each of two runs, so that there are more than 10,000 cases. */
const EXAMPLES = process.argv[2] ?? '1200';
/** Not the schema of answers: a watch is a stream of them. */
const CHECKS = ['not_a_server_error', 'content_type_conformance', 'unsupported_method'];
/** Names that there are, so that requests get further than to a 404. */
const KNOWN = `
[parameters]
"path.namespace" = "default"
"path.name" = "web-0"
"query.device_type" = "HOSTDEV"
`;

/** Runs a command and answers its exit status. */
async function ended(command: string, args: readonly string[]): Promise<number> {
  const child = spawn(command, args, { cwd: LOCAL, stdio: ['ignore', 'inherit', 'inherit'] });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}

async function install(): Promise<void> {
  if (existsSync(BINARY)) return;
  const failed =
    (await ended('python3', ['-m', 'venv', VENV])) ||
    (await ended(join(VENV, 'bin', 'pip'), ['install', '--quiet', 'schemathesis==4.32.5']));
  if (failed) {
    rmSync(VENV, { recursive: true, force: true });
    throw new Error('Cannot install schemathesis: see above');
  }
}

async function fuzz(config: string): Promise<number> {
  return ended(BINARY, [
    `--config-file=${config}`,
    'run',
    `${base}/openapi/v3/apis/${GROUP_VERSION}`,
    `--url=${base}`,
    '--header=X-Remote-User: fuzz',
    `--request-cert=${file('tls.crt', cluster.proxy.cert)}`,
    `--request-cert-key=${file('tls.key', cluster.proxy.key)}`,
    `--tls-verify=${file('ca.crt', cluster.serving.pair.cert)}`,
    `--checks=${CHECKS.join()}`,
    '--mode=all',
    `--max-examples=${EXAMPLES}`,
    '--generation-database=none',
    '--request-timeout=10',
    '--no-color',
  ]);
}

mkdirSync(LOCAL, { recursive: true });
await install();
const cluster = makeCluster();
// A watch ends as soon as it has told what there is.
const server = await new TestServer(cluster, { ending: AbortSignal.abort() }).start();
const folder = mkdtempSync(join(LOCAL, 'fuzz-'));
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text, { mode: 0o600 });
  return join(folder, name);
};
const base = `https://127.0.0.1:${server.port}`;
const code = (await fuzz(file('free.toml', ''))) || (await fuzz(file('known.toml', KNOWN)));
await server.stop();
rmSync(folder, { recursive: true });
const answered = server.logLines.filter(({ msg }) => msg === 'request').length;
const broken = server.logLines.filter(({ code: status }) => typeof status === 'number' && status >= 500);
console.log(`${answered} requests, ${broken.length} answered with 5xx`);
for (const line of broken.slice(0, 5)) console.log(JSON.stringify(line));
if (answered === 0) throw fail('Internal', 'Cannot fuzz: nothing was asked');
process.exitCode = code === 0 && broken.length === 0 ? 0 : 1;
