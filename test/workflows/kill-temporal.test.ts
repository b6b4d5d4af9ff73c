import { testKill } from './kill.ts';

testKill('Temporal', async (harness, _pods, meanwhile) => {
  await harness.server.kill();
  harness.gates.open();
  meanwhile();
  await harness.server.restart();
});
