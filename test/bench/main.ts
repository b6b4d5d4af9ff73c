import { benchControl } from './control.ts';
import type { Figure } from './figure.ts';
import { benchNode } from './node.ts';
import { benchSurvey } from './survey.ts';

/** `npm run bench -- <name>... [--json]`: measures, prints one line per figure, and fails when a goal is missed. */
const BENCHES: Readonly<Record<string, () => Promise<readonly Figure[]>>> = {
  node: benchNode,
  control: () => benchControl(),
  survey: benchSurvey,
  // These look for a running cluster as soon as they are loaded.
  mount: async () => (await import('./mount.ts')).benchMount(),
  memory: async () => (await import('./memory.ts')).benchMemory(),
};

const words = process.argv.slice(2);
const json = words.includes('--json');
const names = words.filter((word) => word !== '--json');
const unknown = names.filter((name) => !Object.hasOwn(BENCHES, name));
if (names.length === 0 || unknown.length > 0) {
  console.error(`Usage: npm run bench -- <${Object.keys(BENCHES).join('|')}>... [--json]`);
  process.exit(2);
}

let missed = false;
for (const name of names) {
  for (const figure of (await BENCHES[name]?.()) ?? []) {
    missed ||= !figure.ok;
    console.log(json ? JSON.stringify(figure) : lineOf(figure));
  }
}
process.exitCode = missed ? 1 : 0;

function lineOf({ name, value, unit, goal, ok }: Figure): string {
  const verdict = goal === '' ? '' : `${goal} ${ok ? 'ok' : 'MISSED'}`;
  return `${name.padEnd(44)}${`${value} ${unit}`.padStart(14)}   ${verdict}`;
}
