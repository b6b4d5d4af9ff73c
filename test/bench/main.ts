import { benchControl } from './control.ts';
import type { Figure } from './figure.ts';
import { benchNode } from './node.ts';
import { type Options, parseOptions, USAGE } from './options.ts';
import { benchSurvey } from './survey.ts';

/** `npm run bench -- <name>...`: measures, prints one line per figure, and fails when a goal is missed. */
const BENCHES: Readonly<Record<string, (options: Options) => Promise<readonly Figure[]>>> = {
  node: benchNode,
  control: () => benchControl(),
  survey: benchSurvey,
  // These look for a running cluster as soon as they are loaded.
  mount: async (options) => (await import('./mount.ts')).benchMount(options),
  trace: async (options) => (await import('./trace.ts')).benchTrace(options),
  list: async () => (await import('./list.ts')).benchList(),
  memory: async () => (await import('./memory.ts')).benchMemory(),
};

const { names, ...options } = optionsOrExit();
let missed = false;
for (const name of names) {
  for (const figure of (await BENCHES[name]?.(options)) ?? []) {
    missed ||= !figure.ok;
    console.log(options.json ? JSON.stringify(figure) : lineOf(figure));
  }
}
process.exitCode = missed ? 1 : 0;

function optionsOrExit(): ReturnType<typeof parseOptions> {
  try {
    const parsed = parseOptions(process.argv.slice(2));
    if (parsed.names.length > 0 && parsed.names.every((name) => Object.hasOwn(BENCHES, name))) return parsed;
  } catch (err) {
    console.error(err instanceof Error ? err.message : err);
  }
  console.error(`Usage: npm run bench -- <${Object.keys(BENCHES).join('|')}>... ${USAGE}`);
  process.exit(2);
}

function lineOf({ name, value, unit, goal, ok }: Figure): string {
  const verdict = goal === '' ? '' : `${goal} ${ok ? 'ok' : 'MISSED'}`;
  return `${name.padEnd(56)}${`${value} ${unit}`.padStart(14)}   ${verdict}`;
}
