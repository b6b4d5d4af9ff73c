import { Refusal } from './refusal.ts';

const DEV_PATH = /^\/dev(?:\/[^/\0]+)+$/;

/** The components below /dev. Throws `Invalid` unless `path` is absolute, normalised and below /dev. */
export function componentsBelowDev(path: string): readonly string[] {
  const parts = path.split('/').slice(2);
  if (!DEV_PATH.test(path) || parts.some((part) => part === '.' || part === '..' || part.length > 200)) {
    throw new Refusal('Invalid', `Cannot use device path "${path}": it must be absolute, normalised and below /dev`);
  }
  return parts;
}
