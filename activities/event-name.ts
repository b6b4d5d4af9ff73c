import { createHash } from 'node:crypto';

/** An object's name has up to 253 characters; this leaves room for what follows it. */
const NAME_LENGTH = 200;

/**
 * Name of an Event about the object `name`. The same `cause` makes the same name, so that no attempt makes a second Event. At most 217
 * characters.
 */
export function eventName(name: string, cause: string): string {
  const digest = createHash('sha256').update(cause).digest('hex').slice(0, 16);
  // A part of a name must not end with a dash, nor be empty.
  return `${name.slice(0, NAME_LENGTH).replace(/(?<![-.])[-.]+$/, '')}.${digest}`;
}
