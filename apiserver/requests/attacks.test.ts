import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { makeCluster, TestServer } from '../../test/apiserver/harness.ts';

let server: TestServer;
beforeAll(async () => {
  server = await new TestServer(makeCluster()).start();
});
afterAll(() => server.stop());

const PATH = '/apis/device-mounter.io/v1alpha1/namespaces/default/pods/web-0/mount?device_type=HOSTDEV';
const FUSE = 'hostdev.k8s.io/dev_fuse';

async function mount(more: object) {
  const body = JSON.stringify({ resources: { [FUSE]: 1 }, ...more });
  const before = server.mounts.asked.length;
  const { code, json } = await server.as('jane', { method: 'PUT', path: PATH, body });
  const details = json['details'] as { causes?: { field: string; reason: string }[] } | undefined;
  return { code, fields: details?.causes?.map(({ field }) => field), begun: server.mounts.asked.length - before };
}

const HOST = { name: 'host', hostPath: { path: '/' } };
const CONTAINER = { name: 'x', image: 'x', securityContext: { privileged: true } };
const C0 = '/spec/containers/0';
const add = (path: string, value: unknown, op = 'add') => ({ op, path, value });

describe('a patch that would raise privileges', () => {
  test.each([
    ['a host path', add('/spec/volumes', [HOST])],
    ['a host path at the end of a list', add('/spec/volumes/-', HOST)],
    ['a host path by replace', add('/spec/volumes', [HOST], 'replace')],
    ['a volume by move', { op: 'move', from: '/metadata/annotations/x', path: '/spec/volumes/0/hostPath' }],
    ['a volume by copy', { op: 'copy', from: '/spec/tolerations', path: '/spec/volumes' }],
    ['a secret as a volume', add('/spec/volumes/-', { name: 's', secret: { secretName: 's' } })],
    ['a token of the service account', add('/spec/volumes/-', { name: 't', projected: { sources: [] } })],
    ['a mount of a volume', add(`${C0}/volumeMounts`, [{ name: 'host', mountPath: '/host' }])],
    ['a privileged container', add(`${C0}/securityContext/privileged`, true)],
    ['a security context', add(`${C0}/securityContext`, { privileged: true }, 'replace')],
    ['a capability', add(`${C0}/securityContext/capabilities/add/-`, 'SYS_ADMIN')],
    ['more privileges by exec', add(`${C0}/securityContext/allowPrivilegeEscalation`, true)],
    ['an unmasked /proc', add(`${C0}/securityContext/procMount`, 'Unmasked')],
    ['root', add('/spec/securityContext/runAsUser', 0)],
    ['no seccomp', add('/spec/securityContext/seccompProfile/type', 'Unconfined', 'replace')],
    ['a sysctl', add('/spec/securityContext/sysctls', [{ name: 'kernel.core_pattern', value: '|/x' }])],
    ['the host’s network', add('/spec/hostNetwork', true)],
    ['the host’s processes', add('/spec/hostPID', true)],
    ['the host’s IPC', add('/spec/hostIPC', true)],
    ['the host’s users', add('/spec/hostUsers', true)],
    ['another service account', add('/spec/serviceAccountName', 'admin')],
    ['the old name of it', add('/spec/serviceAccount', 'admin')],
    ['its token', add('/spec/automountServiceAccountToken', true, 'replace')],
    ['an init container', add('/spec/initContainers', [CONTAINER])],
    ['another container', add('/spec/containers/-', CONTAINER)],
    ['a container in place of ours', add('/spec/containers/0', CONTAINER, 'replace')],
    ['all containers', add('/spec/containers', [CONTAINER], 'replace')],
    ['a second container’s limits', add('/spec/containers/1/resources/limits/cpu', '1')],
    ['an ephemeral container', add('/spec/ephemeralContainers', [CONTAINER])],
    ['another image', add(`${C0}/image`, 'evil', 'replace')],
    ['another command', add(`${C0}/command`, ['sh'])],
    [
      'a secret in the environment',
      add(`${C0}/env`, [{ name: 'A', valueFrom: { secretKeyRef: { name: 's', key: 'k' } } }]),
    ],
    ['secrets in the environment', add(`${C0}/envFrom`, [{ secretRef: { name: 's' } }])],
    ['a host port', add(`${C0}/ports`, [{ containerPort: 1, hostPort: 22 }])],
    ['a hook', add(`${C0}/lifecycle/postStart`, { exec: { command: ['sh'] } })],
    ['a block device', add(`${C0}/volumeDevices`, [{ name: 'v', devicePath: '/dev/x' }])],
    ['a claim of devices', add('/spec/resourceClaims', [{ name: 'gpu' }])],
    ['another node', add('/spec/nodeName', 'control-plane')],
    ['a node selector', add('/spec/nodeSelector', { a: 'b' })],
    ['an affinity beside the pin', add('/spec/affinity/nodeAffinity', {})],
    ['a pull secret', add('/spec/imagePullSecrets', [{ name: 's' }])],
    ['a priority as a number', add('/spec/priority', 2_000_000_000)],
    ['another owner', add('/metadata/ownerReferences', [])],
    ['another namespace', add('/metadata/namespace', 'kube-system', 'replace')],
    ['another name', add('/metadata/name', 'x', 'replace')],
    ['a finalizer', add('/metadata/finalizers', ['x/y'])],
    ['the whole pod', add('', { spec: { hostPID: true } }, 'replace')],
    ['the whole spec', add('/spec', { hostPID: true }, 'replace')],
    ['all labels at once', add('/metadata/labels', { 'device-mounter.io/owner-uid': 'x' }, 'replace')],
    ['a label of ours by an escape', add('/metadata/labels/device-mounter.io~1owner-uid', 'x')],
    ['an annotation of CDI', add('/metadata/annotations/cdi.k8s.io~1x', 'vendor.com/gpu=all')],
    ['an escape of an escape', add('/metadata/labels/a~01b~1c/d', 'x')],
    ['a broken escape', add('/metadata/labels/a~2b', 'x')],
    ['a resource of the node', add(`${C0}/resources/limits/memory`, '1')],
    ['a resource of another type', add(`${C0}/resources/limits/nvidia.com~1gpu`, '1')],
    ['a quantity in a list', add(`${C0}/resources/limits/hostdev.k8s.io~1dev_fuse`, ['2'])],
    ['a label of a controller', add('/metadata/labels/pod-template-hash', 'x')],
    ['an annotation of nobody', add('/metadata/annotations/x', 'x')],
    ['a field by its prototype', add('/spec/__proto__/hostPID', true)],
    ['a look at what is there', add('/spec/serviceAccountName', 'x', 'test')],
    ['a removal of the security context', { op: 'remove', path: `${C0}/securityContext` }],
    ['a removal of the class', { op: 'remove', path: '/spec/priorityClassName' }],
    ['a class above the target’s', add('/spec/priorityClassName', 'high')],
    ['a class of the system', add('/spec/priorityClassName', 'system-node-critical', 'replace')],
    ['a class that there is not', add('/spec/priorityClassName', 'none')],
    ['an operation that there is not', add('/spec/schedulerName', 'x', 'merge')],
  ])('%s is refused with its field', async (_name, patch) => {
    const asObject = await mount({ patches: [patch] });
    expect(asObject).toMatchObject({ code: 422, begun: 0 });
    expect(asObject.fields?.join()).toMatch(/patches\[0\]/);
    expect(await mount({ patches: [JSON.stringify(patch)] })).toEqual(asObject);
  });

  test.each([
    add('/spec/schedulerName', 'volcano', 'replace'),
    add('/spec/priorityClassName', 'same'),
    add('/spec/runtimeClassName', 'nvidia'),
    add('/spec/tolerations/-', { key: 'gpu', operator: 'Exists' }),
    add(`${C0}/resources/limits/hostdev.k8s.io~1dev_fuse`, '2', 'replace'),
    add('/metadata/labels/volcano.sh~1queue', 'q'),
    add('/metadata/annotations/nvidia.com~1use', 'a100'),
  ])('is none in $path', async (patch) => {
    expect(await mount({ patches: [patch] })).toMatchObject({ code: 200, begun: 1 });
  });
});

