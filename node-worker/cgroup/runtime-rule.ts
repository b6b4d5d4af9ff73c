/**
 * A rule as the OCI runtime spec has them in `linux.resources.devices`: also one that refuses, or of all devices of a type or
 * of a major number. A later rule goes before an earlier one.
 */
export interface RuntimeRule {
  readonly allow: boolean;
  /** `a`: every device, whatever the numbers are. */
  readonly type: 'a' | 'b' | 'c';
  readonly major: number | '*';
  readonly minor: number | '*';
  /** Any of r, w, m, in any order. */
  readonly access: string;
}

export const allow = (
  type: 'b' | 'c',
  major: number | '*',
  minor: number | '*',
  access: string = 'rwm',
): RuntimeRule => ({ allow: true, type, major, minor, access });

/** For every device: what a CRI runtime puts first in the spec, and all there is in a privileged container's. */
export const everything = (allowed: boolean): RuntimeRule => ({
  allow: allowed,
  type: 'a',
  major: '*',
  minor: '*',
  access: 'rwm',
});
