import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { reconcileSchedule } from '../../contract/names.ts';
import { CLUSTER_NAME as CLUSTER } from '../../deploy/local/addresses.ts';
import { NODES } from './cluster.ts';
import { canOpen } from './exec.ts';
import { blocksOf, runBlock } from './guide.ts';
import { kubectlOk } from './kubectl.ts';
import { deviceMount, expectNothingMounted, FUSE, mountOk, slavesGone, startPod } from './pods.ts';
import { expectNoPods, removeTargets } from './targets.ts';
import { Temporal } from './temporal.ts';
import { until } from './until.ts';

const NODE = NODES[0]?.name ?? '';
const BLOCKS = blocksOf('operate-with-temporal.md').filter(({ language }) => language === 'sh');

const temporal = new Temporal();
let pod: string;
let holder: string;
/** Of the mount that the next block is about. */
let name = '';
beforeAll(async () => {
  [pod, holder] = await Promise.all([startPod(NODE), startPod(NODE)]);
});
afterAll(async () => {
  // A test that failed half-way must not leave the reconciler asleep.
  await toggled('unpause');
  await temporal.close();
  await removeTargets([pod, holder]);
  await expectNoPods();
});

const idOf = (mount: string): string => `mount/${CLUSTER}/default/${mount}`;
const run = (text: string): Promise<string> => runBlock(text, { CLUSTER, MOUNT: idOf(name), POD: pod, NODE });
const toggled = (how: 'pause' | 'unpause'): Promise<string> =>
  runBlock(`temporal schedule toggle --schedule-id device-mounter-reconcile/${CLUSTER} --${how} --reason 'test'`, {});

async function mounted(): Promise<void> {
  name = (await mountOk(pod, FUSE)).metadata.name;
}

const phase = async (): Promise<string | undefined> => (await deviceMount(name))?.status.phase;
const reaches = (wanted: string) => until(`${name} to be ${wanted}`, async () => (await phase()) === wanted);
const closed = (status: string) =>
  until(`the workflow of ${name} to be ${status}`, async () =>
    (await run(`temporal workflow list --query "WorkflowId='$MOUNT' AND ExecutionStatus='${status}'"`)).includes(name),
  );

async function released(): Promise<void> {
  await slavesGone(pod);
  await expectNothingMounted(pod);
}

interface Step {
  readonly heading: string;
  readonly before?: () => Promise<void>;
  readonly after: (output: string) => Promise<unknown>;
}

/** One for each block of the guide, in its order. */
const STEPS: readonly Step[] = [
  { heading: 'Operate mounts with Temporal', after: async () => undefined },
  {
    heading: 'See what is mounted',
    before: async () => {
      await mounted();
      await until('the list to show it', async () => (await run(BLOCKS[1]?.text ?? '')).split(name).length === 3);
    },
    after: async (output) => expect(output).toContain(idOf(name)),
  },
  {
    heading: 'Look at one mount',
    after: async (output) => {
      expect(output).toContain('"phase":"Mounted"');
      expect(output).toContain('ActivityTaskCompleted');
      expect(output).toMatch(/renew +Set the lease/);
    },
  },
  {
    heading: 'Renew a lease',
    after: () =>
      until('the lease', async () => {
        const endsAt = Date.parse((await deviceMount(name))?.status.leaseEndsAt ?? '');
        return Math.abs(endsAt - Date.now() - 3_600_000) < 60_000;
      }),
  },
  {
    heading: 'Reset a mount that is stuck',
    after: async () => {
      await reaches('Mounted');
      expect(await canOpen(pod, '/dev/fuse')).toBe(true);
    },
  },
  {
    heading: 'End a mount',
    after: async () => {
      await released();
      await closed('Canceled');
    },
  },
  {
    heading: 'End a mount',
    before: mounted,
    after: async () => {
      await released();
      await closed('Completed');
    },
  },
  {
    heading: 'End a mount',
    before: async () => {
      await mounted();
      await until('the list to show it', async () => (await run(BLOCKS[1]?.text ?? '')).includes(name));
    },
    after: async () => {
      await released();
      await closed('Canceled');
    },
  },
  {
    heading: 'Try a failed mount again',
    before: async () => {
      const inTheWay = (await mountOk(holder, FUSE)).metadata.name;
      name = (await mountOk(pod, FUSE, '&wait_second=0')).metadata.name;
      await reaches('Failed');
      await runBlock(`temporal workflow cancel --workflow-id ${idOf(inTheWay)}`, {});
      await slavesGone(holder);
    },
    after: () => reaches('Mounted'),
  },
  {
    heading: 'Terminate',
    before: async () => {
      await toggled('pause');
      // A run that has begun before would free the mount.
      const schedule = temporal.client.schedule.getHandle(reconcileSchedule(CLUSTER));
      await until('the reconciler to rest', async () => (await schedule.describe()).info.runningActions.length === 0);
    },
    after: () => closed('Terminated'),
  },
  {
    heading: 'Ask the reconciler what it would do',
    after: async (output) => {
      expect(output).toContain(name);
      expect(output).toMatch(/free/);
      expect(await canOpen(pod, '/dev/fuse')).toBe(true);
    },
  },
  {
    heading: 'Let it repair now',
    after: async (output) => {
      expect(output).toContain('reconcileMounts');
      await released();
    },
  },
];

describe('docs/guides/operate-with-temporal.md', () => {
  test('has no command that is not run here', () => {
    expect(STEPS.map(({ heading }) => heading)).toEqual(BLOCKS.map(({ heading }) => heading));
  });

  test.each(STEPS.map((step, index) => [`${index}: ${step.heading}`, step, index] as const))(
    'does what it says, block %s',
    async (_name, { before, after }, index) => {
      await before?.();
      // The first sets the variables for somebody else's cluster.
      const output = index === 0 ? '' : await run(BLOCKS[index]?.text ?? '');
      await after(output);
    },
  );
});

describe('docs/guides/external-temporal.md', () => {
  test('has a kustomization that gives its files to all three workloads, and that kube-apiserver takes', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'kustomize-'));
    try {
      const yaml = blocksOf('external-temporal.md').find(({ language }) => language === 'yaml')?.text ?? '';
      writeFileSync(join(folder, 'kustomization.yaml'), yaml);
      for (const file of ['device-mounter-apiserver.yaml', 'device-mounter-daemonset.yaml']) {
        copyFileSync(join(import.meta.dirname, '..', '..', 'deploy', file), join(folder, file));
      }
      const built = await kubectlOk(['kustomize', folder]);
      expect(built.split('name: TEMPORAL_TLS_CLIENT_KEY_PATH')).toHaveLength(4);
      expect(built).not.toMatch(/^  name: device-mounter-temporal$/m);
      await kubectlOk(['apply', '--dry-run=server', '--validate=strict', '-f', '-'], built);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