describe('labels and annotations', () => {
  test.each([
    'app.kubernetes.io/managed-by',
    'pod-security.kubernetes.io/enforce',
    'k8s.io/x',
    'cdi.k8s.io/x',
    'k8s.v1.cni.cncf.io/networks',
    'device-mounter.io/owner-uid',
    'x.device-mounter.io/y',
    'resources.nri.io/x',
    'io.kubernetes.cri-o.Devices',
    'io.katacontainers.config/x',
    'run.oci.handler',
    'org.systemd.property.DeviceAllow',
    'io.containerd/x',
    'sidecar.istio.io/inject',
    'vault.hashicorp.com/agent-inject',
    'container.apparmor.security.beta.kubernetes.io/slave',
    'K8S.io/x',
    'pod-template-hash',
    'controller-revision-hash',
    'statefulset.kubernetes.io/pod-name',
    'controller-uid',
    'job-name',
    'pod-template-generation',
    'batch.kubernetes.io/job-name',
    'ad.datadoghq.com/slave.logs',
    'admission.datadoghq.com/enabled',
    'instrumentation.opentelemetry.io/inject-java',
    'co.elastic.logs/enabled',
    'karpenter.sh/do-not-disrupt',
    'kuma.io/mesh',
    'appmesh.k8s.aws/mesh',
    'example.com/a.b',
    'huawei.com/AscendReal',
    'huawei.com/kltDev',
    'huawei.com/npu-core',
    'huawei.com/Ascend910',
    'huawei.com/Ascend310P-4c.3cpu',
    'not a key',
    'a/b/c',
    '',
  ])('%j is refused in both', async (key) => {
    for (const field of ['labels', 'annotations']) {
      const { code, fields, begun } = await mount({ [field]: { [key]: 'x' } });
      expect([code, begun, fields?.join().includes(field)]).toEqual([422, 0, true]);
    }
  });

  test.each(['app', 'tier', 'version'])('%j may be set as a label, and is no annotation', async (key) => {
    expect(await mount({ labels: { [key]: 'x' } })).toMatchObject({ code: 200 });
    expect(await mount({ annotations: { [key]: 'x' } })).toMatchObject({ code: 422, begun: 0 });
  });

  test.each([
    'volcano.sh/queue-name',
    'volcano.sh/vgpu-mode',
    'scheduling.volcano.sh/group-name',
    'nvidia.com/use-gputype',
    'huawei.com/x',
    'hami.io/gpu-scheduler-policy',
    'koordinator.sh/qosClass',
    'yunikorn.apache.org/queue',
    'kueue.x-k8s.io/queue-name',
  ])('%j may be set in both', async (key) => {
    expect(await mount({ labels: { [key]: 'x' }, annotations: { [key]: 'x y' } })).toMatchObject({ code: 200 });
  });

  test.each([
    ['true', 200],
    [' True ', 200],
    ['false', 200],
    ['yes', 422],
    ['', 422],
  ])('device-mounter.io/expansion %j gets %i', async (value, code) => {
    expect(await mount({ annotations: { 'device-mounter.io/expansion': value } })).toMatchObject({ code });
  });
});
