import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { forgetIdentity, identityOf, livePid, writeIdentity } from './identity.ts';
import type { StatePaths } from './state.ts';
import { until } from './wait.ts';

/** How to start one long-running program of the cluster. */
export interface ServerSpec {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** File of the mount namespace to run in; ours when left out. */
  readonly mountNamespace?: string;
  /** File of the network namespace to run in; the machine's when left out. */
  readonly networkNamespace?: string;
  /** For one that everything else waits for: it gets the processors before others. */
  readonly isFirst?: boolean;
}

/** Set for every server and inherited by what it starts, so that a sweep finds them even where a pid file was lost. */
export const OWNER_VARIABLE = 'DEVICE_MOUNTER_LOCAL_CLUSTER';

/** For the servers, which are all written in Go: processor time is scarce on a small machine, and memory is not, up to a point. */
export const GO_VARIABLES = { GOGC: '400', GOMEMLIMIT: '1GiB' } as const;

/** Of 2.4 times the weight of other processes; sched(7). With much more, node workers would be late to renew their Leases. */
const FIRST_NICE = -4;

/** What a test or the start does with a program of the cluster, however it is run. */
export interface NodeServer {
  readonly name: string;
  readonly logFile: string;
  /** On the host; `undefined` when it does not run. */
  pid(): number | undefined;
  start(): void;
  /** Sends `signal` to it, not to what it started, and waits until it is gone. */
  stop(signal: NodeJS.Signals): Promise<void>;
  /** Why it can not become ready any more. */
  hopeless(): string | undefined;
}

/** A program of the cluster: it outlives the process that started it and is known by its pid file. */
export class Server implements NodeServer {
  readonly name: string;
  readonly logFile: string;
  readonly #spec: ServerSpec;
  readonly #root: string;
  readonly #pidFile: string;

  constructor(paths: StatePaths, spec: ServerSpec) {
    this.name = spec.name;
    this.#spec = spec;
    this.#root = paths.root;
    this.#pidFile = join(paths.pids, spec.name);
    this.logFile = join(paths.log, `${spec.name}.log`);
  }

  /** `undefined` when it does not run. */
  pid(): number | undefined {
    return livePid(this.#pidFile);
  }

  /** Starts it in a session of its own, its output appended to `logFile`. Does nothing when it runs. */
  start(): void {
    if (this.pid() !== undefined) return;
    mkdirSync(join(this.logFile, '..'), { recursive: true });
    const log = openSync(this.logFile, 'a');
    const { command, args, env, mountNamespace, networkNamespace, isFirst = false } = this.#spec;
    // nsenter and nice replace themselves by the command, so the pid is the server's own.
    const namespaces = [
      ...(mountNamespace === undefined ? [] : [`--mount=${mountNamespace}`]),
      ...(networkNamespace === undefined ? [] : [`--net=${networkNamespace}`]),
    ];
    const enter = namespaces.length === 0 ? [] : ['nsenter', ...namespaces, '--'];
    const priority = isFirst ? ['nice', `--adjustment=${FIRST_NICE}`] : [];
    const [program = command, ...rest] = [...enter, ...priority, command, ...args];
    const child = spawn(program, rest, {
      cwd: '/',
      detached: true,
      stdio: ['ignore', log, log],
      env: { ...GO_VARIABLES, ...process.env, ...env, [OWNER_VARIABLE]: this.#root },
    });
    // Said by the wait for its readiness, with the log.
    child.once('error', () => undefined);
    child.unref();
    closeSync(log);
    if (child.pid !== undefined && isFirst) putFirst(child.pid);
    const identity = child.pid === undefined ? undefined : identityOf(child.pid);
    if (identity !== undefined) writeIdentity(this.#pidFile, identity);
  }

  /** Sends `signal` and waits until it is gone; a server that does not run is fine. Throws when it stays for 30 s. */
  async stop(signal: NodeJS.Signals): Promise<void> {
    const pid = this.pid();
    if (pid !== undefined) {
      process.kill(pid, signal);
      await until(`${this.name} to end`, () => this.pid() === undefined, { timeoutMs: 30_000, everyMs: 5 });
    }
    forgetIdentity(this.#pidFile);
  }

  /** For `until`: why it can not become ready any more. */
  hopeless(): string | undefined {
    if (this.pid() !== undefined) return undefined;
    return `${this.name} has ended, see ${this.logFile}\n${this.#lastLines(12)}`;
  }

  #lastLines(count: number): string {
    try {
      return readFileSync(this.logFile, 'utf8').trimEnd().split('\n').slice(-count).join('\n');
    } catch {
      return '';
    }
  }
}

/** Where the kernel shares the processors among sessions, a nice value counts within its session only; sched(7), "The autogroup feature". */
function putFirst(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/autogroup`, String(FIRST_NICE));
  } catch {
    // Not every kernel has it, and not every root may; then it is slower.
  }
}
