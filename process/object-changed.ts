import { type KubeConfig, Watch } from '@kubernetes/client-node';

/**
 * Resolves when the object `name` of the collection at `path` may have changed since `resourceVersion`, a minute later at the latest.
 * Watches this object alone, which needs rights on it only.
 */
export function objectChanged(
  config: KubeConfig,
  path: string,
  name: string,
  resourceVersion: string,
  signal: AbortSignal,
): Promise<void> {
  // client-node ends a silent watch after 30 s: whoever calls reads the object again then, which is wanted anyway.
  return new Promise((resolve, reject) => {
    const query = { fieldSelector: `metadata.name=${name}`, resourceVersion };
    const settled = new AbortController();
    const ended = (err: unknown) => {
      settled.abort();
      const failed = err instanceof Error && err.name !== 'TimeoutError';
      if (failed) reject(err);
      else resolve();
    };
    const watching = new Watch(config).watch(path, query, () => ended(undefined), ended);
    watching.then((controller) => {
      const stop = () => controller.abort();
      // Each turn would leave a listener on `signal` otherwise, and a watch that has told of a change its connection.
      settled.signal.addEventListener('abort', stop, { once: true });
      signal.addEventListener('abort', stop, { once: true, signal: settled.signal });
      if (signal.aborted || settled.signal.aborted) stop();
    }, reject);
  });
}
