import * as kubernetes from '@kubernetes/client-node';

/** What a model of the Kubernetes API says about its fields. */
interface Model {
  getAttributeTypeMap(): readonly { readonly baseName: string; readonly type: string }[];
}

/** Fields that Kubernetes does not know or that have another type there, as `kubectl --validate=strict` would refuse them. */
export function faultsOf(value: unknown, type: string, at: string): readonly string[] {
  const [, item] = /^Array<(.+)>$/.exec(type) ?? [];
  if (item !== undefined)
    return Array.isArray(value)
      ? value.flatMap((one, index) => faultsOf(one, item, `${at}[${index}]`))
      : [`${at}: no list`];
  const [, entry] = /^\{ \[key: string\]: (.+); \}$/.exec(type) ?? [];
  if (entry !== undefined)
    return Object.entries(value as object).flatMap(([key, one]) => faultsOf(one, entry, `${at}.${key}`));
  if (type === 'any') return [];
  if (type === 'IntOrString') return ['number', 'string'].includes(typeof value) ? [] : [`${at}: no ${type}`];
  const model = (kubernetes as unknown as Readonly<Record<string, Model | undefined>>)[type];
  // oxlint-disable-next-line valid-typeof -- the names of plain types in the models are those of typeof
  if (model === undefined) return typeof value === type ? [] : [`${at}: no ${type}`];
  const fields = new Map(model.getAttributeTypeMap().map((field) => [field.baseName, field.type]));
  return Object.entries(value as object).flatMap(([key, one]) => {
    const fieldType = fields.get(key);
    return fieldType === undefined ? [`${at}.${key}: unknown`] : faultsOf(one, fieldType, `${at}.${key}`);
  });
}
