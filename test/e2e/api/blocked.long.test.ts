import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { REPOSITORY } from '../../../deploy/local/state.ts';
import { find } from '../kube.ts';
import { kubectlOk } from '../kubectl.ts';
import { apiAvailable } from '../nodes.ts';
import { until } from '../until.ts';
import { createNamespace, deleteNamespace, namespaceGone, pathOf, scale } from './namespaces.ts';

const API_SERVICE = '/apis/apiregistration.k8s.io/v1/apiservices/v1alpha1.device-mounter.io';
const GUIDE = join(REPOSITORY, 'docs', 'guides', 'blocked-namespaces.md');

interface Namespace {
  readonly status: { readonly conditions?: readonly { type: string; status: string; reason: string }[] };
}

/** The commands of a guide between this heading and the next, one after the other. */
function commandsUnder(heading: string): string[][] {
  const [, section = ''] = readFileSync(GUIDE, 'utf8').split(`## ${heading}\n`);
  const [own = ''] = section.split('\n## ');
  const blocks = [...own.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, block = '']) => block);
  const lines = blocks.join('').trim().split('\n');
  return lines.map((line) => line.split(' ')).filter(([command]) => command === 'kubectl');
}

/**
 * Deletes namespaces until one is blocked, and answers its name: until kube-apiserver has noticed that the group is gone, it
 * answers for it from its memory, and they are deleted as always.
 */
async function blockedNamespace(): Promise<string> {
  for (let index = 0; ; index++) {
    const name = `contract-blocked-${index}`;
    await createNamespace(name);
    await deleteNamespace(name);
    const became = await until(`namespace ${name} to be gone, or blocked`, () => endOf(name), 70_000);
    if (became === 'blocked') return name;
  }
}

async function endOf(name: string): Promise<'gone' | 'blocked' | undefined> {
  const namespace = await find<Namespace>(pathOf(name));
  if (namespace === undefined) return 'gone';
  const isBlocked = namespace.status.conditions?.some(
    ({ type, status }) => type === 'NamespaceDeletionDiscoveryFailure' && status === 'True',
  );
  return isBlocked ? 'blocked' : undefined;
}

describe('with the apiserver itself gone', () => {
  afterAll(async () => {
    await scale('device-mounter-apiserver', 2);
    await scale('device-mounter-control', 2);
    await apiAvailable();
  });

  test('the control worker takes the API away, and namespaces are deleted', async () => {
    await scale('device-mounter-apiserver', 0);
    await createNamespace('contract-gone');
    await deleteNamespace('contract-gone');
    await namespaceGone('contract-gone', 30_000);
    await until('the APIService to be gone', async () => (await find(API_SERVICE)) === undefined, 30_000);
    await scale('device-mounter-apiserver', 2);
    await until('the APIService to be back', () => find(API_SERVICE), 30_000);
    await apiAvailable();
  }, 300_000);

  test('and the control worker too: Kubernetes blocks it, says so, and the way out of the guide works', async () => {
    await scale('device-mounter-control', 0);
    await scale('device-mounter-apiserver', 0);
    const namespace = await blockedNamespace();
    // Objects are kube-apiserver's own, whatever becomes of the rest of the group.
    await kubectlOk(['get', 'devicemounts', '--all-namespaces']);
    const seen = commandsUnder('See it');
    expect(seen.length).toBeGreaterThan(0);
    for (const [, ...args] of seen) await kubectlOk(args.map((arg) => arg.replace('<namespace>', namespace)));
    const wayOut = commandsUnder('The way out');
    expect(wayOut).toHaveLength(1);
    for (const [, ...args] of wayOut) await kubectlOk(args);
    // Kubernetes tries again after a growing pause, at most a minute long.
    await namespaceGone(namespace, 90_000);
  }, 300_000);
});
