import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { Connection } from '@temporalio/client';
import { SEARCH_ATTRIBUTES } from '../../contract/names.ts';
import { GO_VARIABLES } from '../../deploy/local/server.ts';
import { stopProcess } from '../stop-process.ts';

/** A server that is slow to start, on a machine that is busy, is still a server. */
const START_MS = 300_000;

const STARTS = 3;

/** Not among the ports from which connections are made (ip_local_port_range), so that none takes it before Temporal does. */
const PORTS = { first: 15_000, last: 31_999 } as const;

/**
 * One-shard start-dev loads its queues 20 times a second by default, so that each hop takes up to 50 ms. It also reads the namespace from
 * its database at each start of a workflow, one after the other, and says "not found" when that takes 3 s.
 */
const TUNING = [
  'history.transferProcessorMaxPollRPS=2000',
  'history.timerProcessorMaxPollRPS=2000',
  'history.visibilityProcessorMaxPollRPS=2000',
  'system.forceSearchAttributesCacheRefreshOnRead=false',
];

/** A real Temporal server of this test run, on a loopback port, with its database in a folder of its own. */
export class TemporalServer {
  readonly address: string;
  readonly #folder: string;
  readonly #port: number;
  readonly #extra: readonly string[];
  #process: ChildProcess | undefined;

  private constructor(port: number, extra: readonly string[]) {
    this.#port = port;
    this.#extra = extra;
    this.address = `127.0.0.1:${port}`;
    this.#folder = mkdtempSync(join(tmpdir(), 'device-mounter-temporal-'));
  }

  static async start(extra: readonly string[] = []): Promise<TemporalServer> {
    const server = new TemporalServer(await freePort(), extra);
    await server.restart();
    return server;
  }

  /** Starts it again, with what its database holds, on the same port. */
  async restart(): Promise<void> {
    const attributes = Object.values(SEARCH_ATTRIBUTES).flatMap((name) => ['--search-attribute', `${name}=Keyword`]);
    const args = `server start-dev --headless --ip 127.0.0.1 --port ${this.#port} --log-level never`.split(' ');
    args.push('--db-filename', join(this.#folder, 'temporal.db'));
    args.push('--sqlite-pragma', 'journal_mode=wal', '--sqlite-pragma', 'synchronous=normal');
    args.push(...TUNING.flatMap((value) => ['--dynamic-config-value', value]), ...attributes, ...this.#extra);
    for (let attempt = 1; ; attempt++) {
      // It ends with this test run, whatever ends that.
      this.#process = spawn('setpriv', ['--pdeathsig=KILL', temporalBinary(), ...args], {
        stdio: 'ignore',
        env: { ...GO_VARIABLES, ...process.env },
      });
      if (await this.#isReady()) return;
      // It looks for free ports for its parts, and somebody else may be quicker.
      if (attempt === STARTS) throw new Error(`Cannot start Temporal: its process has ended ${STARTS} times`);
    }
  }

  /** Runs a line of shell with the `temporal` command of this server. */
  async run(line: string): Promise<void> {
    const path = `${dirname(temporalBinary())}:${process.env['PATH']}`;
    const env = { ...process.env, PATH: path, TEMPORAL_ADDRESS: this.address };
    await promisify(execFile)('sh', ['-c', line], { env });
  }

  /** It answers nobody until it is released. */
  async hold(): Promise<void> {
    await stopProcess(this.#process?.pid);
  }

  release(): void {
    this.#process?.kill('SIGCONT');
  }

  /** Ends it as a crash would. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** Loses everything that it has kept. */
  async lose(): Promise<void> {
    await this.#end('SIGKILL');
    for (const name of readdirSync(this.#folder)) rmSync(join(this.#folder, name));
  }

  async stop(): Promise<void> {
    await this.#end('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await ended;
  }

  /** False once its process has ended. */
  async #isReady(): Promise<boolean> {
    const deadline = Date.now() + START_MS;
    for (;;) {
      try {
        const connection = await Connection.connect({ address: this.address, connectTimeout: 1_000 });
        try {
          await connection.workflowService.describeNamespace({ namespace: 'default' });
          return true;
        } finally {
          await connection.close();
        }
      } catch (err) {
        if (this.#process?.exitCode !== null) return false;
        if (Date.now() > deadline) throw new Error(`Cannot start Temporal within ${START_MS} ms`, { cause: err });
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }
}

/** The newest of the tools' cache. */
function temporalBinary(): string {
  const cache = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache');
  const tools = process.env['DEVICE_MOUNTER_TOOLS'] ?? join(cache, 'device-mounter', 'tools');
  const folders = existsSync(tools) ? readdirSync(tools) : [];
  const binary = folders
    .filter((name) => name.startsWith('temporal-'))
    .toSorted()
    .map((name) => join(tools, name, 'temporal'))
    .findLast((path) => existsSync(path));
  if (binary === undefined) throw new Error(`Cannot find Temporal in ${tools}: "npm test" builds it`);
  return binary;
}

async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(PORTS.first, PORTS.last + 1);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!isFree) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}
