import { fail } from '../contract/failures.ts';

interface MediaRange {
  readonly type: string;
  /** Parameters such as `as`, `g`, `v`, in lower case, without `q`. */
  readonly parameters: Readonly<Record<string, string>>;
  readonly quality: number;
}

/** The ranges of an Accept header, the preferred first. Without a header anything goes. */
export function acceptedRanges(accept: string | undefined): readonly MediaRange[] {
  if (accept === undefined || accept.trim() === '') return [{ type: '*/*', parameters: {}, quality: 1 }];
  const ranges = accept.split(',').map((clause) => {
    const [type = '', ...pairs] = clause.split(';').map((part) => part.trim());
    const parameters = Object.fromEntries(
      pairs.map((pair) => {
        const [key = '', value = ''] = pair.split('=', 2);
        return [key.trim().toLowerCase(), value.trim()];
      }),
    );
    const { q, ...rest } = parameters;
    return { type: type.toLowerCase(), parameters: rest, quality: q === undefined ? 1 : Number(q) || 0 };
  });
  return ranges.filter(({ quality }) => quality > 0).toSorted((a, b) => b.quality - a.quality);
}

export type Form = 'json' | 'text';

const JSON_TYPES = ['application/json', 'application/*', '*/*'];

/**
 * The form of an answer. `text` is the sentence of the original device-mounter and has to be asked for by name. Ranges for what is not
 * offered, such as kubectl's `as=Table`, are skipped.
 * @throws NotAcceptable
 */
export function formOf(accept: string | undefined): Form {
  for (const { type, parameters } of acceptedRanges(accept)) {
    if (parameters['as'] !== undefined) continue;
    if (JSON_TYPES.includes(type)) return 'json';
    if (type === 'text/plain') return 'text';
  }
  throw fail('NotAcceptable', 'only the following media types are accepted: application/json');
}
