import { describe, expect, test } from '@jest/globals';
import * as fc from 'fast-check';
import { RUNS } from '../test/property-runs.ts';
import { parseConfigFile } from './config-file.ts';

const ENTRY = /^(devices\[\d+\]|resourcePrefix|devices|it is no YAML|"|Invalid input|Unrecognized key)/;

describe('parseConfigFile()', () => {
  test('reads paths, wildcards and groups', () => {
    const text = `
resourcePrefix: devices.example.com
devices:
- { path: /dev/fuse, permissions: rwm, count: 3 }
- { name: serial, path: /dev/ttyUSB*, containerPath: /dev/serial/ }
- name: sound
  group: [{ path: /dev/snd/controlC0 }, { path: /dev/snd/pcmC0D0p, optional: true }]
- { name: modem, usb: { vendor: "0403", product: 6A01, serial: "12" }, nodes: [tty, usb], containerPath: /dev/modem/ }
- { name: key, usb: { vendor: "1050", product: "0407" } }
`;
    const rw = { permissions: 'rw', optional: false };
    expect(parseConfigFile(text)).toEqual({
      devs: [
        {
          resource: 'devices.example.com/dev_fuse',
          count: 3,
          nodes: [{ path: '/dev/fuse', permissions: 'rwm', optional: false }],
        },
        {
          resource: 'devices.example.com/serial',
          count: 1,
          nodes: [{ path: '/dev/ttyUSB*', containerPath: '/dev/serial/', ...rw }],
        },
        {
          resource: 'devices.example.com/sound',
          count: 1,
          nodes: [
            { path: '/dev/snd/controlC0', ...rw },
            { path: '/dev/snd/pcmC0D0p', permissions: 'rw', optional: true },
          ],
        },
        {
          resource: 'devices.example.com/modem',
          count: 1,
          usb: {
            vendor: '0403',
            product: '6a01',
            serial: '12',
            nodes: ['tty', 'usb'],
            containerPath: '/dev/modem/',
            permissions: 'rw',
          },
        },
        {
          resource: 'devices.example.com/key',
          count: 1,
          usb: { vendor: '1050', product: '0407', nodes: ['usb'], permissions: 'rw' },
        },
      ],
      problems: [],
    });
  });

  test.each([
    ['devices: [', 'it is no YAML'],
    ['', 'it is no YAML: expected a document'],
    ['[]', 'expected object'],
    ['devices: [{ path: /etc/passwd }]', 'devices[0].path: the path must lie below /dev'],
    ['devices: [{ path: /dev/../etc/x }]', 'devices[0].path: the path must lie below /dev'],
    ['devices: [{ path: /dev/fuse, permissions: x }]', 'devices[0].permissions: permissions must be some of r, w, m'],
    ['devices: [{ path: /dev/fuse, count: 0 }]', 'devices[0].count'],
    ['devices: [{ path: /dev/fuse, count: 1001 }]', 'devices[0].count'],
    ['devices: [{ path: /dev/fuse, counts: 2 }]', 'devices[0]: Unrecognized key: "counts"'],
    ['devices: [{ path: /dev/tty* }]', 'devices[0]: a path with wildcards needs a name'],
    ['devices: [{ path: /dev/fuse, containerPath: /dev/../x }]', 'devices[0].containerPath: containerPath must be'],
    ['devices: [{ path: /dev/fuse, name: a/b }]', 'devices[0].name: the name must be one that Kubernetes takes'],
    ['devices: [{ name: a, group: [{ path: /dev/tty* }] }]', 'devices[0].group[0].path: a group cannot hold wildcards'],
    [
      'devices: [{ name: a, usb: { vendor: 0403, product: "6001" } }]',
      'devices[0].usb.vendor: must be four hex digits in quotes',
    ],
    [
      'devices: [{ name: a, usb: { vendor: "403", product: "6001" } }]',
      'devices[0].usb.vendor: must be four hex digits in quotes',
    ],
    ['devices: [{ name: a, usb: { vendor: "0403" } }]', 'devices[0].usb.product: must be four hex digits in quotes'],
    [
      'devices: [{ name: a, usb: { vendor: "0403", product: "6001", serial: 12 } }]',
      'devices[0].usb.serial: must be text; put',
    ],
    ['devices: [{ usb: { vendor: "0403", product: "6001" } }]', 'devices[0].name: '],
    ['devices: [{ name: a, usb: { vendor: "0403", product: "6001" }, nodes: [disk] }]', 'devices[0].nodes[0]: '],
    [
      'devices: [{ name: a, usb: { vendor: "0403", product: "6001" }, nodes: [tty, tty] }]',
      'devices[0].nodes: names a kind twice',
    ],
    [
      'devices: [{ name: a, usb: { vendor: "0403", product: "6001" }, path: /dev/x }]',
      'devices[0]: Unrecognized key: "path"',
    ],
    ['{ resourcePrefix: a.kubernetes.io, devices: [] }', 'resourcePrefix: this prefix belongs to Kubernetes'],
    ['devices: [{ path: /dev/a_b }, { path: /dev/a/b }]', 'another entry is offered as hostdev.k8s.io/dev_a_b already'],
  ])('refuses %s', (text, problem) => {
    expect(parseConfigFile(text).problems.join('\n')).toContain(problem);
  });

  test('tells every problem at once', () => {
    expect(parseConfigFile('devices: [{ path: /x }, { path: /dev/y, count: 0 }]').problems).toHaveLength(2);
  });

  const word = fc.oneof(
    fc.constantFrom(
      'path',
      'name',
      'group',
      'count',
      'permissions',
      'optional',
      'containerPath',
      'devices',
      'usb',
      'nodes',
      'vendor',
      'product',
      'serial',
      '__proto__',
    ),
    fc.string(),
  );
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom('/dev/fuse', '/dev/tty*', 'rw', '/dev/..', '0403', 'tty', 1, 1e9, -1, true, null),
      fc.string(),
      fc.double(),
      fc.array(tie('any'), { maxLength: 4 }),
      fc.dictionary(word, tie('any'), { maxKeys: 5 }),
    ),
  })).any;
  const devices = fc.array(value, { maxLength: 5 }).map((list) => JSON.stringify({ devices: list }));
  const right = [
    { path: '/dev/fuse', permissions: 'rwm', count: 10 },
    { name: 'all', path: '/dev/tty*', containerPath: '/dev/all/', optional: true },
    { name: 'both', group: [{ path: '/dev/kvm' }, { path: '/dev/null', permissions: 'r' }] },
    { name: 'key', usb: { vendor: '1050', product: '0407', serial: 'x' }, nodes: ['usb', 'tty'] },
  ];
  // The first place is the whole text.
  const change = fc.tuple(fc.integer({ min: 1, max: 30 }), value);
  const almost = fc.array(change, { minLength: 1, maxLength: 2 }).map((changes) =>
    changes.reduce(
      (text, [place, other]) => {
        let left = place;
        return JSON.stringify(JSON.parse(text, (_key, old: unknown) => (left-- === 0 ? other : old))) ?? '';
      },
      JSON.stringify({ devices: right }),
    ),
  );

  test.each([
    ['text', fc.string({ unit: 'binary', maxLength: 200 })],
    ['YAML of any shape', value.map((any) => JSON.stringify(any) ?? '')],
    ['entries of any shape', devices],
    ['entries with something else at one or two places', almost],
  ])('offers nothing of malformed %s and says why', (_, texts) => {
    fc.assert(
      fc.property(texts, (text) => {
        const { devs, problems } = parseConfigFile(text);
        for (const problem of problems) expect(problem).toMatch(ENTRY);
        for (const dev of devs) {
          const { resource, count } = dev;
          const paths = 'usb' in dev ? [] : dev.nodes.map(({ path }) => path);
          const ids = 'usb' in dev ? [dev.usb.vendor, dev.usb.product] : [];
          expect(resource).toMatch(/^hostdev\.k8s\.io\/[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?$/);
          expect(count >= 1 && count <= 1_000 && paths.length + ids.length > 0).toBe(true);
          for (const path of paths) expect(path).toMatch(/^\/dev\//);
          for (const id of ids) expect(id).toMatch(/^[0-9a-f]{4}$/);
        }
        expect(devs.length > 0 || problems.length > 0 || /devices"?:\s*\[\s*\]/.test(text)).toBe(true);
      }),
      { numRuns: RUNS },
    );
  });
});
