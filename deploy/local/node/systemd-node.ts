import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { identityOf, livePid, writeIdentity } from '../identity.ts';
import { runSync } from '../run.ts';
import { type NodeServer, Server } from '../server.ts';
import type { StatePaths } from '../state.ts';
import type { ToolFolders } from '../tools.ts';
import { until } from '../wait.ts';
import type { NodePaths } from './paths.ts';
import type { NodePlan } from './plan.ts';
import { initScript, nodeRoot, type UnitSpec, unitFiles, unitFolder } from './systemd-files.ts';

/** A systemd in namespaces of its own, as the first process of a node. */
export class NestedSystemd {
  readonly #plan: NodePlan;
  readonly #paths: NodePaths;
  readonly #state: StatePaths;
  readonly #starter: Server;
  readonly #pidFile: string;

  constructor(plan: NodePlan, paths: NodePaths, state: StatePaths) {
    this.#plan = plan;
    this.#paths = paths;
    this.#state = state;
    const namespaces = ['--mount', '--pid', '--uts', '--ipc', '--cgroup', '--fork'];
    // A cgroup namespace shows the cgroup of its first process as the root.
    const enter = 'echo $$ > "$0/cgroup.procs" && exec unshare "$@"';
    this.#starter = new Server(state, {
      name: `${plan.name}-systemd`,
      command: 'sh',
      args: ['-c', enter, plan.cgroupRoot, ...namespaces, 'sh', join(paths.root, 'init.sh')],
    });
    this.#pidFile = join(state.pids, `${plan.name}-init`);
  }

  /** Starts it and waits until it takes orders. */
  async start(tools: ToolFolders, units: readonly UnitSpec[], signal: AbortSignal): Promise<void> {
    const folder = unitFolder(this.#paths);
    for (const needed of [folder, this.#plan.cgroupRoot]) mkdirSync(needed, { recursive: true });
    for (const [name, text] of Object.entries(unitFiles(units))) writeFileSync(join(folder, name), text);
    writeFileSync(join(this.#paths.root, 'init.sh'), initScript(nodeRoot(this.#state.root, this.#paths, tools)));
    this.#starter.start();
    const options = { timeoutMs: 30_000, signal, hopeless: () => this.#starter.hopeless() };
    const pid = await until('the first process of node-3', () => this.#childOfStarter(), options);
    const identity = identityOf(pid);
    if (identity !== undefined) writeIdentity(this.#pidFile, identity);
    await until('systemd of node-3 to take orders', () => this.#answers(), { ...options, everyMs: 50 });
  }

  #childOfStarter(): number | undefined {
    const parent = this.#starter.pid();
    if (parent === undefined) return undefined;
    const child = Number(readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8').trim());
    return child > 0 ? child : undefined;
  }

  #answers(): boolean {
    try {
      this.#run('systemctl', ['is-active', 'dbus.service']);
      return true;
    } catch {
      return false;
    }
  }

  /** Pid on the host of the node's process 1. Throws when it has ended. */
  pid(): number {
    const pid = livePid(this.#pidFile);
    if (pid === undefined) throw new Error(`Cannot enter ${this.#plan.name}: its systemd has ended`);
    return pid;
  }

  /** Arguments for nsenter that lead into the node. */
  enter(): string[] {
    return [`--target=${this.pid()}`, '--mount', '--pid', '--uts', '--ipc', '--cgroup', '--'];
  }

  #run(command: string, args: readonly string[]): string {
    return runSync('nsenter', [...this.enter(), command, ...args]);
  }

  systemctl(...args: readonly string[]): string {
    return this.#run('systemctl', args);
  }

  /** Pid on the host of the process called `name` in a unit; the unit's other processes are shims. */
  pidIn(unit: string, name: string): number | undefined {
    try {
      const procs = readFileSync(join(this.#plan.cgroupRoot, 'system.slice', unit, 'cgroup.procs'), 'utf8');
      const pids = procs.trim().split('\n').map(Number);
      return pids.find((pid) => readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === name);
    } catch {
      // No such unit, or it ended meanwhile.
      return undefined;
    }
  }
}

/** A program of a node that is a unit of its systemd. */
export class UnitServer implements NodeServer {
  readonly name: string;
  readonly logFile: string;
  readonly #systemd: NestedSystemd;
  readonly #unit: string;
  readonly #process: string;

  constructor(systemd: NestedSystemd, node: string, spec: UnitSpec) {
    this.name = `${node}-${spec.name}`;
    this.logFile = spec.logFile;
    this.#systemd = systemd;
    this.#unit = `${spec.name}.service`;
    this.#process = spec.name;
  }

  pid(): number | undefined {
    return this.#systemd.pidIn(this.#unit, this.#process);
  }

  start(): void {
    this.#systemd.systemctl('start', '--no-block', this.#unit);
  }

  async stop(signal: NodeJS.Signals): Promise<void> {
    const pid = this.pid();
    if (pid === undefined) return;
    process.kill(pid, signal);
    // Until systemd has noticed, its order to start does nothing.
    const ended = (): boolean => this.pid() === undefined && ['failed', 'inactive'].includes(this.#activeState());
    await until(`${this.name} to end`, ended, { timeoutMs: 30_000, everyMs: 5 });
  }

  #activeState(): string {
    return this.#systemd.systemctl('show', '--property=ActiveState', '--value', this.#unit).trim();
  }

  hopeless(): string | undefined {
    return this.#activeState() === 'failed' ? `${this.name} has failed, see ${this.logFile}` : undefined;
  }
}
