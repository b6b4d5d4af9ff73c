import { readFileSync } from 'node:fs';
import type { Logger } from 'pino';
import { parseConfigFile } from './config-file.ts';
import { doublesIn, type HostDev } from './devs.ts';
import type { PluginMetrics } from './metrics.ts';

/** What to offer: the devices of the command line, and those of a file that may change at any time. */
export class ConfigSource {
  readonly #fixed: readonly HostDev[];
  readonly #file: string | undefined;
  readonly #log: Logger;
  readonly #metrics: PluginMetrics;
  #content: string | undefined;
  #good: readonly HostDev[] | undefined;
  #problem: string | undefined;

  constructor(fixed: readonly HostDev[], file: string | undefined, log: Logger, metrics: PluginMetrics) {
    this.#fixed = fixed;
    this.#file = file;
    this.#log = log;
    this.#metrics = metrics;
  }

  /** Why nothing of the file has ever been offered. A file that was good once goes on being offered as it was then. */
  get problem(): string | undefined {
    return this.#file === undefined || this.#good !== undefined ? undefined : (this.#problem ?? 'it was not read yet');
  }

  /** What is wrong with the file now, whatever is still offered. */
  get fault(): string | undefined {
    if (this.#problem === undefined) return undefined;
    const kept = this.#good === undefined ? 'nothing of it is offered' : 'the last good one stays in force';
    return `Cannot use the configuration, ${kept}: ${this.#problem}`;
  }

  /** Reads the file again: a ConfigMap's volume is exchanged by links, which file notifications see as something else. */
  look(): readonly HostDev[] {
    if (this.#file !== undefined) this.#read(this.#file);
    return [...this.#fixed, ...(this.#good ?? [])];
  }

  #read(file: string): void {
    let content: string;
    try {
      content = readFileSync(file, 'utf8');
    } catch (err) {
      this.#content = undefined;
      this.#report('unreadable', [err instanceof Error ? err.message : String(err)]);
      return;
    }
    if (content === this.#content) return;
    this.#content = content;
    const { devs, problems } = parseConfigFile(content);
    const all = [...problems, ...(problems.length === 0 ? doublesIn([...this.#fixed, ...devs]) : [])];
    if (all.length > 0) {
      this.#report('refused', all);
      return;
    }
    this.#good = devs;
    this.#problem = undefined;
    this.#metrics.configRead('accepted');
    this.#log.info({ file, resources: devs.map(({ resource }) => resource) }, 'the configuration is in force');
  }

  #report(result: 'refused' | 'unreadable', problems: readonly string[]): void {
    const problem = problems.join('; ');
    if (problem === this.#problem) return;
    this.#problem = problem;
    this.#metrics.configRead(result);
    this.#log.error({ file: this.#file }, this.fault);
  }
}
