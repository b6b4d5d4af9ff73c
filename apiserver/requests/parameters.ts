import type { FailureCause } from '../../contract/failures.ts';

/** The query of a request, read once; problems are gathered so that all are reported together. */
export class Parameters {
  readonly #url: string;
  #read: URLSearchParams | undefined;
  readonly #known = new Set<string>();
  readonly problems: FailureCause[] = [];
  /** What the caller should know of a request that is served all the same. */
  readonly warnings: string[] = [];

  constructor(url: string) {
    this.#url = url;
  }

  /** Read when the first is asked for, which is after the review. */
  get #values(): URLSearchParams {
    const start = this.#url.indexOf('?');
    this.#read ??= new URLSearchParams(start === -1 ? '' : this.#url.slice(start + 1));
    return this.#read;
  }

  /** The value without surrounding blanks; undefined when absent or empty. Given twice with different values is a problem. */
  text(name: string): string | undefined {
    this.#known.add(name);
    const values = new Set(this.#values.getAll(name).map((value) => value.trim()));
    if (values.size > 1) this.refuse(name, [...values].join(', '), 'must be given once');
    const [value] = values;
    return value === '' ? undefined : value;
  }

  /** A whole number from 0. */
  count(name: string): number | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    if (/^\d{1,9}$/.test(value)) return Number(value);
    this.refuse(name, value, 'must be a whole number of at most 9 digits, not negative');
    return undefined;
  }

  /** `1` or `true` in any case is true; absent, `0` and `false` are false. */
  flag(name: string): boolean {
    const value = this.text(name)?.toLowerCase() ?? 'false';
    if (!['1', 'true', '0', 'false'].includes(value)) this.refuse(name, value, 'must be 1, true, 0 or false');
    return value === '1' || value === 'true';
  }

  /** One of `allowed`, as it is written there. */
  choice<const C extends string>(name: string, allowed: readonly C[]): C | undefined {
    const value = this.text(name);
    const choice = allowed.find((one) => one === value);
    if (value !== undefined && choice === undefined) this.refuse(name, value, `must be ${allowed.join(' or ')}`);
    return choice;
  }

  /** A Go duration such as `30s` or `1m0.5s`, in milliseconds; 0 as absent. */
  duration(name: string): number | undefined {
    const value = this.text(name);
    if (value === undefined || value === '0') return undefined;
    const ms = parseGoDuration(value);
    if (ms === undefined) this.refuse(name, value, 'must be a duration such as 30s or 1m');
    return ms || undefined;
  }

  /** Names of parameters that nobody has asked for. */
  unknown(): readonly string[] {
    return [...new Set(this.#values.keys())].filter((name) => !this.#known.has(name));
  }

  /** Notes what is wrong with a value. */
  refuse(field: string, value: string, rule: string): void {
    this.problems.push({
      reason: 'FieldValueInvalid',
      field,
      message: `Invalid value: ${JSON.stringify(value)}: ${rule}`,
    });
  }
}

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
};

/** Go's `time.ParseDuration` without signs; undefined when it is not one. */
function parseGoDuration(text: string): number | undefined {
  const parts = [...text.matchAll(/(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)/gy)];
  if (parts.length === 0 || parts.map(([whole]) => whole).join('') !== text) return undefined;
  return parts.reduce((sum, [, number = '0', unit = 's']) => sum + Number(number) * (UNIT_MS[unit] ?? 0), 0);
}
