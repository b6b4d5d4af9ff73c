import { Agent, request } from 'node:https';
import type { DeviceMount } from '../../contract/device-mount.ts';
import type { TestServer } from './harness.ts';

interface Event {
  readonly type: string;
  readonly object: DeviceMount & Record<string, unknown>;
}

/** Reads the events of a watch, one by one. */
export class WatchClient {
  readonly #events: AsyncIterator<string>;
  readonly end: () => void;

  private constructor(events: AsyncIterator<string>, end: () => void) {
    this.#events = events;
    this.end = end;
  }

  /** Rejects with the answer's code when it is not 200. */
  static open(
    server: TestServer,
    path: string,
    accept = 'application/json',
    agent = new Agent({ keepAlive: false }),
  ): Promise<WatchClient> {
    const { proxy, serving } = server.cluster;
    return new Promise((resolve, reject) => {
      const sent = request(
        {
          host: '127.0.0.1',
          port: server.port,
          path,
          ca: serving.pair.cert,
          ...proxy,
          agent,
          headers: { 'X-Remote-User': 'jane', Accept: accept },
        },
        (res) => {
          if (res.statusCode !== 200) reject(new Error(String(res.statusCode)));
          else resolve(new WatchClient(lines(res), () => sent.destroy()));
        },
      );
      sent.on('error', reject);
      sent.end();
    });
  }

  /** The next event; undefined when the server has ended the watch. */
  async next(): Promise<Event | undefined> {
    const { value, done } = await this.#events.next();
    return done ? undefined : (JSON.parse(value) as Event);
  }

  /** Type, name and phase of the next event. */
  async told(): Promise<string> {
    const event = await this.next();
    if (event === undefined) return 'end';
    return `${event.type} ${event.object.metadata?.name} ${event.object.status?.phase}`;
  }
}

async function* lines(chunks: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let rest = '';
  try {
    for await (const chunk of chunks) {
      const parts = (rest + chunk.toString()).split('\n');
      rest = parts.pop() ?? '';
      yield* parts;
    }
  } catch {
    // The client itself has ended it.
  }
}
