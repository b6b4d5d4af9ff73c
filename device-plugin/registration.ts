import { Client, credentials } from '@grpc/grpc-js';
import { callOnce, loadService } from '../proto/services.ts';

const REGISTRATION = loadService('Registration');
/** The kubelet dials the plugin inside of the call and gives up after 10 s (pkg/kubelet/cm/devicemanager/plugin). */
const REGISTER_TIMEOUT_MS = 12_000;

/** Tells the kubelet at `kubeletSocket` that `resource` is served on the socket file `endpoint` beside it. */
export async function register(kubeletSocket: string, endpoint: string, resource: string): Promise<void> {
  const client = new Client(`unix:${kubeletSocket}`, credentials.createInsecure());
  try {
    await callOnce(
      client,
      REGISTRATION,
      'Register',
      {
        version: 'v1beta1',
        endpoint,
        resourceName: resource,
        options: { preStartRequired: false, getPreferredAllocationAvailable: false },
      },
      { timeoutMs: REGISTER_TIMEOUT_MS },
    );
  } finally {
    client.close();
  }
}
