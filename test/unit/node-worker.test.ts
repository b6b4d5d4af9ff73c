import { type ChildProcess, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { freePort } from '../../process/free-port.ts';
import { TestCa } from '../apiserver/pki.ts';

/** Nothing of what a worker talks to is there, and it starts all the same. */
const NOWHERE = '127.0.0.1:1';
const ca = TestCa.selfSigned('kubernetes');
const base64 = (text: string): string => Buffer.from(text).toString('base64');

let folder = '';
const workers: ChildProcess[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'node-worker-'));
  for (const part of ['kubelet/pods', 'plugins']) mkdirSync(join(folder, part), { recursive: true });
  const { publicKey } = generateKeyPairSync('ed25519');
  writeFileSync(join(folder, 'public.pem'), publicKey.export({ type: 'spki', format: 'pem' }));
  const cluster = { server: `https://${NOWHERE}`, 'certificate-authority-data': base64(ca.pair.cert) };
  const config = {
    clusters: [{ name: 'c', cluster }],
    users: [{ name: 'u', user: { token: 't' } }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    'current-context': 'x',
  };
  writeFileSync(join(folder, 'kubeconfig'), JSON.stringify(config));
});
afterEach(() => {
  for (const worker of workers.splice(0)) worker.kill('SIGKILL');
  rmSync(folder, { recursive: true });
});

/** A node worker on the one state directory; `said` resolves with the first line of its log that matches. */
async function start(): Promise<{ readonly worker: ChildProcess; readonly said: (text: RegExp) => Promise<string> }> {
  const paths = {
    'state-dir': 'state',
    kubeconfig: 'kubeconfig',
    'signing-public-keys': 'public.pem',
    'kubelet-dir': 'kubelet',
    'device-plugin-dir': 'plugins',
    'cri-socket': 'no-runtime.sock',
  };
  const flags = Object.entries(paths).map(([name, path]) => `--${name}=${join(folder, path)}`);
  const settings = [
    `--temporal-address=${NOWHERE}`,
    '--namespace=n',
    '--node-name=n1',
    `--health-port=${await freePort()}`,
  ];
  const worker = spawn(process.execPath, ['node-worker/main.ts', ...settings, ...flags], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  workers.push(worker);
  // One for all questions: it keeps the lines that nobody has asked for yet.
  const lines = createInterface({ input: worker.stdout })[Symbol.asyncIterator]();
  const said = async (text: RegExp): Promise<string> => {
    for (;;) {
      const { value: line, done } = await lines.next();
      if (done) throw new Error(`the log has ended without ${text}`);
      if (text.test(line)) return line;
    }
  };
  return { worker, said };
}

test('a second node worker of a node begins nothing before the first has ended', async () => {
  const first = await start();
  await first.said(/"started"/);
  const second = await start();
  expect(await second.said(/another node worker|"started"/)).toContain(`process ${first.worker.pid} still uses`);
  const started = second.said(/"started"/);
  first.worker.kill('SIGKILL');
  await started;
});
