import { NativeConnection } from '@temporalio/worker';
import { SEARCH_ATTRIBUTES } from '../contract/names.ts';
import type { TemporalAccess } from '../process/temporal-access.ts';

/** Pause between tries to reach Temporal: it may start after us. */
const RETRY_MS = 1_000;
/** `temporal.api.enums.v1.IndexedValueType` */
const KEYWORD = 2;

/** Connects as soon as Temporal can be reached. `onError` hears of each try that failed. */
export async function connectTemporal(
  { connection, apiKey }: Pick<TemporalAccess, 'connection' | 'apiKey'>,
  onError: (err: unknown) => void,
): Promise<NativeConnection> {
  for (;;) {
    try {
      return await NativeConnection.connect({ ...connection, ...(apiKey !== undefined && { apiKey: apiKey() }) });
    } catch (err) {
      onError(err);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}

/** Registers the search attributes that workflows set; without them Temporal refuses their first step. */
export async function ensureSearchAttributes(connection: NativeConnection, namespace: string): Promise<void> {
  const { operatorService } = connection;
  const { customAttributes } = await operatorService.listSearchAttributes({ namespace });
  const missing = Object.values(SEARCH_ATTRIBUTES).filter((name) => customAttributes[name] === undefined);
  if (missing.length === 0) return;
  await operatorService.addSearchAttributes({
    namespace,
    searchAttributes: Object.fromEntries(missing.map((name) => [name, KEYWORD])),
  });
}

/** For `/readyz`: what keeps Temporal from serving, if anything does. */
export async function temporalProblem(connection: NativeConnection, namespace: string): Promise<string | undefined> {
  try {
    await connection.workflowService.describeNamespace({ namespace });
    return undefined;
  } catch {
    return 'is not reachable';
  }
}
