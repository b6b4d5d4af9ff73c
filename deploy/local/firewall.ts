import { CONTROL_ADDRESS, POD_RANGE, PORTS, PROBE_ADDRESS, TEMPORAL_HOST, TEMPORAL_PORTS } from './addresses.ts';
import { createNetwork, networkFile, removeNetwork } from './networks.ts';
import { run } from './run.ts';

const PROBE = networkFile('dm-probe');
/** A packet needs microseconds; a dropped one is sent again after a second. */
const ANSWER_MS = 2_500;

/** Ends with 0 when the host behind the address answers, were it only that nobody listens. */
const CONNECT = `
const [host, port] = process.argv.slice(1);
const socket = require('node:net').connect({ host, port: Number(port) });
socket.on('connect', () => process.exit(0)).on('error', ({ code }) => process.exit(code === 'ECONNREFUSED' ? 0 : 1));
setTimeout(() => process.exit(1), ${ANSWER_MS});
`;

/**
 * What the machine's firewall drops of what pods will send, one sentence each with the command that allows it: another's firewall is not
 * ours to open. Tried from a network like a pod's, because rules alone do not tell. Needs the cluster's addresses, Temporal's network and
 * forwarding.
 */
export async function firewallObstacles(): Promise<string[]> {
  await removeNetwork(PROBE);
  await createNetwork(PROBE, PROBE_ADDRESS);
  try {
    const [machine, others] = await Promise.all([
      reaches(CONTROL_ADDRESS, PORTS.apiserver),
      reaches(TEMPORAL_HOST, TEMPORAL_PORTS.frontend),
    ]);
    return [
      ...(machine ? [] : [dropped('to this machine', [`INPUT -s ${POD_RANGE}`])]),
      ...(others ? [] : [dropped('to each other', [`FORWARD -s ${POD_RANGE}`, `FORWARD -d ${POD_RANGE}`])]),
    ];
  } finally {
    await removeNetwork(PROBE);
  }
}

function reaches(host: string, port: number): Promise<boolean> {
  const node = [process.execPath, '-e', CONNECT, host, String(port)];
  return run('nsenter', [`--net=${PROBE}`, ...node]).then(
    () => true,
    () => false,
  );
}

/** Docker, for one, sets the policy of FORWARD to DROP. */
function dropped(where: string, rules: readonly string[]): string {
  const commands = rules.map((rule) => `iptables -I ${rule} -j ACCEPT`).join(' && ');
  return `The firewall of this machine drops what pods send ${where}. Allow it with: ${commands}`;
}
