import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { loadAllYaml, type V1Deployment, type V1ValidatingAdmissionPolicy } from '@kubernetes/client-node';

interface KubeObject {
  readonly kind: string;
  readonly metadata: { readonly name: string };
}

const OBJECTS = loadAllYaml(
  readFileSync(join(import.meta.dirname, 'device-mounter-apiserver.yaml'), 'utf8'),
) as KubeObject[];

/** The object `kind/name`, which the test would fail without. */
function find<T>(kind: string, name: string): T {
  return OBJECTS.find((object) => object.kind === kind && object.metadata.name === name) as T;
}

test('the policy lets the account that the control worker runs as write DeviceMounts', () => {
  const { metadata, spec } = find<V1Deployment>('Deployment', 'device-mounter-control');
  const { spec: policy } = find<V1ValidatingAdmissionPolicy>(
    'ValidatingAdmissionPolicy',
    'devicemounts.device-mounter.io',
  );
  const account = `system:serviceaccount:${metadata?.namespace}:${spec?.template.spec?.serviceAccountName}`;
  expect(policy?.validations?.[0]?.expression).toContain(`request.userInfo.username == '${account}'`);
});
