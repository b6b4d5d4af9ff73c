import { fail } from '../../contract/failures.ts';
import { ANONYMOUS, type DistinctHeaders, type Identity } from './identity.ts';
import { isAnchored, type Peer, subjectOf } from './peer.ts';
import { bearerOf, type Tokens } from './tokens.ts';
import type { RequestHeaderTrust, Trust } from './trust.ts';

type Opinion = { readonly identity: Identity } | { readonly problem: string } | undefined;

/**
 * Who sent a request, decided as Kubernetes' own extension API servers do: request headers of the front proxy, then the client
 * certificate, then anonymous.
 * @throws Unauthorized when credentials were shown and none of them was good
 */
export function authenticate(headers: DistinctHeaders, peer: Peer | undefined, trust: Trust, now: Date): Identity {
  const opinions = [fromRequestHeaders(headers, peer, trust.requestHeader, now), fromCertificate(peer, trust, now)];
  for (const opinion of opinions) {
    if (opinion !== undefined && 'identity' in opinion) return withAuthenticatedGroup(opinion.identity);
  }
  const problems = opinions.flatMap((opinion) =>
    opinion !== undefined && 'problem' in opinion ? [opinion.problem] : [],
  );
  if (problems.length > 0) throw fail('Unauthorized', 'Unauthorized', new Error(problems.join('; ')));
  return ANONYMOUS;
}

function fromRequestHeaders(
  headers: DistinctHeaders,
  peer: Peer | undefined,
  trust: RequestHeaderTrust | undefined,
  now: Date,
): Opinion {
  if (peer === undefined || trust === undefined) return undefined;
  if (!peer.verified || !isAnchored(peer, trust.cas, now)) {
    return { problem: 'the client certificate is not one of the front proxy' };
  }
  const commonName = subjectOf(peer.certificate)?.commonName;
  if (trust.allowedNames.length > 0 && (commonName === undefined || !trust.allowedNames.includes(commonName))) {
    return { problem: `the front proxy must not be called "${commonName}"` };
  }
  const [name] = valuesOf(headers, trust.usernameHeaders).filter((value) => value !== '');
  if (name === undefined) {
    // Where one CA signs front proxy and clients, it would be a user of its own below.
    if (trust.allowedNames.length > 0) {
      throw fail('Unauthorized', 'Unauthorized', new Error('the front proxy has named no user'));
    }
    return undefined;
  }
  const [uid] = valuesOf(headers, trust.uidHeaders).filter((value) => value !== '');
  return {
    identity: {
      name,
      ...(uid !== undefined && { uid }),
      groups: valuesOf(headers, trust.groupHeaders),
      extra: extraOf(headers, trust.extraHeaderPrefixes),
    },
  };
}

function fromCertificate(peer: Peer | undefined, trust: Trust, now: Date): Opinion {
  if (peer === undefined) return undefined;
  if (!peer.verified || !isAnchored(peer, trust.clientCas, now)) {
    return { problem: 'the client certificate is not one of the cluster' };
  }
  const subject = subjectOf(peer.certificate);
  if (subject === undefined) return undefined;
  const fingerprint = peer.certificate.fingerprint256.replaceAll(':', '').toLowerCase();
  return {
    identity: {
      name: subject.commonName,
      groups: subject.organizations,
      extra: { 'authentication.kubernetes.io/credential-id': [`X509SHA256=${fingerprint}`] },
    },
  };
}

/**
 * As `authenticate`, and when that finds nobody, by the bearer token where `tokens` are accepted.
 * @throws Unauthorized
 */
export async function authenticateWithToken(
  first: () => Identity,
  headers: DistinctHeaders,
  tokens: Pick<Tokens, 'identityOf'> | undefined,
): Promise<Identity> {
  const token = tokens === undefined ? undefined : bearerOf(headers);
  if (tokens === undefined || token === undefined) return first();
  try {
    const identity = first();
    if (identity !== ANONYMOUS) return identity;
  } catch {
    // A certificate that is not good does not spoil a token that is.
  }
  return withAuthenticatedGroup(await tokens.identityOf(token));
}

/** kube-apiserver calls discovery and OpenAPI without any group; what those may do is bound to this one. */
function withAuthenticatedGroup(identity: Identity): Identity {
  const { name, groups } = identity;
  const decided = groups.includes('system:authenticated') || groups.includes('system:unauthenticated');
  return name === ANONYMOUS.name || decided ? identity : { ...identity, groups: [...groups, 'system:authenticated'] };
}

function valuesOf(headers: DistinctHeaders, names: readonly string[]): readonly string[] {
  return names.flatMap((name) => headers[name] ?? []).map(utf8);
}

function extraOf(headers: DistinctHeaders, prefixes: readonly string[]): Identity['extra'] {
  const extra = new Map<string, readonly string[]>();
  for (const prefix of prefixes) {
    for (const [header, values = []] of Object.entries(headers)) {
      if (!header.startsWith(prefix)) continue;
      const key = unescaped(header.slice(prefix.length));
      extra.set(key, [...(extra.get(key) ?? []), ...values.map(utf8)]);
    }
  }
  return Object.fromEntries(extra);
}

/** Node reads header bytes as Latin-1; Kubernetes sends UTF-8. */
function utf8(value: string): string {
  return Buffer.from(value, 'latin1').toString('utf8');
}

/** The front proxy escapes in keys what a header name cannot hold. A bad escape is taken as it is. */
function unescaped(key: string): string {
  try {
    return decodeURIComponent(key);
  } catch {
    return key;
  }
}
