import { describe, expect, test } from '@jest/globals';
import { statePaths } from '../state.ts';
import { TOOLS, type ToolFolders } from '../tools.ts';
import { nodePaths } from './paths.ts';
import { initScript, nodeRoot, unitFiles } from './systemd-files.ts';

const STATE = statePaths({ DEVICE_MOUNTER_STATE: '/state' });
const FOLDERS = Object.fromEntries(TOOLS.map(({ name }) => [name, `/tools/${name}`])) as ToolFolders;
const KUBELET = { name: 'kubelet', command: '/bin/kubelet', args: ['--a=b'], path: '/bin', logFile: '/log/kubelet' };

describe('unitFiles()', () => {
  test('lets the bus be opened by systemd, which joins it only so', () => {
    const files = unitFiles([]);
    expect(files['dbus.socket']).toContain('ListenStream=/run/dbus/system_bus_socket');
    expect(files['dbus.service']).toContain('--address=systemd:');
    expect(files['node.target']).toContain('Wants=dbus.socket dbus.service');
  });

  test('lets containers outlive the restart of what started them', () => {
    expect(unitFiles([KUBELET])['kubelet.service']).toContain('Delegate=yes\nKillMode=process\n');
  });

  test.each([
    ['a blank', '/it is', '"/it is"'],
    ['a quote', '/a"b', '"/a\\"b"'],
    ['a percent sign', '/100%', '"/100%%"'],
    ['a dollar sign', '/$HOME', '"/$$HOME"'],
  ])('quotes %s as systemd reads it', (_name, command, word) => {
    expect(unitFiles([{ ...KUBELET, command }])['kubelet.service']).toContain(`ExecStart=${word} "--a=b"\n`);
  });
});

test('initScript() shows the cluster’s own folders where they lie', () => {
  const script = initScript(nodeRoot(STATE.root, nodePaths(STATE, 'node-3'), FOLDERS));
  expect(script).toContain("mkdir -p .'/state'\nmount --bind '/state' .'/state'\n");
  expect(script).toContain("mount --bind '/tools/containerd' .'/tools/containerd'\n");
  expect(script.indexOf('mount -t cgroup2')).toBeLessThan(script.indexOf('pivot_root'));
});
