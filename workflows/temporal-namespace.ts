import { msToTs, optionalTsToMs } from '@temporalio/common/lib/time.js';
import type { NativeConnection } from '@temporalio/worker';
import { SEARCH_ATTRIBUTES } from '../contract/names.ts';

/** An ended mount is listed, and a repeated request answered, from what Temporal keeps for this long. */
const RETENTION_HOURS = 168;
const RETENTION_MS = RETENTION_HOURS * 3_600_000;
/** `temporal.api.enums.v1.IndexedValueType` */
const KEYWORD = 2;

/** What a namespace lacks, and the command that mends it for those who may. */
export interface NamespaceProblem {
  readonly problem: string;
  readonly command: string;
  readonly err: unknown;
}

/**
 * Gives the Temporal namespace what mounts need: search attributes, without which Temporal refuses a workflow's first step, and a retention
 * that is long enough. Answers what could not be done: whoever runs Temporal may have kept these rights to themselves.
 */
export async function prepareNamespace(
  connection: NativeConnection,
  namespace: string,
): Promise<readonly NamespaceProblem[]> {
  const problems = await Promise.all([
    ensureRetention(connection, namespace).catch((err: unknown) => retentionProblem(namespace, err)),
    ensureSearchAttributes(connection, namespace).catch((err: unknown) => attributesProblem(namespace, err)),
  ]);
  return problems.filter((problem) => problem !== undefined);
}

/** A longer one stays as it is. */
async function ensureRetention({ workflowService }: NativeConnection, namespace: string): Promise<undefined> {
  const { config } = await workflowService.describeNamespace({ namespace });
  if ((optionalTsToMs(config?.workflowExecutionRetentionTtl) ?? 0) >= RETENTION_MS) return;
  await workflowService.updateNamespace({
    namespace,
    config: { workflowExecutionRetentionTtl: msToTs(RETENTION_MS) },
  });
}

async function ensureSearchAttributes({ operatorService }: NativeConnection, namespace: string): Promise<undefined> {
  const { customAttributes } = await operatorService.listSearchAttributes({ namespace });
  const missing = Object.values(SEARCH_ATTRIBUTES).filter((name) => customAttributes[name] === undefined);
  if (missing.length === 0) return;
  await operatorService.addSearchAttributes({
    namespace,
    searchAttributes: Object.fromEntries(missing.map((name) => [name, KEYWORD])),
  });
}

const retentionProblem = (namespace: string, err: unknown): NamespaceProblem => ({
  problem: `Cannot set the retention of Temporal namespace "${namespace}" to ${RETENTION_HOURS} h`,
  command: `temporal operator namespace update --namespace ${namespace} --retention ${RETENTION_HOURS}h`,
  err,
});

function attributesProblem(namespace: string, err: unknown): NamespaceProblem {
  const names = Object.values(SEARCH_ATTRIBUTES).flatMap((name) => ['--name', name, '--type', 'Keyword']);
  return {
    problem: `Cannot register the search attributes of mounts in Temporal namespace "${namespace}"`,
    command: `temporal operator search-attribute create --namespace ${namespace} ${names.join(' ')}`,
    err,
  };
}
