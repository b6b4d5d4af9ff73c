import { NativeConnection } from '@temporalio/worker';
import type { TemporalAccess } from '../process/temporal-access.ts';

/** Pause between tries to reach Temporal: it may start after us. */
const RETRY_MS = 1_000;

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

/** For `/readyz`: what keeps Temporal from serving, if anything does. */
export async function temporalProblem(connection: NativeConnection, namespace: string): Promise<string | undefined> {
  try {
    await connection.workflowService.describeNamespace({ namespace });
    return undefined;
  } catch {
    return 'is not reachable';
  }
}
