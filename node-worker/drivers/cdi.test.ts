import { describe, expect, test } from '@jest/globals';
import { array, assert, jsonValue, nat, oneof, property, string, tuple } from 'fast-check';
import { failureOf } from '../../contract/failures.ts';
import { memoryHost } from '../../test/node-worker/memory-host.ts';
import { RUNS } from '../../test/property-runs.ts';
import { type CdiDevice, cdiDevicesOf } from './cdi.ts';
import type { Host } from './driver.ts';
import { nodesText } from './nodes-text.ts';

const SPEC = {
  cdiVersion: '0.8.0',
  kind: 'v.com/gpu',
  devices: [
    {
      name: '0',
      containerEdits: {
        deviceNodes: [{ path: '/dev/gpu0', hostPath: '/dev/card', uid: 7 }],
        mounts: [{ hostPath: '/opt', containerPath: '/opt/v' }],
      },
    },
  ],
  containerEdits: {
    env: ['A=b'],
    hooks: [{ hookName: 'createContainer', path: '/bin/evil' }],
    deviceNodes: [{ path: '/dev/ctl', type: 'c', major: 195, minor: 255, permissions: 'rw', fileMode: 0o640 }],
  },
};
const NODES = { '/dev/card': 'c 226:0', '/dev/dir/a': 'c 1:3', '/dev/dir/b': 'c 1:5' };
const JSON_SPEC = JSON.stringify(SPEC);

const ask = (texts: Readonly<Record<string, string>>, name = 'v.com/gpu=0'): readonly CdiDevice[] =>
  cdiDevicesOf([name], memoryHost(texts, NODES));
const textOf = (devices: readonly CdiDevice[]): readonly string[] => devices.map(({ nodes }) => nodesText(nodes));

const inNode = (node: object): string =>
  JSON.stringify({
    ...SPEC,
    devices: [{ name: '0', containerEdits: { deviceNodes: [{ path: '/dev/x', ...node }] } }],
  });

const mount = (name: string, more: object = {}): object => ({
  hostPath: `/h/${name}`,
  containerPath: `/c/${name}`,
  ...more,
});

