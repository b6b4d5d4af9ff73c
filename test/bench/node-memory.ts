import { SLAVE_LABELS } from '../../contract/names.ts';
import { KernelNode } from '../kernel/node/node.ts';
import { atMost, type Figure } from './figure.ts';
import { NodeProcess } from './node-process.ts';

const CONTAINERS = 20;
const MOUNTS_EACH = 5;
/** From the first look at all containers to the figures; the process starts, loads and recovers before. */
const IDLE_MS = 20_000;

/** What the real process takes while 100 mounts are in real containers: memory, and processor time while nothing happens. */
export async function benchMemory(): Promise<readonly Figure[]> {
  const node = await KernelNode.make();
  try {
    for (let container = 0; container < CONTAINERS; container++) {
      node.target = await node.start({ cgroupVersion: 2 });
      for (let mount = 0; mount < MOUNTS_EACH; mount++) await mountOne(node, container * MOUNTS_EACH + mount);
    }
    const worker = await NodeProcess.start(node.memory.stateDir, node.deps.store.records().map(slavePodOf));
    try {
      await idle();
      const before = worker.usage;
      await idle();
      const after = worker.usage;
      const percent = ((after.cpuSeconds - before.cpuSeconds) / (IDLE_MS / 1_000)) * 100;
      if (/"level":[56]0/.test(worker.said)) throw new Error(`the node worker has problems: ${worker.said}`);
      return [
        atMost('node.100-mounts.process-rss', after.rssMiB, 'MiB', 128),
        atMost('node.100-mounts.with-helpers-rss', after.withHelpersMiB, 'MiB', 160),
        atMost('node.100-mounts.process-idle-cpu', percent, '%', 1),
      ];
    } finally {
      await worker.stop();
    }
  } finally {
    await node.stop();
  }
}

const idle = (): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, IDLE_MS);
  });

async function mountOne(node: KernelNode, index: number): Promise<void> {
  const [name, slave] = [`m${index}`, `s${index}`];
  await node.attach(node.memory.addSlave(slave, [`/dev/fuse::${index}`], name), { name });
  const record = node.deps.store.get({ namespace: 'default', name });
  if (record === undefined) throw new Error(`mount ${name} has no record`);
  // As after the slave has run for a second; there is no runtime to ask here.
  await node.deps.store.put({ ...record, confirmed: true });
}

function slavePodOf({
  mount,
  slaves,
}: {
  mount: { name: string };
  slaves: readonly { name: string; uid: string }[];
}): object {
  const [slave] = slaves;
  return {
    metadata: {
      namespace: 'default',
      name: slave?.name,
      uid: slave?.uid,
      labels: { [SLAVE_LABELS.mount]: mount.name },
      ownerReferences: [{ uid: 'web-uid' }],
    },
    spec: { nodeName: 'n1' },
    status: { phase: 'Running' },
  };
}
