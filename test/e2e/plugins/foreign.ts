import { basename, join } from 'node:path';
import type { ClusterNode } from '../../../deploy/local/node/node.ts';
import { Server } from '../../../deploy/local/server.ts';
import { ensureTool } from '../../../deploy/local/tools/on-demand.ts';
import type { Tool } from '../../../deploy/local/tools/table.ts';
import { CLUSTER } from '../cluster.ts';

/** What a build takes on a busy machine. */
export const BUILD_TIMEOUT_MS = 900_000;

/** A program that others have written, built from its source, as a service of `node`; not started yet. */
export async function foreignServer(
  node: ClusterNode,
  tool: Tool,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Server> {
  const binary = basename(tool.packages[0] ?? '');
  const command = join(await ensureTool(tool), binary);
  const mountNamespace = node.paths.namespace;
  return new Server(CLUSTER.paths, { name: `${node.name}-${binary}`, command, args, env, mountNamespace });
}