describe('cdiDevicesOf()', () => {
  test('gives nodes of the device and of its spec, filled in as runtimes do', () => {
    expect(ask({ '/etc/cdi/v.json': JSON_SPEC })).toEqual([
      {
        id: '0',
        file: '/etc/cdi/v.json',
        mounts: [{ hostPath: '/opt', containerPath: '/opt/v' }],
        others: ['mount /opt/v', 'environment A'],
        own: [{ path: '/dev/gpu0', type: 'c', major: 226, minor: 0, access: 'rwm', mode: 0o666, uid: 7, gid: 0 }],
        nodes: [
          { path: '/dev/gpu0', type: 'c', major: 226, minor: 0, access: 'rwm', mode: 0o666, uid: 7, gid: 0 },
          { path: '/dev/ctl', type: 'c', major: 195, minor: 255, access: 'rw', mode: 0o640, uid: 0, gid: 0 },
        ],
      },
    ]);
  });

  test('gives bind mounts of the device and of its spec, and no other mounts', () => {
    const spec = JSON.stringify({
      ...SPEC,
      devices: [
        {
          name: '0',
          containerEdits: { mounts: [mount('a', { options: ['ro', 'rbind'] }), mount('t', { type: 'tmpfs' })] },
        },
        { name: '1', containerEdits: { mounts: [mount('other')] } },
      ],
      containerEdits: { mounts: [mount('b', { type: 'bind' }), { hostPath: 'tmpfs', containerPath: '/c/x' }] },
    });
    expect(ask({ '/etc/cdi/v.json': spec }).map(({ mounts }) => mounts)).toEqual([
      [
        { hostPath: '/h/a', containerPath: '/c/a' },
        { hostPath: '/h/b', containerPath: '/c/b' },
      ],
    ]);
  });

  test('reads YAML, and a path that is the host’s, too', () => {
    const yaml = `
cdiVersion: 0.6.0
kind: v.com/gpu
devices:
  - name: "0"
    containerEdits:
      deviceNodes: [{ path: /dev/card }, { path: /dev/pipe, type: p }]
`;
    expect(textOf(ask({ '/var/run/cdi/v.yaml': yaml }))).toEqual(['/dev/card (c 226:0 rwm)']);
  });

  test('prefers what is written at run time, and passes over what cannot be read', () => {
    const other = JSON_SPEC.replace('/dev/gpu0', '/dev/other');
    const texts = { '/etc/cdi/a.json': JSON_SPEC, '/var/run/cdi/b.json': other, '/etc/cdi/c.json': '{' };
    expect(ask(texts)[0]?.file).toBe('/var/run/cdi/b.json');
  });

  test('gives nodes whatever the spec has in edits that are not used', () => {
    const strange = { ...SPEC, containerEdits: { env: { A: 'b' }, mounts: ['/opt'], hooks: 7 } };
    const [device] = ask({ '/etc/cdi/v.json': JSON.stringify(strange) });
    expect([nodesText(device?.nodes ?? []), device?.others]).toEqual(['/dev/gpu0 (c 226:0 rwm)', ['mount /opt/v']]);
  });

  test.each([
    ['a device that no spec has', {}, 'no spec in /etc/cdi or /var/run/cdi has it'],
    ['a file of another kind', { '/etc/cdi/v.txt': JSON_SPEC }, 'no spec in'],
    ['half a spec', { '/etc/cdi/v.json': '{"kind":' }, 'cannot be read: /etc/cdi/v.json: '],
    ['bad YAML', { '/etc/cdi/v.yaml': 'a: [' }, 'cannot be read: /etc/cdi/v.yaml: '],
    ['a spec without kind', { '/etc/cdi/v.json': '{"cdiVersion":"1"}' }, '/etc/cdi/v.json: kind: '],
    ['a relative path', { '/etc/cdi/v.json': inNode({ path: 'dev/x' }) }, 'deviceNodes.0.path'],
    ['other permissions', { '/etc/cdi/v.json': inNode({ permissions: 'rx' }) }, 'permissions'],
    ['a directory', { '/etc/cdi/v.json': inNode({ hostPath: '/dev/dir' }) }, '"/dev/dir" of the host must be a device'],
    ['two specs of one directory', { '/etc/cdi/a.json': JSON_SPEC, '/etc/cdi/b.yaml': JSON_SPEC }, 'both have it'],
  ])('refuses %s', (_name, texts, message) => {
    expect(() => ask(texts as Record<string, string>)).toThrow(message);
  });

  test.each(['', 'v.com/gpu', 'v.com/gpu=', '=0', 'v.com/gpu=0=0'])('refuses the name "%s"', (name) => {
    expect(() => ask({ '/etc/cdi/v.json': JSON_SPEC }, name)).toThrow('no spec in');
  });
});

/** Any value, or the spec with something else at one or two of its places. */
const almostSpec = tuple(array(tuple(nat(30), jsonValue({ maxDepth: 2 })), { maxLength: 2 }), jsonValue()).map(
  ([changes, any]) => (changes.length === 0 ? any : changes.reduce<unknown>(changed, SPEC)),
);

function changed(spec: unknown, [place, value]: readonly [number, unknown]): unknown {
  let left = place;
  return JSON.parse(JSON.stringify(spec), (_key, old) => (left-- === 0 ? value : old));
}

const cut = tuple(almostSpec, nat(400)).map(([spec, length]) => (JSON.stringify(spec) ?? '').slice(0, length));
const anyText = oneof(
  almostSpec.map((spec) => JSON.stringify(spec) ?? ''),
  cut,
  string({ maxLength: 200 }),
);

const tell = (host: Host): readonly CdiDevice[] | string => {
  try {
    return cdiDevicesOf(['v.com/gpu=0'], host);
  } catch (err) {
    const failure = failureOf(err);
    if (failure === undefined) throw err;
    return failure.message;
  }
};

describe('cdiDevicesOf() of any text', () => {
  test.each(['/etc/cdi/v.json', '/etc/cdi/v.yaml'])('gives whole nodes or says what is wrong: %s', (file) => {
    assert(
      property(anyText, (text) => {
        const told = tell(memoryHost({ [file]: text }, NODES));
        if (typeof told === 'string') return expect(told).toMatch(/^Cannot [^\n]{10,}$/);
        for (const node of told.flatMap(({ nodes }) => nodes)) {
          expect(node.path).toMatch(/^\//);
          expect(node.access).toMatch(/^r?w?m?$/);
          for (const number of [node.major, node.minor, node.mode, node.uid, node.gid])
            expect(number).toBeGreaterThanOrEqual(0);
        }
      }),
      { numRuns: RUNS },
    );
  });
});
