import { fileURLToPath } from 'node:url';
import type { Client, MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

type Unary = MethodDefinition<object, object>;

const SERVICES = {
  Registration: { file: 'deviceplugin.proto', name: 'v1beta1.Registration' },
  DevicePlugin: { file: 'deviceplugin.proto', name: 'v1beta1.DevicePlugin' },
  DRAPlugin: { file: 'dra.proto', name: 'k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin' },
  PluginRegistration: { file: 'pluginregistration.proto', name: 'pluginregistration.Registration' },
  PodResourcesLister: { file: 'podresources.proto', name: 'v1.PodResourcesLister' },
  RuntimeService: { file: 'cri.proto', name: 'runtime.v1.RuntimeService' },
} as const;

/**
 * Loads the definition of a service. Names are in camel case, enums are their names, 64-bit numbers are strings (they may
 * exceed 2^53); what a message leaves out has its default.
 */
export function loadService(service: keyof typeof SERVICES): ServiceDefinition {
  const { file, name } = SERVICES[service];
  const loaded = loadSync(fileURLToPath(new URL(file, import.meta.url)), {
    keepCase: false,
    longs: String,
    enums: String,
    defaults: true,
  });
  return loaded[name] as ServiceDefinition;
}

export interface CallLimits {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Calls a method of a service that answers once. The caller states the shape of the answer, which is that of the .proto file.
 * Rejects with a `ServiceError` of gRPC, also when `signal` is aborted.
 */
export function callOnce<Response>(
  client: Client,
  service: ServiceDefinition,
  method: string,
  request: object,
  limits: CallLimits,
): Promise<Response> {
  const definition = service[method] as Unary;
  return new Promise((resolve, reject) => {
    const call = client.makeUnaryRequest(
      definition.path,
      definition.requestSerialize,
      definition.responseDeserialize,
      request,
      { deadline: Date.now() + limits.timeoutMs },
      (err, response) => {
        limits.signal?.removeEventListener('abort', cancel);
        if (err) reject(err);
        else resolve(response as Response);
      },
    );
    const cancel = (): void => call.cancel();
    limits.signal?.addEventListener('abort', cancel, { once: true });
    if (limits.signal?.aborted) cancel();
  });
}
