import { Client, Connection } from '@temporalio/client';
import type { NewMount } from '../../apiserver/mounts/mounts.ts';
import { TemporalMounts } from '../../apiserver/mounts/temporal-mounts.ts';
import { failureOf } from '../../contract/failures.ts';
import { ClusterClaim } from '../../process/cluster-claim.ts';
import type { ClusterIdentity } from '../../process/cluster-identity.ts';

/** The process of replica.ts: tells its parent the answer, or the failure. */
const PATIENCE_MS = 40_000;
const [address = '', identity = '', wanted = ''] = process.argv.slice(2);

const connection = await Connection.connect({ address });
const claim = new ClusterClaim(async () => JSON.parse(identity) as ClusterIdentity, {
  connection,
  namespace: 'default',
});
const mounts = new TemporalMounts(new Client({ connection }), claim);
try {
  process.send?.(await mounts.mount(JSON.parse(wanted) as NewMount, PATIENCE_MS));
} catch (err) {
  process.send?.({ failure: failureOf(err)?.type ?? String(err) });
}
await connection.close();
process.disconnect();
