import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { load, loadAll } from 'js-yaml';
import { TEMPORAL_OPTIONS } from '../process/temporal-options.ts';
import { type KubeObject, manifestFaults } from '../test/unit/manifest-faults.ts';
import { MANIFESTS, record } from './render.ts';

const textOf = (...path: readonly string[]): string => readFileSync(join(import.meta.dirname, ...path), 'utf8');

/** Names of all values, with dots. */
function namesIn(value: unknown, at = ''): readonly string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [at];
  if (Object.keys(value).length === 0) return [at];
  return Object.entries(value).flatMap(([key, one]) => namesIn(one, at === '' ? key : `${at}.${key}`));
}

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
}

function namesInSchema({ properties }: Schema, at = ''): readonly string[] {
  if (properties === undefined) return [at];
  return Object.entries(properties).flatMap(([key, one]) => namesInSchema(one, at === '' ? key : `${at}.${key}`));
}

test('the manifests are what the chart renders: npm run render', () => {
  // Without Helm, so that it is checked everywhere. `npm run test:long -- chart` renders them.
  expect(textOf('rendered.sha256')).toBe(record());
});

test('the chart has the version of package.json', () => {
  const { version } = JSON.parse(textOf('..', 'package.json')) as { version: string };
  expect(load(textOf('chart', 'Chart.yaml'))).toMatchObject({ version, appVersion: version });
});

describe('the manifests', () => {
  const both = MANIFESTS.slice(0, 2).flatMap(({ name }) => loadAll(textOf(name)) as KubeObject[]);

  test.each(MANIFESTS.map(({ name }) => name))('%s has no faults', (name) => {
    const objects = loadAll(textOf(name)) as KubeObject[];
    expect(objects.length).toBeGreaterThan(0);
    expect(manifestFaults(objects)).toEqual([]);
  });

  test('install everything by two files: what a mount needs, each object once', () => {
    const names = both.map(({ kind, metadata }) => `${kind} ${metadata.namespace ?? ''}/${metadata.name}`);
    expect(new Set(names).size).toBe(names.length);
    expect(names).toEqual(
      expect.arrayContaining([
        'CustomResourceDefinition /devicemounts.device-mounter.io',
        'StatefulSet device-mounter/device-mounter-temporal',
        'Deployment device-mounter/device-mounter-apiserver',
        'Deployment device-mounter/device-mounter-control',
        'DaemonSet device-mounter/device-mounter-node',
      ]),
    );
  });

  test('have no APIService, which would block namespaces, and its owner first', () => {
    expect(both.map(({ kind }) => kind)).not.toContain('APIService');
    expect(both[0]).toMatchObject({ kind: 'ClusterRole', metadata: { name: 'device-mounter:installation' } });
  });
});

describe('the values', () => {
  const values = load(textOf('chart', 'values.yaml'));
  const schema = JSON.parse(textOf('chart', 'values.schema.json')) as Schema;

  test('are those of the schema', () => {
    const fixed = new Set(namesInSchema(schema).filter((name) => name !== 'global'));
    const own = namesIn(values);
    for (const name of fixed) expect(own.some((each) => `${each}.`.startsWith(`${name}.`))).toBe(true);
    for (const name of own) expect([...fixed].some((each) => `${name}.`.startsWith(`${each}.`))).toBe(true);
  });

  test('have a way to give every option of Temporal', () => {
    const pods = textOf('chart', 'templates', '_pods.tpl');
    for (const { env } of Object.values(TEMPORAL_OPTIONS)) expect(pods).toContain(`name: ${env},`);
  });
});
