import { parseArgs } from 'node:util';

/** One setting of a process. Its flag is `--<name>`; a flag wins over the environment, the environment over the default. */
export interface Option {
  /** Environment variable with the same meaning. */
  readonly env?: string;
  /** Absent: the setting may stay unset, unless it is `required`. */
  readonly default?: string;
  readonly required?: boolean;
  readonly help: string;
  /** Name of the value in the help, with its unit, for example `seconds`. */
  readonly value: string;
  /** What is wrong with a value, as the end of the sentence "Cannot use … : it must be …". */
  readonly check?: (value: string) => string | undefined;
}

export type Options = Readonly<Record<string, Option>>;

type Settings<O extends Options> = {
  readonly [Name in keyof O]: O[Name] extends { readonly default: string } | { readonly required: true }
    ? string
    : string | undefined;
};

/** The settings, or all problems at once. `help` is set when `--help` was given. */
export type Reading<O extends Options> =
  | { readonly kind: 'settings'; readonly settings: Settings<O> }
  | { readonly kind: 'help' }
  | { readonly kind: 'problems'; readonly problems: readonly string[] };

/** Reads `--name value`, `--name=value` and the environment. Pure. */
export function readOptions<O extends Options>(
  options: O,
  argv: readonly string[],
  env: NodeJS.ProcessEnv,
): Reading<O> {
  if (argv.includes('--help')) return { kind: 'help' };
  const problems: string[] = [];
  const flags = readFlags(options, argv, problems);
  const settings: Record<string, string | undefined> = {};
  for (const [name, option] of Object.entries(options)) {
    const fromEnv = option.env === undefined ? undefined : env[option.env];
    const value = flags.get(name) ?? (fromEnv === '' ? undefined : fromEnv) ?? option.default;
    if (value === undefined && option.required) {
      problems.push(
        `Cannot start without --${name}${option.env === undefined ? '' : ` (or ${option.env})`}: ${option.help}`,
      );
    }
    const wrong = value === undefined ? undefined : option.check?.(value);
    if (wrong !== undefined) problems.push(`Cannot use "${value}" for --${name}: it must be ${wrong}`);
    settings[name] = value;
  }
  return problems.length > 0 ? { kind: 'problems', problems } : { kind: 'settings', settings: settings as Settings<O> };
}

function readFlags(options: Options, argv: readonly string[], problems: string[]): ReadonlyMap<string, string> {
  const known = Object.fromEntries(Object.keys(options).map((name) => [name, { type: 'string' } as const]));
  const how = { strict: false, allowPositionals: true, tokens: true } as const;
  const flags = new Map<string, string>();
  for (const token of parseArgs({ args: [...argv], options: known, ...how }).tokens) {
    if (token.kind !== 'option' || !Object.hasOwn(options, token.name)) {
      problems.push(`Cannot understand "${argv[token.index]}": see --help`);
    } else if (token.value === undefined) problems.push(`Cannot use --${token.name} without a value`);
    else if (flags.has(token.name)) problems.push(`Cannot use --${token.name} twice`);
    else flags.set(token.name, token.value);
  }
  return flags;
}

/** The text of `--help`. */
export function helpText(summary: string, options: Options): string {
  const lines = Object.entries(options).map(([name, option]) => {
    const notes = [
      ...(option.default === undefined ? [] : [`default ${option.default === '' ? '""' : option.default}`]),
      ...(option.required ? ['required'] : []),
      ...(option.env === undefined ? [] : [`environment ${option.env}`]),
    ];
    return `  --${name} <${option.value}>\n      ${option.help}${notes.length > 0 ? ` (${notes.join('; ')})` : ''}`;
  });
  return `${summary}\n\n${lines.join('\n')}\n`;
}

/** The settings of a process that is starting. Ends it after `--help`, or with status 2 and all problems. */
export function settingsOrExit<O extends Options>(summary: string, options: O): Settings<O> {
  const reading = readOptions(options, process.argv.slice(2), process.env);
  if (reading.kind === 'settings') return reading.settings;
  if (reading.kind === 'help') {
    process.stdout.write(helpText(summary, options));
    process.exit(0);
  }
  process.stderr.write(`${reading.problems.join('\n')}\n`);
  process.exit(2);
}

/** For `check`: a whole number within bounds. */
export function wholeNumber(min: number, max: number): (value: string) => string | undefined {
  return (value) =>
    /^\d+$/.test(value) && Number(value) >= min && Number(value) <= max
      ? undefined
      : `a whole number from ${min} to ${max}`;
}
