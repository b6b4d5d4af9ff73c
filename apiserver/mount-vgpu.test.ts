import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { makeCluster, type TestCluster, TestServer } from '../test/apiserver/harness.ts';
import { LATER_ORIGINAL_BODY, ORIGINAL_BODY } from '../test/apiserver/original-bodies.ts';

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
const mount = (body: string) =>
  server.as('jane', { method: 'PUT', path: `${PATH}?device_type=volcano_vgpu&container=main`, body });
const withResources = (names: Readonly<Record<string, string | number>>, more: object = {}) => {
  const resources = Object.fromEntries(Object.entries(names).map(([name, many]) => [`volcano.sh/${name}`, many]));
  return mount(JSON.stringify({ resources, ...more }));
};

describe('PUT mount of VOLCANO_VGPU', () => {
  test.each([
    ['page', ORIGINAL_BODY],
    ['later page', LATER_ORIGINAL_BODY],
  ])('takes the body of the original’s %s as it stands there', async (_name, body) => {
    expect((await mount(body)).code).toBe(200);
    const resources = { 'volcano.sh/vgpu-number': '1', 'volcano.sh/vgpu-memory': '2000' };
    expect(server.mounts.asked[0]?.request).toMatchObject({ deviceType: 'VOLCANO_VGPU', resources });
  });

  test.each([
    ['takes parts of a GPU', { 'vgpu-number': 1, 'vgpu-cores': 50, 'vgpu-memory-percentage': 20 }, undefined],
    ['refuses parts of none', { 'vgpu-memory': 2000, 'vgpu-cores': 50 }, 'resources'],
    ['refuses what no vGPU has', { 'vgpu-number': 1, 'vgpu-color': 1 }, 'resources[volcano.sh/vgpu-color]'],
  ])('%s', async (_name, names, field) => {
    const { code, json } = await withResources(names);
    expect(code).toBe(field === undefined ? 200 : 422);
    if (field !== undefined) expect(json).toMatchObject({ details: { causes: [{ field }] } });
  });

  test('refuses to split vGPUs, which have the id of the GPU that they may share', async () => {
    const { code, json } = await withResources({ 'vgpu-number': 2 }, { split: true });
    expect([code, json]).toMatchObject([422, { details: { causes: [{ field: 'split' }] } }]);
  });
});
