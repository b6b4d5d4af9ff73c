import type { Credential } from '../../../process/certificates.ts';
import { APISERVER_URL } from '../addresses.ts';

const base64 = (text: string): string => Buffer.from(text).toString('base64');

/** A kubeconfig (JSON, which is YAML) that holds everything itself, so that it can be copied. */
export function kubeconfigOf(authority: string, { certificate, key }: Credential): string {
  const name = 'device-mounter';
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name, cluster: { server: APISERVER_URL, 'certificate-authority-data': base64(authority) } }],
    users: [{ name, user: { 'client-certificate-data': base64(certificate), 'client-key-data': base64(key) } }],
    contexts: [{ name, context: { cluster: name, user: name } }],
    'current-context': name,
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}
