import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { join } from 'node:path';
import { APISERVER_URL } from './addresses.ts';
import type { StatePaths } from './state.ts';

export interface KubeAnswer {
  readonly status: number;
  readonly body: unknown;
}

/** kube-apiserver answers most requests in milliseconds; only those of an aggregated API may take longer. */
const TIMEOUT_MS = 10_000;

/** kube-apiserver as its admin sees it; small, because the cluster's start waits for nothing as often as for this. */
export class KubeApi {
  readonly #agent: Agent;

  constructor(paths: StatePaths) {
    const pem = (name: string): Buffer => readFileSync(join(paths.pki, name));
    this.#agent = new Agent({ ca: pem('ca.crt'), cert: pem('admin.crt'), key: pem('admin.key'), keepAlive: true });
  }

  /** Throws when there is no connection; every HTTP answer is an answer. */
  send(method: string, path: string, body?: unknown, timeoutMs = TIMEOUT_MS): Promise<KubeAnswer> {
    const headers =
      body === undefined
        ? {}
        : { 'content-type': method === 'PATCH' ? 'application/merge-patch+json' : 'application/json' };
    return new Promise((resolve, reject) => {
      const url = new URL(path, APISERVER_URL);
      const call = request(url, { method, headers, agent: this.#agent, timeout: timeoutMs }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body: parsed(Buffer.concat(chunks)) }));
      });
      call.on('timeout', () => call.destroy(new Error(`Cannot ${method} "${path}": no answer for ${timeoutMs} ms`)));
      call.on('error', reject);
      call.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  /** The answered object, or `undefined` when there is none or nobody answers. */
  async find(path: string): Promise<unknown> {
    try {
      const { status, body } = await this.send('GET', path);
      return status === 200 ? body : undefined;
    } catch {
      return undefined;
    }
  }

  async isReady(): Promise<boolean> {
    return (await this.find('/readyz')) !== undefined;
  }

  close(): void {
    this.#agent.destroy();
  }
}

function parsed(text: Buffer): unknown {
  try {
    return JSON.parse(text.toString());
  } catch {
    return text.toString();
  }
}

interface HasConditions {
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

/** Whether the condition `type` of a Node, Pod, Deployment or APIService is True. */
export function hasCondition(object: unknown, type: string): boolean {
  const conditions = (object as HasConditions | undefined)?.status?.conditions ?? [];
  return conditions.some((condition) => condition.type === type && condition.status === 'True');
}
