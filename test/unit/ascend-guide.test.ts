import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { parseMountBody } from '../../apiserver/requests/mount-body.ts';
import { bodyProblems } from '../../apiserver/requests/mount-request.ts';
import { DEVICE_TYPES } from '../../contract/device-types.ts';
import { ascendNpu } from '../../node-worker/drivers/ascend-npu.ts';

const DOCS = join(import.meta.dirname, '../../docs/guides');
const GUIDE = readFileSync(join(DOCS, 'ascend-npu.md'), 'utf8');

test('the request in docs/guides/ascend-npu.md is such that the API takes it', () => {
  const [, request = ''] = /\/mount\?device_type=ASCEND_NPU&.* -f - <<'END'\n(.*)\nEND\n/.exec(GUIDE) ?? [];
  const { body, problems, unknown } = parseMountBody(Buffer.from(request));
  expect([problems, unknown, bodyProblems(body, 'ASCEND_NPU')]).toEqual([[], [], []]);
});

test('docs/guides/ascend-npu.md names resources that the API takes, and what the driver reads', () => {
  const resources = [...GUIDE.matchAll(/`(huawei\.com\/(?!AscendReal)[^`]+)`/g)].map(([, name = '']) => name);
  expect(resources).toHaveLength(6);
  for (const name of resources) expect(name).toMatch(DEVICE_TYPES.ASCEND_NPU.resources);
  const others = ['huawei.com/Ascend', 'huawei.com/npu-cores', 'huawei.com/Ascend910-', 'huawei.com.evil/Ascend910'];
  for (const name of others) expect(name).not.toMatch(DEVICE_TYPES.ASCEND_NPU.resources);
  expect(ascendNpu.reads?.filter((key) => !GUIDE.includes(`\`${key}\``))).toEqual([]);
});

test('docs/guides/ascend-npu.md links to guides that there are', () => {
  const links = [...GUIDE.matchAll(/\]\(([a-z-]+\.md)/g)].map(([, file = '']) => file);
  expect([links.length > 0, links.filter((file) => !existsSync(join(DOCS, file)))]).toEqual([true, []]);
});
