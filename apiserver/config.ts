import { type Options, wholeNumber } from '../process/options.ts';
import { SHARED_OPTIONS } from '../process/shared-options.ts';
import { TEMPORAL_OPTIONS } from '../process/temporal-options.ts';

export const SUMMARY = 'Serves the aggregated API device-mounter.io/v1alpha1 behind kube-apiserver.';

export const OPTIONS = {
  'bind-address': { default: '0.0.0.0', help: 'Address to listen on.', value: 'address' },
  'secure-port': { default: '8443', help: 'Port to listen on.', value: 'port', check: wholeNumber(0, 65_535) },
  'tls-dir': {
    default: '/etc/device-mounter/tls',
    help: 'Directory with tls.crt and tls.key. They are read again when they change.',
    value: 'directory',
  },
  'signing-key': {
    default: '/etc/device-mounter/signing/private.pem',
    help: 'Ed25519 private key (PEM, PKCS#8) that signs each authorised request. Read again when changed.',
    value: 'file',
  },
  ...TEMPORAL_OPTIONS,
  ...SHARED_OPTIONS,
  'token-audience': {
    help: 'Audience for which bearer tokens of callers past kube-apiserver must be made; without it none is accepted.',
    value: 'audience',
  },
  'shutdown-delay': {
    default: '5',
    help: 'Time to go on serving, not ready, after SIGTERM, until no client is sent here any more.',
    value: 'seconds',
    check: wholeNumber(0, 60),
  },
  'max-mutating-requests': {
    default: '200',
    help: 'Mounts and unmounts to wait for at once; more are answered 429.',
    value: 'number',
    check: wholeNumber(1, 1_000),
  },
} as const satisfies Options;
