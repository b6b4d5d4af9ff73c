const QUANTITY = /^([a-z][-a-z0-9./]*)=(\d+(?:\.\d+)?(?:m|k|[KMG]i?)?)$/;

/** For options with quantities, for example `cpu=5m,memory=32Mi`: what is wrong with them. */
export function quantitiesFault(text: string): string | undefined {
  const isRight = text.split(',').every((entry) => QUANTITY.test(entry));
  return isRight ? undefined : 'resources with quantities, for example cpu=5m,memory=32Mi';
}

export function quantitiesOf(text: string): Readonly<Record<string, string>> {
  return Object.fromEntries(text.split(',').map((entry) => entry.split('=', 2)));
}
