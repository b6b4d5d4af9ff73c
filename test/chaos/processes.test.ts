import { expect, test } from '@jest/globals';
import { nodeIn, productPart } from './processes.ts';

const MOUNTINFO =
  '36 35 0:52 / / rw - overlay overlay rw,lowerdir=/s/node-2/a,upperdir=/s/node-2/containerd/b/fs,workdir=/w\n';

test.each([
  [['/usr/local/bin/node', '--optimize-for-size', 'node-worker/main.ts', '--host-root'], 'node worker'],
  [['/usr/local/bin/node', 'apiserver/main.ts'], 'apiserver'],
  [['/usr/local/bin/node', 'workflows/main.ts'], 'control worker'],
  [['node', 'device-plugin/main.ts', '--devs', '/dev/fuse'], 'plugin'],
  [['sleep', '100'], undefined],
  [['node', 'my-apiserver/main.ts'], undefined],
])('productPart() of %j is %s', (words, part) => {
  expect(productPart(`${words.join('\0')}\0`)).toBe(part);
});

test.each([
  ['/s', MOUNTINFO, 'node-2'],
  ['/other', MOUNTINFO, undefined],
  ['/s', '36 35 8:1 / / rw - ext4 /dev/sda rw\n', undefined],
])('nodeIn() under %s of %j is %s', (root, mountinfo, node) => {
  expect(nodeIn(root, mountinfo)).toBe(node);
});
