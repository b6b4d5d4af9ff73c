import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { NODES } from './cluster.ts';
import { blocksOf, runBlock } from './guide.ts';
import { kubectl, kubectlOk } from './kubectl.ts';
import { FUSE, mountOk, startPod } from './pods.ts';
import { expectNoPods, removeTargets } from './targets.ts';

const NODE = NODES[0]?.name ?? '';
const BLOCKS = blocksOf('devicemounts.md');
/** A user who may do what the role `view` allows. */
const READER = '--as=devicemounts-reader';

let pod: string;
let uid: string;
let name: string;
beforeAll(async () => {
  pod = await startPod(NODE);
  uid = await kubectlOk(['get', 'pod', pod, '-o', 'jsonpath={.metadata.uid}']);
  name = (await mountOk(pod, FUSE)).metadata.name;
  await kubectlOk(['create', 'rolebinding', 'devicemounts-reader', '--clusterrole=view', '--user=devicemounts-reader']);
});
afterAll(async () => {
  await kubectlOk(['delete', 'rolebinding', 'devicemounts-reader']);
  await removeTargets([pod]);
  await expectNoPods();
});

describe('docs/guides/devicemounts.md', () => {
  test.each([
    ['See what is mounted', () => [`${name} +Mounted +${pod} +main +HOSTDEV +/dev/fuse +${NODE}`, 'confirmedAt']],
    ['Select', () => [`^${name} [^]*^${name} [^]*devicemount\\S*/${name} [^]*^pod/${pod}-slave-`]],
    ['Wait', () => [`${name} condition met`]],
    ['Install', () => ['devicemounts.device-mounter.io condition met']],
  ])('does what it says: %s', async (heading, patterns) => {
    const blocks = BLOCKS.filter((block) => block.heading === heading);
    expect(blocks).toHaveLength(1);
    const output = await runBlock(blocks[0]?.text ?? '', { MOUNT: name, POD: pod, POD_UID: uid, NODE });
    for (const pattern of patterns()) expect(output).toMatch(new RegExp(pattern, 'm'));
  });

  test('has no other commands', () => {
    expect(BLOCKS).toHaveLength(4);
  });

  test('is right about the API: kube-apiserver serves DeviceMounts itself', async () => {
    const path = 'jsonpath={.spec.service}{.status.conditions[?(@.type=="Available")].reason}';
    expect(await kubectlOk(['get', 'apiservice', 'v1beta1.device-mounter.io', '-o', path])).toBe('Local');
  });

  test.each([
    ['get', 'yes'],
    ['list', 'yes'],
    ['watch', 'yes'],
    ['update', 'no'],
    ['delete', 'no'],
  ])('is right about who may see them: may view %s them? %s', async (verb, answer) => {
    const { stdout } = await kubectl(['auth', 'can-i', verb, 'devicemounts.device-mounter.io', READER]);
    expect(stdout.trim()).toBe(answer);
  });
});

const change = (verb: string, ...args: string[]) => kubectl([verb, 'devicemount', name, '--dry-run=server', ...args]);
const merged = (patch: object) => ['--type=merge', `--patch=${JSON.stringify(patch)}`];
const SPEC = merged({ spec: { container: 'other' } });
const CONTROL = '--as=system:serviceaccount:device-mounter:device-mounter-control';
/** Makes it owned by a pod. */
const owned = (owner: object) =>
  merged({ metadata: { ownerReferences: [{ apiVersion: 'v1', kind: 'Pod', ...owner }] } });

/** Creates one that says the same under another name. */
async function copied(): ReturnType<typeof kubectl> {
  const { metadata: _, ...rest } = JSON.parse(await kubectlOk(['get', 'devicemount', name, '-o', 'json'])) as {
    metadata: object;
  };
  const copy = { ...rest, metadata: { name: `${name}-copy` } };
  return kubectl(['create', '--dry-run=server', '-f', '-'], JSON.stringify(copy));
}

describe('a DeviceMount', () => {
  test.each<[string, () => ReturnType<typeof kubectl>]>([
    ['a copy of one', copied],
    ['its spec', () => change('patch', ...SPEC)],
    ['its status', () => change('patch', '--subresource=status', ...merged({ status: { user: 'somebody' } }))],
    ['its labels', () => change('label', '--overwrite', 'device-mounter.io/phase=Failed')],
    ['an annotation', () => change('annotate', 'example.com/note=')],
    ['a finalizer', () => change('patch', ...merged({ metadata: { finalizers: ['example.com/keep'] } }))],
    ['another owner', () => change('patch', ...owned({ name: 'other', uid: 'other' }))],
    ['that its pod waits for it', () => change('patch', ...owned({ name: pod, uid, blockOwnerDeletion: true }))],
  ])('is written by nobody but device-mounter, not even by an administrator: %s', async (_what, attempt) => {
    const { code, stderr } = await attempt();
    expect([code, stderr]).toEqual([1, expect.stringContaining('only device-mounter writes DeviceMounts')]);
  });

  test('may be changed by the control worker', async () => {
    expect(await change('patch', ...SPEC, CONTROL)).toMatchObject({ code: 0 });
  });

  test('may lose finalizers, annotations and owners through others', async () => {
    const more = { annotations: { 'example.com/note': 'x' }, finalizers: ['example.com/keep'] };
    await kubectlOk(['patch', 'devicemount', name, ...merged({ metadata: more }), CONTROL]);
    const less = merged({ metadata: { annotations: null, finalizers: null } });
    expect(await kubectl(['patch', 'devicemount', name, ...less])).toMatchObject({ code: 0 });
    expect(await change('patch', ...merged({ metadata: { ownerReferences: null } }))).toMatchObject({ code: 0 });
  });

  test('may be made non-blocking, as the garbage collector does', async () => {
    expect(await change('patch', ...owned({ name: pod, uid, blockOwnerDeletion: false }))).toMatchObject({ code: 0 });
  });

  test('may be written again as it is, by kubectl apply --server-side too', async () => {
    const text = await kubectlOk(['get', 'devicemount', name, '-o', 'json']);
    const { apiVersion, kind, metadata, spec } = JSON.parse(text) as { metadata: { labels: object } } & Record<
      string,
      unknown
    >;
    expect(await kubectl(['replace', '--dry-run=server', '-f', '-'], text)).toMatchObject({ code: 0 });
    const mine = JSON.stringify({ apiVersion, kind, metadata: { name, labels: metadata.labels }, spec });
    expect(await kubectl(['apply', '--server-side', '--dry-run=server', '-f', '-'], mine)).toMatchObject({ code: 0 });
  });
});
