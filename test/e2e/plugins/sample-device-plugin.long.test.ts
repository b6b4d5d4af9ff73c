import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import type { Server } from '../../../deploy/local/server.ts';
import { SAMPLE_DEVICE_PLUGIN } from '../../../deploy/local/tools/table.ts';
import { type DeviceState, deviceState } from '../device-state.ts';
import { failureIn, messageOf, send } from '../kube.ts';
import { filesOf, nodeAt, nodeObject } from '../nodes.ts';
import { pathOf, slavesGone } from '../pods.ts';
import { expectNoPods, Targets } from '../targets.ts';
import { until } from '../until.ts';
import { BUILD_TIMEOUT_MS, foreignServer } from './foreign.ts';

/** Both are the plugin's own. */
const RESOURCE = 'example.com/resource';
const IDS = ['Dev-1', 'Dev-2'];

const node = nodeAt(0);
const targets = new Targets();
let plugin: Server | undefined;
let pod: string;
/** Of its container, without any device. */
let before: DeviceState;

beforeAll(async () => {
  pod = await targets.start(node.name);
  before = await deviceState(pod);
});

afterEach(async () => {
  await plugin?.stop('SIGTERM');
  await until('the node to offer no more', async () => (await offered()) === 0);
  for (const id of IDS) rmSync(join(filesOf(node), 'tmp', id), { force: true });
});

afterAll(async () => {
  await targets.remove();
  await expectNoPods();
});

const offered = async (): Promise<number> => Number((await nodeObject(node.name))?.status.allocatable[RESOURCE] ?? 0);

test.each([
  ['that grants a mount only', {}, /has granted no device node, only mount \/tmp\/Dev-[12]/],
  [
    'whose CDI spec has its node outside of /dev',
    { CDI_ENABLED: '1' },
    /its device plugin names \/tmp\/CDI-Dev-[12] \(b 1:[01] rwm\), the running slave has none/,
  ],
])(
  "Kubernetes' sample device plugin, %s, is refused in words that say what it grants",
  async (_name, env, message) => {
    plugin = await foreignServer(node, SAMPLE_DEVICE_PLUGIN, [], env);
    plugin.start();
    await until('the node to offer its devices', async () => (await offered()) === IDS.length);
    const body = { resources: { [RESOURCE]: '1' } };
    const refused = await send('PUT', pathOf(pod, 'mount', '&wait_second=30', 'GENERIC'), body);
    expect([refused.status, failureIn(refused)]).toEqual([403, 'NotAllocated']);
    expect(messageOf(refused)).toMatch(message);
    await slavesGone(pod);
    expect(await deviceState(pod)).toEqual(before);
  },
  BUILD_TIMEOUT_MS,
);
