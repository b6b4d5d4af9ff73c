import { isNodeStep, testKill } from './kill.ts';

testKill('the node workers', async (harness, pods, meanwhile) => {
  await Promise.all(pods.map((pod) => harness.killNode(pod)));
  harness.gates.abandon(isNodeStep);
  harness.gates.open();
  meanwhile();
  await Promise.all(pods.map((pod) => harness.startNode(pod)));
});
