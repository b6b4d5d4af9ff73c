import { describe, expect, test } from '@jest/globals';
import { parseMountBody } from './mount-body.ts';

const parsed = (text: string) => parseMountBody(Buffer.from(text));

describe('parseMountBody()', () => {
  test('passes over the comments in the example of the original’s API page', () => {
    const { body, problems } = parsed(`{
    "resources": {   // requested k8s node resource name
        "volcano.sh/vgpu-number":"1",
        "volcano.sh/vgpu-memory":"2000"
    },
    "annotations": { // slave pod annotation
        "device-mounter.io/expansion":"true"
    }
}`);
    expect(problems).toEqual([]);
    expect(body).toMatchObject({
      resources: { 'volcano.sh/vgpu-number': '1', 'volcano.sh/vgpu-memory': '2000' },
      annotations: { 'device-mounter.io/expansion': 'true' },
    });
  });

  test.each([
    ['a URL', '{"annotations":{"a":"https://x"}}', 'https://x'],
    ['a URL before a comment', '{"annotations":{"a":"https://x"}} // y', 'https://x'],
    ['a quote before slashes', '{"annotations":{"a":"\\"// x"}} // y', '"// x'],
    ['a backslash at the end', '{"annotations":{"a":"\\\\"}} // "', '\\'],
  ])('keeps %s', (_name, text, value) => {
    expect(parsed(text).body.annotations).toEqual({ a: value });
  });

  test('reads a string without an end in a moment', () => {
    const before = process.cpuUsage();
    expect(() => parsed(`{"name":"${'\\"'.repeat(320_000)}`)).toThrow(/^Cannot read the body/);
    // It takes milliseconds; looked at anew from each quote, it would take minutes on the fastest machine.
    expect(process.cpuUsage(before).user).toBeLessThan(60_000_000);
  });

  test.each(['{"name":"x" /* y */}', '{"name":"x",}', "{'name':'x'}", '// x', '{"name":"x // y', '[]', '"x"', '\xff'])(
    'refuses %j',
    (text) => {
      expect(() => parseMountBody(Buffer.from(text, 'latin1'))).toThrow(/^Cannot read the body/);
    },
  );

  test.each([
    ['{}', 'auto'],
    ['{"inject":null}', 'auto'],
    ['{"inject":"files"}', 'files'],
    ['{"inject":"all"}', undefined],
  ])('of %s says inject: %s', (text, inject) => {
    const { body, problems } = parsed(text);
    expect([body.inject, problems.map(({ field }) => field)]).toEqual([inject, inject === undefined ? ['inject'] : []]);
  });
});
