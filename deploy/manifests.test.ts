import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { loadAllYaml, type V1Deployment, type V1ValidatingAdmissionPolicy } from '@kubernetes/client-node';

const MANIFEST = readFileSync(join(import.meta.dirname, 'device-mounter-apiserver.yaml'), 'utf8');

test('the policy lets the account that the control worker runs as write DeviceMounts', () => {
  const objects = loadAllYaml(MANIFEST) as (V1Deployment & V1ValidatingAdmissionPolicy)[];
  const control = objects.find(
    ({ kind, metadata }) => kind === 'Deployment' && metadata?.name === 'device-mounter-control',
  );
  const policy = objects.find(({ kind }) => kind === 'ValidatingAdmissionPolicy');
  const { namespace } = control?.metadata ?? {};
  const account = `system:serviceaccount:${namespace}:${control?.spec?.template.spec?.serviceAccountName}`;
  expect(policy?.spec?.validations?.[0]?.expression).toContain(`request.userInfo.username == '${account}'`);
});
