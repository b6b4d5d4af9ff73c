import { join } from 'node:path';
import { TEMPORAL_ADDRESS, TEMPORAL_PORTS } from './addresses.ts';
import { TEMPORAL_NETWORK } from './networks.ts';
import { run } from './run.ts';
import type { ServerSpec } from './server.ts';
import type { StatePaths } from './state.ts';
import type { ToolFolders } from './tools.ts';

const SEARCH_ATTRIBUTES = [
  'MountCluster',
  'MountPhase',
  'MountNode',
  'MountNamespace',
  'MountPod',
  'MountDeviceType',
  'MountUser',
] as const;

/**
 * By default each queue processor polls its store at most 20 times a second, so that every hop of a workflow waits up to 50 ms
 * (three activities: 350 ms instead of 100 ms).
 */
const POLLS = ['transfer', 'timer', 'visibility'].map((queue) => `history.${queue}ProcessorMaxPollRPS=2000`);

/**
 * "start-dev" would read the namespace from its database at each start of a workflow, one after the other, and say that there is none when
 * that takes 3 s.
 */
const CACHED_NAMESPACES = 'system.forceSearchAttributesCacheRefreshOnRead=false';

/** A workflow is told to go on in a new run after a quarter of the usual number of events: tests see it in seconds. */
const EVENTS_OF_A_RUN = 'limit.historyCount.suggestContinueAsNew=1024';

export function temporalSpec(paths: StatePaths, tools: ToolFolders): ServerSpec {
  return {
    name: 'temporal',
    command: join(tools.temporal, 'temporal'),
    networkNamespace: TEMPORAL_NETWORK,
    // While hundreds of pods start beside it, its tasks would run into their deadlines and be done again, all of them.
    isFirst: true,
    args: [
      'server',
      'start-dev',
      '--ip=0.0.0.0',
      `--db-filename=${paths.temporalDatabase}`,
      `--port=${TEMPORAL_PORTS.frontend}`,
      `--ui-port=${TEMPORAL_PORTS.ui}`,
      '--log-level=warn',
      ...[...POLLS, CACHED_NAMESPACES, EVENTS_OF_A_RUN].map((value) => `--dynamic-config-value=${value}`),
      '--sqlite-pragma=journal_mode=wal',
      '--sqlite-pragma=synchronous=normal',
      ...SEARCH_ATTRIBUTES.map((name) => `--search-attribute=${name}=Keyword`),
    ],
  };
}

/** Closed mounts stay visible this long: it is how a client that got 202 learns the end. */
const RETENTION = '168h';

/** Answers false while Temporal is not ready yet. */
export async function setTemporalRetention(tools: ToolFolders): Promise<boolean> {
  const update = ['operator', 'namespace', 'update', '-n', 'default', '--retention', RETENTION];
  try {
    await run(join(tools.temporal, 'temporal'), [...update, '--address', TEMPORAL_ADDRESS]);
    return true;
  } catch {
    return false;
  }
}
