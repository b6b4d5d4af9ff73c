import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { parseMountBody } from '../../apiserver/requests/mount-body.ts';
import { bodyProblems } from '../../apiserver/requests/mount-request.ts';
import { DEVICE_TYPES, isMeasure } from '../../contract/device-types.ts';
import { wantsExpansion } from '../../contract/requests.ts';
import { VGPU_WORDS } from '../../node-worker/drivers/vgpu-ids.ts';
import { VGPU } from '../node-worker/vgpu.ts';

const GUIDE = readFileSync(join(import.meta.dirname, '../../docs/guides/volcano-vgpu.md'), 'utf8');

test('the requests in docs/guides/volcano-vgpu.md are such that the API takes them, with the patch, too', () => {
  const requests = [...GUIDE.matchAll(/\/mount\?device_type=VOLCANO_VGPU&.* -f - <<'END'\n(.*)\nEND\n/g)];
  const [request = '', expansion = ''] = requests.map(([, body = '']) => body);
  const [, patches = ''] = /`("patches": \[.*\])`/.exec(GUIDE) ?? [];
  const { annotations = {} } = parseMountBody(Buffer.from(expansion)).body;
  expect(wantsExpansion({ annotations })).toBe(true);
  for (const text of [request, expansion, `{${patches}, ${request.slice(1)}`]) {
    const { body, problems, unknown } = parseMountBody(Buffer.from(text));
    expect([problems, unknown, bodyProblems(body, 'VOLCANO_VGPU')]).toEqual([[], [], []]);
  }
});

test('docs/guides/volcano-vgpu.md names resources that there are, and the words of both schedulers', () => {
  const resources = [...GUIDE.matchAll(/^\| `(volcano\.sh\/\S+)`/gm)].map(([, resource = '']) => resource);
  expect(resources.filter((resource) => !isMeasure(resource))).toEqual([VGPU]);
  expect(resources.filter((resource) => !DEVICE_TYPES.VOLCANO_VGPU.resources.test(resource))).toEqual([]);
  expect(VGPU_WORDS.filter((word) => !GUIDE.includes(`\`${word}\``))).toEqual([]);
});
