import { z } from 'zod';
import type { FailureCause } from '../../contract/failures.ts';
import { fail } from '../../contract/failures.ts';
import { isLabel, isSubdomain } from './raw-path.ts';

/** Each takes a review of the caller. */
const MAX_CLAIMS = 8;

const texts = z.record(z.string(), z.string());
const quantity = z
  .union([z.string(), z.number()])
  .transform((value) => String(value).trim())
  .refine((value) => /^[1-9]\d{0,14}$/.test(value), 'must be a whole number from 1');
const operation = z.strictObject({
  op: z.string(),
  path: z.string(),
  from: z.string().optional(),
  value: z.unknown().optional(),
});
/** The original took each operation as a string of JSON. */
const patch = z.preprocess(parsedText, operation);

const objectName = z.string().refine(isSubdomain, 'must be a DNS subdomain of at most 253 characters');
const claim = z
  .strictObject({
    name: z.string().refine(isLabel, 'must be a DNS label of at most 63 characters'),
    resourceClaimName: objectName.optional(),
    resourceClaimTemplateName: objectName.optional(),
  })
  .refine(
    ({ resourceClaimName, resourceClaimTemplateName }) =>
      (resourceClaimName === undefined) !== (resourceClaimTemplateName === undefined),
    'must have either resourceClaimName or resourceClaimTemplateName',
  );

const FIELDS = {
  resources: z.record(z.string(), quantity).default({}),
  claims: z.array(claim).max(MAX_CLAIMS).default([]),
  labels: texts.default({}),
  annotations: texts.default({}),
  patches: z.array(patch).max(64).default([]),
  name: objectName.optional(),
  leaseSeconds: z.int().min(1).max(31_536_000).optional(),
  onRestart: z.enum(['reapply', 'release']).default('reapply'),
  inject: z.enum(['auto', 'none', 'files']).default('auto'),
  split: z.boolean().default(false),
  idempotencyKey: z.string().min(1).max(128).optional(),
};

/** The body of a mount request, with defaults, not yet checked against device type and allow-lists. */
export type MountBody = z.infer<z.ZodObject<typeof FIELDS>>;

export interface ParsedBody {
  /** Without problems it is a whole `MountBody`. */
  readonly body: Partial<MountBody>;
  /** Of the fields that `body` lacks. */
  readonly problems: readonly FailureCause[];
  /** Fields at the top that mean nothing. */
  readonly unknown: readonly string[];
}

/**
 * Reads the body of a mount request, each field by itself so that all problems are found. An empty one is `{}`; whatever its content
 * type says, it is JSON. Comments after `//` are passed over.
 * @throws BadRequest when it is not a JSON object in UTF-8
 */
export function parseMountBody(bytes: Uint8Array): ParsedBody {
  const json = parsedJson(bytes);
  const body: Record<string, unknown> = {};
  const problems: FailureCause[] = [];
  for (const [name, schema] of Object.entries(FIELDS)) {
    // In Kubernetes null is the same as absent.
    const parsed = schema.safeParse(json[name] ?? undefined);
    if (!parsed.success) {
      problems.push(...parsed.error.issues.flatMap((issue) => causesOf({ ...issue, path: [name, ...issue.path] })));
    } else if (parsed.data !== undefined) {
      body[name] = parsed.data;
    }
  }
  const unknown = Object.keys(json).filter((key) => !Object.hasOwn(FIELDS, key) && !ENVELOPE.has(key));
  return { body, problems, unknown };
}

/** Generated clients send these with every object. */
const ENVELOPE = new Set(['apiVersion', 'kind', 'metadata']);

function parsedJson(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes).trim();
    value = text === '' ? {} : parsedWithComments(text);
  } catch (err) {
    throw fail('BadRequest', 'Cannot read the body: it must be JSON in UTF-8', err);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw fail('BadRequest', 'Cannot read the body: it must be a JSON object');
  }
  return value as Readonly<Record<string, unknown>>;
}

/** The examples of the original's API page have comments after `//`, and are to run as they are. */
function parsedWithComments(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // A string without an end matches, too: or else each of its escaped quotes would be looked at as the beginning of another.
    return JSON.parse(text.replace(/"(?:[^"\\]|\\.)*"?|\/\/[^\n]*/g, (part) => (part.startsWith('"') ? part : '')));
  }
}

function parsedText(value: unknown): unknown {
  if (typeof value !== 'string') return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

type Issue = z.core.$ZodIssue;

function causesOf(issue: Issue): readonly FailureCause[] {
  const field = fieldOf(issue.path);
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      reason: 'FieldValueForbidden',
      field: `${field}.${key}`,
      message: 'Forbidden: no such field',
    }));
  }
  if (issue.code === 'invalid_value') {
    return [
      {
        reason: 'FieldValueNotSupported',
        field,
        message: `Unsupported value: supported values: ${issue.values.join(', ')}`,
      },
    ];
  }
  return [{ reason: 'FieldValueInvalid', field, message: `Invalid value: ${issue.message}` }];
}

/** `["resources", "a.b/c"]` is `resources[a.b/c]`, `["patches", 0, "op"]` is `patches[0].op`. */
export function fieldOf(path: readonly PropertyKey[]): string {
  return path.reduce<string>((field, part, index) => {
    if (index === 0) return String(part);
    const plain = typeof part !== 'number' && /^[A-Za-z]+$/.test(String(part));
    return plain ? `${field}.${String(part)}` : `${field}[${String(part)}]`;
  }, 'body');
}
