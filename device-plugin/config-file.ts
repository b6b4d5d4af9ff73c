import { load } from 'js-yaml';
import { z } from 'zod';
import { isPattern } from './dev-tree.ts';
import {
  DEFAULT_PREFIX,
  type Devs,
  doublesIn,
  type HostDev,
  MAX_COUNT,
  pathProblem,
  permissionsProblem,
  USB_NODE_KINDS,
} from './devs.ts';
import { nameOf } from './names.ts';

/** The kubelet is told all of it at once, once for each look that finds a change. */
const MAX_RESOURCES = 200;
const MAX_NODES = 100;

const checked = (problemOf: (value: string) => string | undefined) =>
  z.string().check((ctx) => {
    const message = problemOf(ctx.value);
    if (message !== undefined) ctx.issues.push({ code: 'custom', message, input: ctx.value });
  });

const PATH = checked((path) => pathProblem(path) ?? (path.length > 4_000 ? 'the path is too long' : undefined));
const IN_CONTAINER = {
  containerPath: checked((path) =>
    /^(\/[^/\0]+)+\/?$/.test(path) && !/\/\.\.?(\/|$)/.test(path)
      ? undefined
      : 'containerPath must be an absolute path; a / at its end makes it a folder',
  ).optional(),
  permissions: checked(permissionsProblem).default('rw'),
};
const NODE = { ...IN_CONTAINER, optional: z.boolean().default(false) };
const NAME = z
  .string()
  .regex(
    /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/,
    'the name must be one that Kubernetes takes, of at most 63 characters',
  );
const COUNT = z.number().int().min(1).max(MAX_COUNT).default(1);
const SINGLE = z.strictObject({ path: PATH, name: NAME.optional(), count: COUNT, ...NODE });
const GROUP = z.strictObject({
  name: NAME,
  count: COUNT,
  group: z
    .array(
      z.strictObject({
        path: PATH.refine((path) => !isPattern(path), 'a group cannot hold wildcards'),
        ...NODE,
      }),
    )
    .min(1)
    .max(MAX_NODES),
});
/** YAML takes 0403 for a number. */
const USB_ID = z
  .string('must be four hex digits in quotes, such as "0403"')
  .regex(/^[0-9a-fA-F]{4}$/, 'must be four hex digits in quotes, such as "0403"')
  .transform((digits) => digits.toLowerCase());
const USB = z.strictObject({
  name: NAME,
  count: COUNT,
  usb: z.strictObject({
    vendor: USB_ID,
    product: USB_ID,
    serial: z.string('must be text; put digits in quotes').min(1).max(255).optional(),
  }),
  nodes: z
    .array(z.enum(USB_NODE_KINDS))
    .min(1)
    .refine((kinds) => new Set(kinds).size === kinds.length, 'names a kind twice')
    .default(['usb']),
  ...IN_CONTAINER,
});
const PREFIX = z
  .string()
  .max(200)
  .regex(
    /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+$/,
    'must be a DNS name such as hostdev.k8s.io',
  )
  .refine((prefix) => !/(^|\.)kubernetes\.io$|^requests\./.test(prefix), 'this prefix belongs to Kubernetes');
const FILE = z.strictObject({
  resourcePrefix: PREFIX.default(DEFAULT_PREFIX),
  devices: z.array(z.unknown()).max(MAX_RESOURCES),
});

/** Reads the configuration file, YAML or JSON. Reports every problem at once; never throws. */
export function parseConfigFile(text: string): Devs {
  let content: unknown;
  try {
    content = load(text);
  } catch (err) {
    return {
      devs: [],
      problems: [`it is no YAML: ${err instanceof Error ? err.message.split('\n', 1)[0] : String(err)}`],
    };
  }
  const file = FILE.safeParse(content);
  if (!file.success) return { devs: [], problems: problemsOf(file.error, '') };
  const parsed = file.data.devices.map((entry, index) =>
    parseEntry(entry, `devices[${index}]`, file.data.resourcePrefix),
  );
  const devs = parsed.flatMap((entry) => ('resource' in entry ? [entry] : []));
  const problems = parsed.flatMap((entry) => ('resource' in entry ? [] : entry.problems));
  return { devs, problems: [...problems, ...doublesIn(devs)] };
}

function parseEntry(entry: unknown, where: string, prefix: string): HostDev | { readonly problems: readonly string[] } {
  if (typeof entry === 'object' && entry !== null && 'group' in entry) {
    const group = GROUP.safeParse(entry);
    if (!group.success) return { problems: problemsOf(group.error, where) };
    const { name, count, group: nodes } = group.data;
    return { resource: `${prefix}/${name}`, count, nodes };
  }
  if (typeof entry === 'object' && entry !== null && 'usb' in entry) {
    const device = USB.safeParse(entry);
    if (!device.success) return { problems: problemsOf(device.error, where) };
    const { name, count, usb, ...inContainer } = device.data;
    return { resource: `${prefix}/${name}`, count, usb: { ...usb, ...inContainer } };
  }
  const single = SINGLE.safeParse(entry);
  if (!single.success) return { problems: problemsOf(single.error, where) };
  const { name, count, ...node } = single.data;
  if (name === undefined && isPattern(node.path)) return { problems: [`${where}: a path with wildcards needs a name`] };
  return { resource: `${prefix}/${name ?? nameOf(node.path)}`, count, nodes: [node] };
}

function problemsOf(error: z.ZodError, where: string): readonly string[] {
  return error.issues.map(({ path, message }) => {
    const at = path.reduce<string>(
      (text, key) => (typeof key === 'number' ? `${text}[${key}]` : `${text}${text && '.'}${String(key)}`),
      where,
    );
    return at === '' ? message : `${at}: ${message}`;
  });
}
