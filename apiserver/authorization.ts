import { fail } from '../contract/failures.ts';
import { API_GROUP, API_VERSION } from '../contract/names.ts';
import type { Identity } from './identity.ts';

/** What a request does, in the words of RBAC. Made once from the checked path, given to the review and to the handler. */
export interface Attributes {
  readonly verb: string;
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly subresource?: string;
  readonly namespace: string;
  readonly name?: string;
}

/** Body of `authorization.k8s.io/v1 SubjectAccessReview`, as far as it is used. */
export interface ReviewSpec {
  readonly user: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  readonly extra: Readonly<Record<string, readonly string[]>>;
  readonly resourceAttributes?: Attributes;
  readonly nonResourceAttributes?: { readonly path: string; readonly verb: string };
}

export interface ReviewStatus {
  readonly allowed: boolean;
  readonly denied?: boolean;
  readonly reason?: string;
}

/** kube-apiserver's opinion. Rejects when there is none. */
export type Review = (spec: ReviewSpec) => Promise<ReviewStatus>;

/** Attributes of a request about our own API. */
export function ownAttributes(
  of: Pick<Attributes, 'verb' | 'resource' | 'namespace'> & Partial<Attributes>,
): Attributes {
  return { group: API_GROUP, version: API_VERSION, ...of };
}

/**
 * Resolves when `identity` may do `what`. Nothing is remembered: one review for each mount is cheap, and a right that was
 * taken away is gone at once.
 * @throws Forbidden, Internal when the review itself failed
 */
export async function authorize(
  review: Review,
  identity: Identity,
  what: Attributes | { readonly path: string; readonly verb: string },
): Promise<void> {
  if (identity.groups.includes('system:masters')) return;
  const { name: user, uid, groups, extra } = identity;
  const status = await review({
    user,
    ...(uid !== undefined && { uid }),
    groups,
    extra,
    ...('path' in what ? { nonResourceAttributes: what } : { resourceAttributes: what }),
  });
  if (status.allowed && !status.denied) return;
  throw fail('Forbidden', forbiddenMessage(user, what, status.reason));
}

/** kubectl's users know this sentence: k8s.io/apiserver handlers/responsewriters.ForbiddenStatusError. */
function forbiddenMessage(
  user: string,
  what: Attributes | { readonly path: string; readonly verb: string },
  reason: string | undefined,
): string {
  const because = reason === undefined || reason === '' ? '' : `: ${reason}`;
  if ('path' in what) return escapeHtml(`forbidden: User "${user}" cannot ${what.verb} path "${what.path}"${because}`);
  const { verb, group, resource, subresource, namespace, name } = what;
  const full = subresource === undefined ? resource : `${resource}/${subresource}`;
  const subject = `${group === '' ? resource : `${resource}.${group}`}${name === undefined ? '' : ` "${name}"`}`;
  return escapeHtml(
    `${subject} is forbidden: User "${user}" cannot ${verb} resource "${full}" in API group "${group}" in the namespace "${namespace}"${because}`,
  );
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>]/g, (char) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[char] ?? char);
}
