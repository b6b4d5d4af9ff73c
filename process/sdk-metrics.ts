import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import type { PrometheusMetricsExporter } from '@temporalio/worker';

/** Where Temporal's SDK serves its metrics, and those of our workflows, which it collects. */
export interface SdkMetrics {
  /** For `Runtime.install`. */
  readonly exporter: PrometheusMetricsExporter;
  /** All of them in the Prometheus text format. */
  text(): Promise<string>;
}

/**
 * The SDK only serves them by itself: on loopback, for `/metrics` of the health port to pass on.
 * @param buckets of histograms of our workflows, by name
 */
export async function sdkMetrics(buckets: Readonly<Record<string, readonly number[]>>): Promise<SdkMetrics> {
  const bindAddress = `127.0.0.1:${await freePort()}`;
  return {
    exporter: {
      prometheus: {
        bindAddress,
        countersTotalSuffix: true,
        unitSuffix: true,
        useSecondsForDurations: true,
        histogramBucketOverrides: Object.fromEntries(Object.entries(buckets).map(([name, upTo]) => [name, [...upTo]])),
      },
    },
    text: async () => {
      const response = await fetch(`http://${bindAddress}/metrics`);
      if (!response.ok) throw new Error(`Cannot read the metrics of Temporal's SDK: ${response.status}`);
      return response.text();
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
