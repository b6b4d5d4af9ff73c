import type { PrometheusMetricsExporter } from '@temporalio/worker';
import { freePort } from './free-port.ts';

/** Where Temporal's SDK serves its metrics, and those of our workflows, which it collects. */
export interface SdkMetrics {
  /** For `Runtime.install`. */
  readonly exporter: PrometheusMetricsExporter;
  /** All of them in the Prometheus text format. */
  text(): Promise<string>;
}

/**
 * The SDK only serves them by itself: on loopback, for `/metrics` of the health port to pass on.
 * @param histogramBucketOverrides buckets of histograms of our workflows, by name
 */
export async function sdkMetrics(histogramBucketOverrides: Record<string, number[]>): Promise<SdkMetrics> {
  const bindAddress = `127.0.0.1:${await freePort()}`;
  return {
    exporter: {
      prometheus: {
        bindAddress,
        countersTotalSuffix: true,
        unitSuffix: true,
        useSecondsForDurations: true,
        histogramBucketOverrides,
      },
    },
    text: async () => {
      const response = await fetch(`http://${bindAddress}/metrics`);
      if (!response.ok) throw new Error(`Cannot read the metrics of Temporal's SDK: ${response.status}`);
      return response.text();
    },
  };
}
