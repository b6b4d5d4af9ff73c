import type { Answer } from '../../apiserver/send.ts';
import { aggregated, mountPath } from './direct.ts';

export interface TimedAnswer {
  readonly answer: Answer;
  readonly tookMs: number;
}

/** Asks for a device that no node has, to be waited for longer than anybody waits for an answer. */
export async function answerAbout(pod: string, query = ''): Promise<TimedAnswer> {
  const startedMs = performance.now();
  const path = mountPath(pod, `device_type=HOSTDEV&queue=true&wait_second=100${query}`);
  const body = JSON.stringify({ resources: { 'hostdev.k8s.io/dev_of_no_node': '1' } });
  const answer = await aggregated({ method: 'PUT', path, body });
  return { answer, tookMs: performance.now() - startedMs };
}
