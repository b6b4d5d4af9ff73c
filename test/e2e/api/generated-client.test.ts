import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { cacheFolder, REPOSITORY } from '../../../deploy/local/state.ts';
import { CLUSTER, NODES } from '../cluster.ts';
import { kubectlOk } from '../kubectl.ts';
import { startPod } from '../pods.ts';
import { expectNoPods, removeTargets } from '../targets.ts';

const execFileAsync = promisify(execFile);
/** A generator of clients that many use, and what its clients need. */
const PACKAGES = ['openapi-typescript@7.13.0', 'openapi-fetch@0.17.0'];
const TOOLS = join(cacheFolder(process.env), 'tools', PACKAGES.join('+').replaceAll('@', '-'));
const NODE_BIN = join(REPOSITORY, 'node_modules', '.bin');

/** What somebody writes who has never seen more than the document. */
const PROGRAM = `
import createClient from 'openapi-fetch';
import type { paths } from './verbs.d.ts';
import type { paths as ObjectPaths } from './objects.d.ts';

const [, , baseUrl = '', name = ''] = process.argv;
const client = createClient<paths>({ baseUrl });
const objects = createClient<ObjectPaths>({ baseUrl });
const params = { path: { namespace: 'default', name }, query: { device_type: 'HOSTDEV', wait_second: 30 } };
const POD = '/apis/device-mounter.io/v1alpha1/namespaces/{namespace}/pods/{name}';

const mounted = await client.PUT(\`\${POD}/mount\` as const, {
  params,
  body: { resources: { 'hostdev.k8s.io/dev_fuse': '1' } },
});
if (mounted.error !== undefined) throw new Error(mounted.error.message);
const phase: 'Pending' | 'Mounted' | 'Releasing' | 'Released' | 'Failed' | undefined = mounted.data.status?.phase;
const read = await objects.GET('/apis/device-mounter.io/v1beta1/namespaces/{namespace}/devicemounts/{name}', {
  params: { path: { namespace: 'default', name: mounted.data.metadata?.name ?? '' } },
});
const released = await client.PUT(\`\${POD}/unmount\` as const, { params });
const refused = await client.PUT(\`\${POD}/unmount\` as const, {
  params: { ...params, path: { namespace: 'default', name: 'there-is-none' } },
});
console.log(JSON.stringify([phase, read.data?.spec?.podName, released.data?.items.length, refused.error?.details?.causes?.[0]?.reason]));

// @ts-expect-error: what is required is so in its types too
client.PUT(\`\${POD}/mount\` as const, { params: { path: params.path } }).catch(() => undefined);
`;

const TSCONFIG = {
  compilerOptions: {
    strict: true,
    noEmit: true,
    target: 'es2024',
    module: 'nodenext',
    allowImportingTsExtensions: true,
    exactOptionalPropertyTypes: true,
    types: ['node'],
  },
  files: ['main.ts'],
};

let pod: string;
let folder: string;
let proxy: ChildProcess;

beforeAll(async () => {
  if (!existsSync(TOOLS)) {
    const unfinished = `${TOOLS}.part`;
    mkdirSync(unfinished, { recursive: true });
    await execFileAsync('npm', ['install', `--prefix=${unfinished}`, '--no-audit', '--no-fund', ...PACKAGES]);
    await execFileAsync('mv', [unfinished, TOOLS]);
  }
  pod = await startPod(NODES[0]?.name ?? '');
  folder = mkdtempSync(join(TOOLS, 'client-'));
  mkdirSync(join(folder, 'node_modules', '@types'), { recursive: true });
  symlinkSync(join(REPOSITORY, 'node_modules', '@types', 'node'), join(folder, 'node_modules', '@types', 'node'));
});

afterAll(async () => {
  proxy?.kill();
  rmSync(folder, { recursive: true, force: true });
  await removeTargets([pod]);
  await expectNoPods();
});

/** Types of what the group has in this version. */
async function generate(name: string, version: string): Promise<void> {
  const document = join(folder, `${name}.json`);
  writeFileSync(document, await kubectlOk(['get', '--raw', `/openapi/v3/apis/device-mounter.io/${version}`]));
  const generator = join(TOOLS, 'node_modules', '.bin', 'openapi-typescript');
  await execFileAsync(generator, [document, '-o', join(folder, `${name}.d.ts`)]);
}

/** Address of kube-apiserver without TLS and tokens, for clients that know neither. */
async function proxied(): Promise<string> {
  proxy = spawn(CLUSTER.kubectl, ['--kubeconfig', CLUSTER.kubeconfig, 'proxy', '--port=0'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (proxy.stdout === null) throw new Error('the proxy has no output');
  for await (const line of createInterface(proxy.stdout)) {
    const [, address] = /serve on (\S+)/.exec(line) ?? [];
    if (address !== undefined) return `http://${address}`;
  }
  throw new Error('Cannot use kubectl proxy: it has ended');
}

describe('a client that was generated from the OpenAPI documents of kube-apiserver', () => {
  test('compiles, mounts, reads, unmounts, and is told what failed', async () => {
    await generate('verbs', 'v1alpha1');
    await generate('objects', 'v1beta1');
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module' }));
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(TSCONFIG));
    writeFileSync(join(folder, 'main.ts'), PROGRAM);
    const compiled = await execFileAsync(join(NODE_BIN, 'tsc'), ['-p', folder]).catch((err: { stdout: string }) => err);
    expect(compiled.stdout).toBe('');
    const { stdout } = await execFileAsync(process.execPath, [join(folder, 'main.ts'), await proxied(), pod]);
    expect(JSON.parse(stdout)).toEqual(['Mounted', pod, 1, 'PodNotFound']);
  });
});
