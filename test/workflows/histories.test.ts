import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, jest, test } from '@jest/globals';
import type { WorkflowHandle } from '@temporalio/client';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { unmountWorkflowId } from '../../contract/names.ts';
import { SIGNALS } from '../../contract/workflows.ts';
import { BUNDLE_FILE } from './bundle-file.ts';
import { Harness } from './harness.ts';
import { beforeNewRun, lengthen, SHORT_HISTORIES } from './new-run.ts';
import { eventually } from './outcome.ts';
import { begin, waits } from './queue.ts';
import { FUSE, mountRequest, NAMESPACE, signed, unmountRequest } from './requests.ts';

jest.setTimeout(60_000);

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

/** Of mounts that go on in a new run, with nothing, a signal and a Cancel just before it. */
async function runNewRuns(harness: Harness): Promise<void> {
  for (const pod of ['shape-i', 'shape-j', 'shape-k']) {
    await harness.addNode(pod, 1);
    await harness.mount(signed(mountRequest(pod, { leaseSeconds: 600 })));
    await eventually(() => harness.eventsOf(pod).length === 1);
  }
  const { runId } = await harness.handle('shape-i-m').describe();
  await lengthen(harness, 'shape-i-m');
  await eventually(async () => (await harness.handle('shape-i-m').describe()).runId !== runId);
  await harness.unmount(signed(unmountRequest('shape-i')));
  await harness.handle('shape-i-m').result();
  await beforeNewRun(harness, 'shape-j-m', () => harness.handle('shape-j-m').signal(SIGNALS.targetGone));
  await beforeNewRun(harness, 'shape-k-m', () => harness.handle('shape-k-m').cancel());
}

/** Has every shape run once. Answers workflow IDs by the name of their file. */
async function runShapes(harness: Harness): Promise<Readonly<Record<string, string>>> {
  const unmount = signed(unmountRequest('shape-a'));
  await harness.addNode('shape-a', 1);
  await harness.mount(signed(mountRequest('shape-a', { leaseSeconds: 600 })));
  await harness.unmount(unmount);
  await harness.handle('shape-a-m').result();
  await harness.addNode('shape-b', 1);
  await harness.mount(signed(mountRequest('shape-b')));
  await harness.handle('shape-b-m').cancel();
  await harness.addNode('shape-c', 0);
  await harness.mount(signed(mountRequest('shape-c'))).catch(() => undefined);
  await harness.addNode('shape-d', 1);
  await harness.mount(signed(mountRequest('shape-d', { queue: true })));
  harness.cluster.removePod({ namespace: NAMESPACE, name: 'shape-d' });
  await harness.addNode('shape-e', 1);
  await harness.mount(signed(mountRequest('shape-e')));
  await harness.handle('shape-e-m').terminate();
  await harness.addNode('shape-l', 0);
  const queued = signed(mountRequest('shape-l', { queue: true }));
  await begin(harness, queued);
  await waits(harness, 'shape-l-m');
  harness.cluster.addDevices('shape-l', FUSE, 1);
  await harness.mount(queued);
  await harness.handle('shape-l-m').cancel();
  const tun = 'hostdev.k8s.io/dev_net_tun';
  const unmountOne = signed(unmountRequest('shape-f', { device: '/dev/tun' }));
  await harness.addNode('shape-f', 1);
  harness.cluster.addDevices('shape-f', tun, 1);
  await harness.mount(signed(mountRequest('shape-f', { resources: { [FUSE]: '1', [tun]: '1' }, split: true })));
  await harness.unmount(unmountOne);
  await eventually(() => harness.eventsOf('shape-f').length === 2);
  await harness.unmount(signed(unmountRequest('shape-f')));
  await harness.handle('shape-f-m').result();
  await harness.addNode('shape-g', 1);
  await harness.mount(signed(mountRequest('shape-g')));
  await harness
    .handle('shape-g-m')
    .signal(SIGNALS.driftHealed, { at: '2026-01-01T00:00:00Z', what: 'the rule was missing' });
  await eventually(() => harness.eventsOf('shape-g').includes('MendDevice'));
  await harness.handle('shape-g-m').cancel();
  await harness.addNode('shape-h', 1);
  await harness.mount(signed(mountRequest('shape-h')));
  await harness.handle('shape-h-m').signal(SIGNALS.release, { by: 'jane', reason: 'done' });
  await harness.handle('shape-h-m').result();
  await runNewRuns(harness);
  const reconcile = 'reconcile/shape';
  await harness.reconcile({}, reconcile);
  const names = ['b', 'c', 'd', 'g', 'j', 'k', 'l'].map((shape) => `shape-${shape}-m`);
  await eventually(async () => {
    const statuses = await Promise.all(names.map((name) => harness.statusOf(name)));
    return !statuses.includes('RUNNING');
  });
  const id = (name: string): string => harness.handle(name).workflowId;
  return {
    'mount-unmounted': id('shape-a-m'),
    'mount-canceled': id('shape-b-m'),
    'mount-refused': id('shape-c-m'),
    'mount-queued-target-gone': id('shape-d-m'),
    unmount: unmountWorkflowId(NAMESPACE, unmount.request.id),
    'mount-mended': id('shape-g-m'),
    'mount-released': id('shape-h-m'),
    'mount-new-run': id('shape-i-m'),
    'mount-signal-before-new-run': id('shape-j-m'),
    'mount-cancel-before-new-run': id('shape-k-m'),
    'reconcile-freed': reconcile,
    'mount-queued': id('shape-l-m'),
    'mount-split': id('shape-f-m'),
    'unmount-device': unmountWorkflowId(NAMESPACE, unmountOne.request.id),
  };
}

