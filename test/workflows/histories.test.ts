import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import type { HistoryAndWorkflowId, WorkflowHandle } from '@temporalio/client';
import { BUNDLE_FILE } from './bundle-file.ts';
import { Harness } from './harness.ts';
import { SHORT_HISTORIES } from './new-run.ts';
import { replays } from './replays.ts';
import { SHAPES } from './shapes.ts';

type History = Awaited<ReturnType<WorkflowHandle['fetchHistory']>>;

interface HistoryType {
  fromObject(json: object): History;
  toObject(history: History, options: object): object;
}

/**
 * The SDK's own type of histories. Its conversions from and to JSON (1.24.0) fail where npm installs several copies of
 * protobufjs.
 */
const { temporal } = createRequire(createRequire(import.meta.url).resolve('@temporalio/client'))(
  '@temporalio/proto',
) as { readonly temporal: { readonly api: { readonly history: { readonly v1: { readonly History: HistoryType } } } } };
const { History } = temporal.api.history.v1;

const FOLDER = join(import.meta.dirname, 'histories');

/** `UPDATE_HISTORIES=1` records the shapes that have no file yet: mounts in a cluster may have the others. */
const UPDATES = process.env['UPDATE_HISTORIES'] === '1';

/** Without what tells of the machine that it was recorded on. */
function cleaned(key: string, value: unknown): unknown {
  if (key === 'identity') return 'worker';
  if (key === 'stackTrace') return '';
  // In the names of sticky task queues.
  return typeof value === 'string' ? value.replaceAll(hostname(), 'host') : value;
}

async function record(): Promise<void> {
  const harness = await Harness.start({ settings: SHORT_HISTORIES });
  try {
    mkdirSync(FOLDER, { recursive: true });
    for (const [name, run] of Object.entries(SHAPES)) {
      const file = join(FOLDER, `${name}.json`);
      if (existsSync(file)) continue;
      const workflowId = await run(harness, `of-${name}`);
      const history = await harness.client.workflow.getHandle(workflowId).fetchHistory();
      const json = History.toObject(history, { longs: String, enums: String, bytes: String });
      writeFileSync(file, `${JSON.stringify(json, cleaned, 1)}\n`);
    }
  } finally {
    await harness.stop();
  }
}

if (UPDATES) beforeAll(record, 120_000);

describe('a workflow that was begun by an earlier release', () => {
  test('is gone on with by this one: there is a history of every shape, and each replays', async () => {
    const files = readdirSync(FOLDER);
    expect(files.toSorted()).toEqual(
      Object.keys(SHAPES)
        .map((name) => `${name}.json`)
        .toSorted(),
    );
    const code = readFileSync(BUNDLE_FILE, 'utf8');
    const replayed: string[] = [];
    for await (const { workflowId, problem } of replays(code, recorded(files)))
      replayed.push(`${workflowId}: ${problem ?? 'replays'}`);
    expect(replayed).toHaveLength(files.length);
    expect(replayed.filter((line) => !line.endsWith(': replays'))).toEqual([]);
  });
});

async function* recorded(files: readonly string[]): AsyncGenerator<HistoryAndWorkflowId> {
  for (const file of files) {
    const history = History.fromObject(JSON.parse(readFileSync(join(FOLDER, file), 'utf8')));
    yield { workflowId: workflowIdOf(file, history.events?.[0]), history };
  }
}

/** A mount's workflow looks at its own ID. */
function workflowIdOf(file: string, first: NonNullable<History['events']>[number] | undefined): string {
  return first?.workflowExecutionStartedEventAttributes?.workflowId ?? file;
}
