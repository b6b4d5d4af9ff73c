import { type FailureType, isFailureType } from '../../contract/failures.ts';
import type { KubeAnswer } from '../../deploy/local/kube-api.ts';
import { CLUSTER } from './cluster.ts';

/** Longer than kube-apiserver lets any request take. */
const TIMEOUT_MS = 65_000;

/** One request to kube-apiserver as its admin, over connections that stay open. Every HTTP answer is an answer. */
export function send(method: string, path: string, body?: unknown): Promise<KubeAnswer> {
  return CLUSTER.api.send(method, path, body, TIMEOUT_MS);
}

/** As `send`, for requests that must succeed; answers the body. Bodies of PATCH are merge patches. */
export async function ask<T = unknown>(method: string, path: string, body?: unknown): Promise<T> {
  const answer = await send(method, path, body);
  if (answer.status >= 300) throw new Error(`${method} ${path} was answered with ${describe(answer)}`);
  return answer.body as T;
}

/** The object as kube-apiserver has it now, or `undefined` when there is none. */
export async function find<T>(path: string): Promise<T | undefined> {
  const answer = await send('GET', path);
  if (answer.status === 404) return undefined;
  if (answer.status !== 200) throw new Error(`GET ${path} was answered with ${describe(answer)}`);
  return answer.body as T;
}

/** Deletes an object; that there is none is fine. */
export async function remove(path: string): Promise<void> {
  const answer = await send('DELETE', path);
  if (answer.status >= 300 && answer.status !== 404) {
    throw new Error(`DELETE ${path} was answered with ${describe(answer)}`);
  }
}

/** The words of a `metav1.Status`. */
export function messageOf({ body }: KubeAnswer): string {
  return (body as { readonly message?: string } | undefined)?.message ?? '';
}

/** The key of `FAILURES` in an answer: the first cause of its `metav1.Status`, or the reason where that says the same. */
export function failureIn({ body }: KubeAnswer): FailureType | undefined {
  const { reason, details } = body as {
    readonly reason?: string;
    readonly details?: { readonly causes?: readonly { readonly reason: string }[] };
  };
  return [details?.causes?.[0]?.reason, reason].find(isFailureType);
}

function describe({ status, body }: KubeAnswer): string {
  return `${status}: ${typeof body === 'string' ? body : JSON.stringify(body)}`;
}

/** Path of a list of the core API's objects in a namespace, with selectors. */
export function listPath(
  namespace: string,
  resource: 'events' | 'pods',
  query: Readonly<Record<string, string>> = {},
): string {
  return `/api/v1/namespaces/${namespace}/${resource}?${new URLSearchParams(query).toString()}`;
}
