import { TEMPORAL_HOST } from '../../../deploy/local/addresses.ts';
import { cgroupHost } from '../../../deploy/local/cgroup.ts';
import { firewallObstacles } from '../../../deploy/local/firewall.ts';
import { addAddresses, removeAddresses } from '../../../deploy/local/machine.ts';
import { createNetwork, removeNetwork, TEMPORAL_NETWORK } from '../../../deploy/local/networks.ts';
import { planNodes } from '../../../deploy/local/node/plan.ts';
import { obstacles } from '../../../deploy/local/obstacles.ts';
import { allowForwarding, readSysctls, writeSysctls } from '../../../deploy/local/sysctls.ts';

/** What a start asks, run in a network of a test: `obstacles.ts before|after`; prints the sentences as JSON. */
const nodes = planNodes(3, cgroupHost());

async function afterNetworks(): Promise<string[]> {
  const before = readSysctls();
  await addAddresses(nodes);
  allowForwarding();
  await createNetwork(TEMPORAL_NETWORK, TEMPORAL_HOST);
  try {
    return await firewallObstacles();
  } finally {
    await removeNetwork(TEMPORAL_NETWORK);
    await removeAddresses(nodes);
    writeSysctls(before);
  }
}

console.log(JSON.stringify(await (process.argv[2] === 'before' ? obstacles(nodes) : afterNetworks())));
