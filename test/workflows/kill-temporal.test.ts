import { testKill } from './kill.ts';

testKill('Temporal', async (harness) => {
  await harness.server.kill();
  harness.gates.open();
  await harness.server.restart();
});
