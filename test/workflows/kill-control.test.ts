import { isNodeStep, testKill } from './kill.ts';

testKill('the control worker', async (harness) => {
  await harness.killControl();
  harness.gates.abandon((activity) => !isNodeStep(activity));
  harness.gates.open();
  await harness.startControl();
});
