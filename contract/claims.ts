/** A ResourceClaim that the slave pod holds, as in `spec.resourceClaims` of a pod: one that is there, or one made from a template. */
export interface ClaimReference {
  /** A DNS label. */
  readonly name: string;
  /** Of this and the next there is exactly one. */
  readonly resourceClaimName?: string;
  readonly resourceClaimTemplateName?: string;
}

/** What a device of the claim `name` has for its resource; no extended resource is called so. */
export function claimResource(name: string): string {
  return `resourceclaim:${name}`;
}
