/** How a process reaches Temporal. The environment names are those of Temporal's own tools, where these have one. */
export const TEMPORAL_OPTIONS = {
  'temporal-address': {
    env: 'TEMPORAL_ADDRESS',
    default: '127.0.0.1:7233',
    help: 'Temporal frontend.',
    value: 'host:port',
  },
  'temporal-namespace': {
    env: 'TEMPORAL_NAMESPACE',
    default: 'default',
    help: 'Temporal namespace of the mounts.',
    value: 'name',
  },
  'temporal-tls': {
    env: 'TEMPORAL_TLS',
    help: 'Whether to use TLS; without it, exactly when one of the next five is given.',
    value: 'true or false',
    check: (value: string) => (['true', 'false'].includes(value) ? undefined : 'true or false'),
  },
  'temporal-tls-ca': {
    env: 'TEMPORAL_TLS_SERVER_CA_CERT_PATH',
    help: 'CA certificates (PEM) of the frontend; without it those of the system.',
    value: 'file',
  },
  'temporal-tls-cert': {
    env: 'TEMPORAL_TLS_CLIENT_CERT_PATH',
    help: 'Client certificate (PEM), for mutual TLS.',
    value: 'file',
  },
  'temporal-tls-key': {
    env: 'TEMPORAL_TLS_CLIENT_KEY_PATH',
    help: 'Key of the client certificate (PEM).',
    value: 'file',
  },
  'temporal-tls-server-name': {
    env: 'TEMPORAL_TLS_SERVER_NAME',
    help: 'Name in the certificate of the frontend, where it is not that of the address.',
    value: 'name',
  },
  'temporal-api-key-file': {
    env: 'TEMPORAL_API_KEY_FILE',
    help: 'File with the API key. It is read again while the process runs.',
    value: 'file',
  },
  'temporal-payload-keys': {
    env: 'TEMPORAL_PAYLOAD_KEYS',
    help: 'File with AES-256 keys that encrypt payloads, a line "<id>:<base64>" each: the first encrypts, all decrypt.',
    value: 'file',
  },
} as const;
