import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { anything, assert, constantFrom, oneof, property, record, string } from 'fast-check';
import { makeCluster, type TestCluster, TestServer } from '../test/apiserver/harness.ts';
import { RUNS } from '../test/property-runs.ts';
import { parseMountBody } from './requests/mount-body.ts';

let cluster: TestCluster;
let server: TestServer;
beforeAll(() => {
  cluster = makeCluster();
});
beforeEach(async () => {
  server = await new TestServer(cluster).start();
});
afterEach(() => server.stop());

const PATH = '/apis/device-mounter.io/v1alpha1/namespaces/default/pods/web-0/mount';
const mount = (claims: unknown, more: object = {}, type = 'GENERIC') => {
  const body = JSON.stringify({ claims, ...more });
  return server.as('jane', { method: 'PUT', path: `${PATH}?device_type=${type}`, body });
};
const OWN = { name: 'own', resourceClaimName: 'gpu-of-web' };
const NEW = { name: 'new', resourceClaimTemplateName: 'one-gpu' };

/** What was reviewed, such as `get resource.k8s.io/resourceclaims gpu-of-web`. */
const reviewed = (): readonly string[] =>
  server.reviews.map(({ resourceAttributes: what }) =>
    [what?.verb, `${what?.group}/${what?.resource}`, what?.name].filter(Boolean).join(' '),
  );

describe('claims of PUT mount', () => {
  test('are signed and shown, with and without resources', async () => {
    for (const resources of [undefined, { 'x.io/gpu': '1' }]) {
      const { code, json } = await mount([OWN, NEW], { resources });
      expect([code, json]).toMatchObject([200, { spec: { claims: [OWN, NEW], resources: resources ?? {} } }]);
      expect(server.mounts.asked.at(-1)?.request).toMatchObject({ claims: [OWN, NEW] });
    }
  });

  test('are absent from a request without any', async () => {
    await mount([], { resources: { 'x.io/gpu': '1' } });
    expect(server.mounts.asked[0]?.request).not.toHaveProperty('claims');
    expect(reviewed()).toEqual(['update device-mounter.io/pods web-0']);
  });

  test('need the right to create pods, and to read each of them', async () => {
    await mount([OWN, NEW]);
    expect(reviewed()).toEqual([
      'update device-mounter.io/pods web-0',
      'create /pods',
      'get resource.k8s.io/resourceclaims gpu-of-web',
      'get resource.k8s.io/resourceclaimtemplates one-gpu',
    ]);
    expect(server.reviews.every(({ user }) => user === 'jane')).toBe(true);
  });

  test.each([
    ['pods', 'pods is forbidden: User "jane" cannot create resource "pods" in API group "" in the namespace "default"'],
    ['resourceclaims', 'resourceclaims.resource.k8s.io "gpu-of-web" is forbidden: User "jane" cannot get resource'],
    ['resourceclaimtemplates', 'resourceclaimtemplates.resource.k8s.io "one-gpu" is forbidden: User "jane" cannot get'],
  ])('are refused to whoever lacks a right on %s', async (resource, message) => {
    server.review = ({ resourceAttributes: what }) => ({
      allowed: what?.resource !== resource || what.group === 'device-mounter.io',
    });
    const { code, json } = await mount([OWN, NEW]);
    expect([code, json['message']]).toEqual([403, expect.stringContaining(message)]);
    expect(server.mounts.asked).toEqual([]);
  });

  test.each<readonly [string, unknown, string, ...(readonly [object?, string?])]>([
    ['is called as another', [OWN, { ...NEW, name: 'own' }], 'claims[1].name'],
    ['names nothing', [{ name: 'a' }], 'claims[0]'],
    ['names a claim and a template', [{ ...OWN, ...NEW }], 'claims[0]'],
    ['has a name that is no DNS label', [{ ...OWN, name: 'a.b' }], 'claims[0].name'],
    ['names no object of Kubernetes', [{ ...OWN, resourceClaimName: '../x' }], 'claims[0].resourceClaimName'],
    ['has another field', [{ ...OWN, request: 'x' }], 'claims[0].request'],
    ['is one too many', Array.from({ length: 9 }, (_, index) => ({ ...OWN, name: `c${index}` })), 'claims'],
    ['is no list', OWN, 'claims'],
    ['is to be split', [OWN], 'split', { split: true }],
    ['is of another type', [OWN], 'claims', { resources: { 'hostdev.k8s.io/dev_fuse': 1 } }, 'HOSTDEV'],
    ['is missing, and resources too', [], 'resources'],
  ])('are refused where one %s', async (...row) => {
    const [, claims, field, more, type] = row;
    const { code, json } = await mount(claims, more, type);
    expect({ code, json }).toMatchObject({ code: 422, json: { details: { causes: [{ field }] } } });
    expect(server.mounts.asked).toEqual([]);
  });
});

const name = oneof(constantFrom('gpu', 'a.b', '', '../x', 'A'), string({ maxLength: 70 }));
const claim = oneof(
  record({ name, resourceClaimName: name, resourceClaimTemplateName: name }, { requiredKeys: [] }),
  anything({ maxDepth: 1 }),
);

test('claims of any kind are whole, or a problem by field', () => {
  assert(
    property(claim, (any) => {
      const text = JSON.stringify({ claims: [any] });
      const { body, problems } = parseMountBody(Buffer.from(text));
      for (const { field } of problems) expect(field).toMatch(/^claims/);
      expect(problems.length === 0).toBe(body.claims !== undefined);
      for (const { name, resourceClaimName, resourceClaimTemplateName } of body.claims ?? []) {
        expect(name).toMatch(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/);
        const [object, ...others] = [resourceClaimName, resourceClaimTemplateName].filter((one) => one !== undefined);
        expect([others, object]).toEqual([[], expect.stringMatching(/^[a-z0-9][a-z0-9.-]*$/)]);
      }
    }),
    { numRuns: RUNS },
  );
});