/** Without what tells of the machine that it was recorded on. */
function cleaned(key: string, value: unknown): unknown {
  if (key === 'identity') return 'worker';
  if (key === 'stackTrace') return '';
  // In the names of sticky task queues.
  return typeof value === 'string' ? value.replaceAll(hostname(), 'host') : value;
}

async function record(): Promise<void> {
  const harness = await Harness.start(SHORT_HISTORIES);
  try {
    mkdirSync(FOLDER, { recursive: true });
    for (const [name, workflowId] of Object.entries(await runShapes(harness))) {
      const file = join(FOLDER, `${name}.json`);
      if (existsSync(file)) continue;
      const history = await harness.client.workflow.getHandle(workflowId).fetchHistory();
      const text = JSON.stringify(
        History.toObject(history, { longs: String, enums: String, bytes: String }),
        cleaned,
        1,
      );
      writeFileSync(file, `${text}\n`);
    }
  } finally {
    await harness.stop();
  }
}

beforeAll(async () => {
  if (UPDATES) await record();
  else Runtime.install({ logger: new DefaultLogger('ERROR', () => undefined) });
}, 120_000);

describe('a workflow that was begun by an earlier release', () => {
  test('is gone on with by this one: every committed history replays', async () => {
    const files = readdirSync(FOLDER).filter((name) => name.endsWith('.json'));
    expect(files.length).toBeGreaterThan(0);
    const code = readFileSync(BUNDLE_FILE, 'utf8');
    const failed: string[] = [];
    for (const file of files) {
      const history = History.fromObject(JSON.parse(readFileSync(join(FOLDER, file), 'utf8')));
      const workflowId = workflowIdOf(file, history.events?.[0]);
      try {
        await Worker.runReplayHistory({ workflowBundle: { code } }, history, workflowId);
      } catch (err) {
        failed.push(`${file}: ${err instanceof Error ? err.message : String(err)}`);
      }
    }
    expect(failed).toEqual([]);
  });
});

/** A mount's workflow looks at its own ID. */
function workflowIdOf(file: string, first: NonNullable<History['events']>[number] | undefined): string {
  return first?.workflowExecutionStartedEventAttributes?.workflowId ?? file;
}
