import type { Outcome } from './exec.ts';

/** How open(2) of a device ends: `opened`, the name of the error, or `absent` where there is no node. */
type Answer = 'opened' | 'absent' | 'ENXIO' | 'ENODEV' | 'EPERM';

export interface Opens {
  /** By the container's own node. */
  readonly node: Answer;
  /** By a node of the same number that it makes itself: the rule alone decides. */
  readonly rule: Answer;
}

const SENTENCES: readonly (readonly [RegExp, Answer])[] = [
  [/^opened$/, 'opened'],
  [/^absent$/, 'absent'],
  // Allowed, but the kernel has no driver for that number.
  [/No such device or address$/, 'ENXIO'],
  // The same by the driver of the major.
  [/No such device$/, 'ENODEV'],
  [/Operation not permitted$/, 'EPERM'],
];

/** A failed redirection ends the shell, so each open runs in a subshell. */
const LOOK = 'look() { if test -c "$1"; then (exec 3<>"$1" && echo opened) 2>&1; else echo absent; fi; }';

/** Opens each device for reading and writing in a container, whose shell `run` is. Throws for other answers than these. */
export async function opensOf(
  run: (line: string) => Promise<Pick<Outcome, 'stdout' | 'stderr'>>,
  devices: Readonly<Record<string, readonly [major: number, minor: number]>>,
): Promise<Readonly<Record<string, Opens>>> {
  const paths = Object.keys(devices);
  const looks = Object.entries(devices).map(
    ([path, numbers]) => `look ${path}; mknod /tmp/own c ${numbers.join(' ')}; look /tmp/own; rm -f /tmp/own`,
  );
  const { stdout, stderr } = await run([LOOK, 'rm -f /tmp/own', ...looks].join('\n'));
  const said = stdout.trim().split('\n');
  if (said.length !== 2 * paths.length) throw new Error(`Cannot tell how opens end: ${stdout}${stderr}`);
  return Object.fromEntries(
    paths.map((path, index) => [path, { node: answerOf(said[2 * index]), rule: answerOf(said[2 * index + 1]) }]),
  );
}

function answerOf(said = ''): Answer {
  const known = SENTENCES.find(([pattern]) => pattern.test(said));
  if (known === undefined) throw new Error(`Cannot tell how an open ends: ${said}`);
  return known[1];
}
