import { failureOf } from '../contract/failures.ts';
import { inspectionText } from './inspection/text.ts';
import { createEngine } from './kernel/create-engine.ts';
import { recordsIn } from './state/mount-store.ts';

const HELP = `Prints what a container of this node may open, which part of that is ours, and why. Changes nothing.

  node node-worker/inspect.ts <container id> [state directory]

  The container id is that of the runtime, with or without a prefix such as containerd://.
  The state directory is that of the node worker. (default /var/lib/device-mounter)
`;

const [id, stateDir = '/var/lib/device-mounter'] = process.argv.slice(2);
if (id === undefined || id.startsWith('--')) {
  process.stdout.write(HELP);
  process.exit(id === '--help' ? 0 : 2);
}

try {
  const engine = createEngine();
  const container = engine.openContainer({ containerId: id.replace(/^[a-z-]+:\/\//, '') });
  try {
    process.stdout.write(inspectionText(engine.inspect(container), await recordsIn(stateDir)));
  } finally {
    container.close();
  }
} catch (err) {
  process.stderr.write(`${failureOf(err)?.message ?? String(err)}\n`);
  process.exitCode = 1;
}
