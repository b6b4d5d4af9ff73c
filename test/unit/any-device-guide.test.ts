import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { load } from 'js-yaml';
import { parseMountBody } from '../../apiserver/requests/mount-body.ts';
import { bodyProblems } from '../../apiserver/requests/mount-request.ts';

const GUIDE = readFileSync(join(import.meta.dirname, '../../docs/guides/any-device-plugin.md'), 'utf8');
const blocks = (language: string): readonly string[] =>
  [...GUIDE.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, 'gm'))].map(([, text = '']) => text);

test('the requests in docs/guides/any-device-plugin.md are such that the API takes them', () => {
  const requests = blocks('sh').map(
    (text) => /\/mount\?device_type=GENERIC&.* -f - <<'END'\n(.*)\nEND\n/.exec(text)?.[1],
  );
  expect(requests).toHaveLength(2);
  for (const request of requests) {
    const { body, problems, unknown } = parseMountBody(Buffer.from(request ?? ''));
    expect([problems, unknown, bodyProblems(body, 'GENERIC')]).toEqual([[], [], []]);
  }
});

test('the template in docs/guides/any-device-plugin.md is the one that is asked for', () => {
  const [template] = blocks('yaml').map((text) => load(text) as { kind: string; metadata: { name: string } });
  expect(template?.kind).toBe('ResourceClaimTemplate');
  expect(GUIDE).toContain(`"resourceClaimTemplateName": "${template?.metadata.name}"`);
});
