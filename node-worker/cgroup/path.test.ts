import { describe, expect, test } from '@jest/globals';
import { containerCgroup, isContainerId, levelsBetween, parseProcessCgroups } from './path.ts';

const ID = '0f8e4a1c9d3b2a7f6e5d4c3b2a1908f7e6d5c4b3a29180f7e6d5c4b3a2918070';
const OTHER = 'ffff4a1c9d3b2a7f6e5d4c3b2a1908f7e6d5c4b3a29180f7e6d5c4b3a2918070';
const UID = '1b1d4c0e-6a55-4f3a-9a8c-2f6c0a7b1e11';
const UID_ = UID.replaceAll('-', '_');
const QOS = `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${UID_}.slice`;

describe('containerCgroup()', () => {
  test.each([
    ['containerd, systemd driver', `${QOS}/cri-containerd-${ID}.scope`, ''],
    ['containerd, systemd, guaranteed', `/kubepods.slice/kubepods-pod${UID_}.slice/cri-containerd-${ID}.scope`, ''],
    ['containerd, cgroupfs driver', `/kubepods/besteffort/pod${UID}/${ID}`, ''],
    ['containerd, cgroupfs, guaranteed', `/kubepods/pod${UID}/${ID}`, ''],
    [
      'containerd without SystemdCgroup under a systemd kubelet',
      `/system.slice/containerd.service/kubepods-burstable-pod${UID_}.slice:cri-containerd:${ID}`,
      '',
    ],
    ['CRI-O, systemd', `${QOS}/crio-${ID}.scope`, ''],
    ['CRI-O, systemd, crun', `${QOS}/crio-${ID}.scope`, '/container'],
    ['CRI-O, cgroupfs', `/kubepods/burstable/pod${UID}/crio-${ID}`, ''],
    ['Docker, systemd', `${QOS}/docker-${ID}.scope`, ''],
    ['Docker, cgroupfs', `/kubepods/burstable/pod${UID}/${ID}`, ''],
    ['Docker mixed', `${QOS}/${ID}`, ''],
    ['crun, systemd', `${QOS}/cri-containerd-${ID}.scope`, '/container'],
    ['Podman', `/machine.slice/libpod-${ID}.scope`, '/container'],
    [
      'kind',
      `/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod${UID_}.slice/cri-containerd-${ID}.scope`,
      '',
    ],
    ['a nested node', `/docker/${OTHER}/kubelet/kubepods/besteffort/pod${UID}/${ID}`, ''],
    [
      'a static pod',
      `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod6f2b4d3c8a9e0f1a2b3c4d5e6f708192.slice/cri-containerd-${ID}.scope`,
      '',
    ],
    ["systemd as the container's init", `${QOS}/cri-containerd-${ID}.scope`, '/init.scope'],
    ['a nested directory of the same name', `/kubepods/pod${UID}/${ID}`, `/nested/${ID}`],
    ['a runtime without a parent', `/k8s.io/${ID}`, ''],
  ])('finds the container of %s', (_, own, below) => {
    expect(containerCgroup(own + below, ID)).toBe(own);
  });

  test.each([
    ['the root', '/'],
    ['a path relative to another namespace', `/../../kubepods/pod${UID}/${ID}`],
    ['another container', `/kubepods/pod${UID}/${OTHER}`],
    ['the monitor of CRI-O', `${QOS}/crio-conmon-${ID}.scope`],
    ['a longer name', `/kubepods/pod${UID}/x${ID}`],
    ['a name that goes on', `/kubepods/pod${UID}/${ID}-x`],
    ['the pod', QOS],
  ])('finds none in %s', (_, path) => {
    expect(containerCgroup(path, ID)).toBeUndefined();
  });
});

test.each([
  [ID, true],
  ['', false],
  ['..', false],
  ['short', false],
  [`${ID}/x`, false],
  [`../../${ID}`, false],
  ['aaaaaaaaaaaa..b', false],
])('isContainerId() answers for %j: %s', (id, answer) => {
  expect(isContainerId(id)).toBe(answer);
});

describe('parseProcessCgroups()', () => {
  test.each([
    [
      'hybrid',
      '9:name=systemd:/\n6:freezer:/f\n5:devices:/kubepods/x\n0::/u\n',
      { v1Devices: '/kubepods/x', v2: '/u', v1Freezer: '/f' },
    ],
    ['joined controllers', '4:cpu,devices:/a:b:c\n', { v1Devices: '/a:b:c' }],
    ['pure v2', '0::/kubepods.slice/x.scope\n', { v2: '/kubepods.slice/x.scope' }],
    ['a cgroup that is gone', '0::/x (deleted)\n', { v2: '/x' }],
    ['nothing', '', {}],
  ])('reads %s', (_, text, expected) => {
    expect(parseProcessCgroups(text)).toEqual(expected);
  });
});

test('levelsBetween() goes from the container to its init', () => {
  expect(levelsBetween('/r/a.scope', '/r/a.scope')).toEqual(['/r/a.scope']);
  expect(levelsBetween('/r/a.scope', '/r/a.scope/container/x')).toEqual([
    '/r/a.scope',
    '/r/a.scope/container',
    '/r/a.scope/container/x',
  ]);
});
