import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fail } from '../../contract/failures.ts';
import { GROUP_VERSION } from '../../contract/names.ts';
import { makeCluster, TestServer } from '../apiserver/harness.ts';
import { ended, ensureSchemathesis } from './schemathesis.ts';

/**
 * Fuzzes the API by its own OpenAPI document: `npm run test:fuzz [examples] [counts]`. The server is the real one, on loopback, with what is behind it
 * in memory. Ends with 1 when a check failed or an answer was 5xx. With the name of a file for its counts it is the short run of `npm test`.
 */
const LOCAL = join(import.meta.dirname, '..', '..', '.local');
/** Of each of two operations in each of two runs, so that there are more than 10,000 cases. */
const [EXAMPLES = '3000', COUNTS] = process.argv.slice(2);
const CHECKS = ['not_a_server_error', 'content_type_conformance', 'response_schema_conformance', 'unsupported_method'];
/** Names that there are, so that requests get further than to a 404. */
const KNOWN = `
[parameters]
"path.namespace" = "default"
"path.name" = "web-0"
"query.device_type" = "HOSTDEV"
`;

/** One run; each operation is a test in its report. */
async function fuzz(name: string, config: string): Promise<number> {
  return ended(
    binary,
    [
      `--config-file=${file(`${name}.toml`, config)}`,
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
      '--request-timeout=60',
      // A test of every day has the same cases every day.
      ...(COUNTS === undefined ? [] : ['--seed=1']),
      `--report-junit-path=${join(folder, `${name}.xml`)}`,
      '--no-color',
    ],
    folder,
  );
}

/** How many tests a JUnit report has. */
function operationsIn(report: string): number {
  const [, count] = /<testsuites?\b[^>]*\btests="(\d+)"/.exec(readFileSync(join(folder, report), 'utf8')) ?? [];
  return Number(count);
}

mkdirSync(LOCAL, { recursive: true });
const binary = await ensureSchemathesis();
const cluster = makeCluster();
const server = await new TestServer(cluster).start();
const folder = mkdtempSync(join(LOCAL, 'fuzz-'));
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text, { mode: 0o600 });
  return join(folder, name);
};
const base = `https://127.0.0.1:${server.port}`;
// So that there is a mount to end, or of whose name there is one already.
const body = JSON.stringify({ name: 'web-0', resources: { 'hostdev.k8s.io/dev_fuse': 1 } });
const path = `/apis/${GROUP_VERSION}/namespaces/default/pods/web-0/mount?device_type=HOSTDEV`;
await server.as('fuzz', { method: 'PUT', path, body });
const code = (await fuzz('free', '')) || (await fuzz('known', KNOWN));
await server.stop();
if (code === 0 && COUNTS !== undefined) {
  const passed = ['free', 'known'].reduce((sum, name) => sum + operationsIn(`${name}.xml`), 0);
  writeFileSync(COUNTS, JSON.stringify({ passed, failed: 0 }));
}
rmSync(folder, { recursive: true });
const answered = server.logLines.filter(({ msg }) => msg === 'request').length;
const broken = server.logLines.filter(({ code: status }) => typeof status === 'number' && status >= 500);
console.log(`${answered} requests, ${broken.length} answered with 5xx`);
for (const line of broken.slice(0, 5)) console.log(JSON.stringify(line));
if (answered === 0) throw fail('Internal', 'Cannot fuzz: nothing was asked');
process.exitCode = code === 0 && broken.length === 0 ? 0 : 1;
