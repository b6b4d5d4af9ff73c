import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from '@jest/globals';
import { type HealthOptions, serveHealth } from './health.ts';

let server: Server | undefined;
afterEach(() => {
  server?.close();
});

async function get(path: string, options: Partial<HealthOptions> = {}): Promise<string> {
  server = await serveHealth({ port: 0, host: '127.0.0.1', ready: {}, ...options });
  const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`);
  return `${response.status} ${await response.text()}`;
}

describe('serveHealth()', () => {
  test('is alive whatever the checks say', async () => {
    expect(await get('/livez', { ready: { temporal: () => 'is not reachable' } })).toBe('200 ok\n');
  });

  test('is ready when every check is well', async () => {
    expect(await get('/readyz?verbose', { ready: { a: () => undefined, b: async () => undefined } })).toBe(
      '200 [+]a ok\n[+]b ok\n',
    );
  });

  test('names the check that is not well', async () => {
    expect(await get('/readyz', { ready: { a: () => undefined, temporal: () => 'is not reachable' } })).toBe(
      '503 [+]a ok\n[-]temporal is not reachable\n',
    );
  });

  test('serves metrics where there are some', async () => {
    expect(await get('/metrics', { metrics: async () => 'up 1\n' })).toBe('200 up 1\n');
    server?.close();
    expect(await get('/metrics')).toBe('404 not found\n');
  });

  test('answers by IPv4 and IPv6, when no address is given', async () => {
    server = await serveHealth({ port: 0, ready: {} });
    const { port } = server.address() as AddressInfo;
    for (const host of ['127.0.0.1', '[::1]']) expect((await fetch(`http://${host}:${port}/livez`)).status).toBe(200);
  });
});
