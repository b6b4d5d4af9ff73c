import { X509Certificate } from 'node:crypto';

/** Whom the server believes, from the ConfigMap `kube-system/extension-apiserver-authentication`. */
export interface Trust {
  /** PEM of all CAs together, for the TLS layer. */
  readonly pem: string;
  /** CAs of client certificates that name their own user. */
  readonly clientCas: readonly X509Certificate[];
  /** Absent when kube-apiserver runs without its aggregation flags. */
  readonly requestHeader?: RequestHeaderTrust;
}

/** Who may say on whose behalf they ask, and in which headers. */
export interface RequestHeaderTrust {
  readonly cas: readonly X509Certificate[];
  /** Common names; empty allows any certificate of the CAs. */
  readonly allowedNames: readonly string[];
  /** Header names in lower case. */
  readonly usernameHeaders: readonly string[];
  readonly uidHeaders: readonly string[];
  readonly groupHeaders: readonly string[];
  readonly extraHeaderPrefixes: readonly string[];
}

/** Parses the data of the ConfigMap. Throws when a key is broken: with the rest alone, some callers would be shut out. */
export function parseTrust(data: Readonly<Record<string, string>>): Trust {
  const clientPem = data['client-ca-file'] ?? '';
  const requestHeaderPem = data['requestheader-client-ca-file'] ?? '';
  const trust = { pem: `${clientPem}\n${requestHeaderPem}`, clientCas: certificatesOf(clientPem) };
  if (requestHeaderPem === '') return trust;
  const headers = (key: string) => parseNames(data, key).map((name) => name.toLowerCase());
  return {
    ...trust,
    requestHeader: {
      cas: certificatesOf(requestHeaderPem),
      allowedNames: parseNames(data, 'requestheader-allowed-names'),
      usernameHeaders: headers('requestheader-username-headers'),
      uidHeaders: headers('requestheader-uid-headers'),
      groupHeaders: headers('requestheader-group-headers'),
      extraHeaderPrefixes: headers('requestheader-extra-headers-prefix'),
    },
  };
}

function parseNames(data: Readonly<Record<string, string>>, key: string): readonly string[] {
  const names: unknown = JSON.parse(data[key] || '[]');
  if (!Array.isArray(names) || !names.every((name) => typeof name === 'string')) {
    throw new TypeError(`Cannot read "${key}": it must be a JSON list of strings`);
  }
  return names;
}

function certificatesOf(pem: string): readonly X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  // One that is cut off would otherwise be none: nobody could be believed any more.
  if (pem.trim() !== '' && blocks.length !== Math.max(1, pem.split('-----BEGIN ').length - 1)) {
    throw new TypeError('Cannot read the CAs: they must be whole certificates in PEM');
  }
  return blocks.map((block) => new X509Certificate(block));
}
