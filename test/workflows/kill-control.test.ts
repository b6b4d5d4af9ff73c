import { isNodeStep, testKill } from './kill.ts';

testKill('the control worker', async (harness, _pods, meanwhile) => {
  await harness.killControl();
  harness.gates.abandon((activity) => !isNodeStep(activity));
  harness.gates.open();
  meanwhile();
  await harness.startControl();
});
