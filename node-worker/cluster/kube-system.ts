import { z } from 'zod';
import type { KubeApi } from '../../process/kube-api.ts';

const NAMESPACE = z.object({ metadata: z.object({ uid: z.string().min(1) }) });

/** UID of the namespace `kube-system`. */
export async function kubeSystemUid(api: Pick<KubeApi, 'get'>): Promise<string> {
  return NAMESPACE.parse(await api.get('/api/v1/namespaces/kube-system')).metadata.uid;
}
