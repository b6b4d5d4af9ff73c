import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { load } from 'js-yaml';
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
  expect(new Set(resources).size).toBe(6);
  for (const name of resources) expect(name).toMatch(DEVICE_TYPES.ASCEND_NPU.resources);
  const others = ['huawei.com/Ascend', 'huawei.com/npu-cores', 'huawei.com/Ascend910-', 'huawei.com.evil/Ascend910'];
  for (const name of others) expect(name).not.toMatch(DEVICE_TYPES.ASCEND_NPU.resources);
  expect(ascendNpu.reads?.filter((key) => !GUIDE.includes(`\`${key}\``))).toEqual([]);
});

test('the pod in docs/guides/ascend-npu.md mounts the volumes that it has, and the request names that pod', () => {
  const [, text = ''] = /^```yaml\n(apiVersion: v1\nkind: Pod\n[^]*?)^```$/m.exec(GUIDE) ?? [];
  const { metadata, spec } = load(text) as Pod;
  const mounted = spec.containers.flatMap(({ volumeMounts }) =>
    volumeMounts.map(({ name, mountPath }) => [name, mountPath]),
  );
  expect(mounted).toEqual(spec.volumes.map(({ name, hostPath }) => [name, hostPath.path]));
  expect(GUIDE).toContain(`/namespaces/${metadata.namespace}/pods/${metadata.name}/mount?`);
});

interface Pod {
  readonly metadata: { readonly namespace: string; readonly name: string };
  readonly spec: {
    readonly containers: readonly { readonly volumeMounts: readonly { name: string; mountPath: string }[] }[];
    readonly volumes: readonly { readonly name: string; readonly hostPath: { readonly path: string } }[];
  };
}

test('docs/guides/ascend-npu.md links to guides that there are', () => {
  const links = [...GUIDE.matchAll(/\]\(([a-z-]+\.md)/g)].map(([, file = '']) => file);
  expect([links.length > 0, links.filter((file) => !existsSync(join(DOCS, file)))]).toEqual([true, []]);
});
