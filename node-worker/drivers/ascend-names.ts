import { fail } from '../../contract/failures.ts';
import type { Allocation } from '../kubelet/checkpoint.ts';
import type { Finding } from './driver.ts';
import { wordOf } from './words.ts';

/** In which the device plugin tells what it really gave (ascend-device-plugin, pkg/device/ascendcommon.go). */
export const REAL_NPUS = 'huawei.com/AscendReal';

/** What Ascend Docker Runtime reads. */
const VISIBLE = 'ASCEND_VISIBLE_DEVICES';

/** `Ascend910-3`. A virtual NPU, `Ascend910-2c-111-0`, has its own number before that of its NPU, and perhaps a group: `_1`. */
const NAME = String.raw`Ascend\d{3}[A-Z]?-(?:\d{1,2}c[a-z\d.]{0,20}-[1-9]\d{2,3}-\d{1,2}(?:_\d{1,3})?|0|[1-9]\d?)`;
const ONE = new RegExp(`^${NAME}$`);
const LIST = new RegExp(`^${NAME}(?:,${NAME})*$`);

/** Numbers of NPUs, as in the paths of their nodes. */
type Npus = ReadonlySet<number>;

/** Undefined for a name of another form, such as that of a core: `npu-core-5`. */
export function npuNamed(name: string): number | undefined {
  if (!ONE.test(name)) return undefined;
  const parts = name.split('-');
  return Number(parts.length === 2 ? parts[1] : parts[2]);
}

/** What the kubelet has picked; undefined stands for any name that does not tell. */
export const pickedNpus = ({ deviceIds }: Pick<Allocation, 'deviceIds'>): ReadonlySet<number | undefined> =>
  new Set(deviceIds.map(npuNamed));

/**
 * Which NPUs a slave has. What its device plugin says counts more than the kubelet's pick, of which it may have made another under
 * Volcano. `named` are those whose nodes it names.
 * @throws NotAllocated where two of its answers, or the answer and the pod's annotation, differ, and where nobody names any
 */
export function npusOf(finding: Finding, named: Npus): Npus {
  const { allocations } = finding;
  const visible = new Set(allocations.flatMap((allocation) => [...visibleNpus(allocation)]));
  const answers = [
    { by: 'its device plugin', npus: named },
    { by: `${VISIBLE} of its device plugin`, npus: visible },
  ].filter(({ npus }) => npus.size > 0);
  const [first = { by: 'the kubelet', npus: requirePick(finding) }, ...others] = answers;
  for (const { by, npus } of [...others, { by: `its annotation ${REAL_NPUS}`, npus: realNpus(finding) }]) {
    if (npus.size === 0 || npus.symmetricDifference(first.npus).size === 0) continue;
    throw notAllocated(finding, `${first.by} names ${textOf(first.npus)}, ${by} ${textOf(npus)}`);
  }
  return first.npus;
}

/** Where nobody else says it. */
function requirePick(finding: Finding): Npus {
  const ids = finding.allocations.flatMap(({ deviceIds }) => deviceIds);
  const npus = ids.flatMap((id) => npuNamed(id) ?? []);
  if (ids.length > 0 && npus.length === ids.length) return new Set(npus);
  const names = ids.length === 0 ? 'the kubelet has allocated it none' : `"${ids.join(', ')}" does not tell which`;
  throw notAllocated(finding, `${names}, and its device plugin names no NPU`);
}

/** None without the annotation. */
function realNpus(finding: Finding): Npus {
  const found = wordOf(finding, REAL_NPUS, { pattern: LIST, what: 'NPUs such as "Ascend910-0,Ascend910-1"' });
  return new Set(found?.[0].split(',').flatMap((name) => npuNamed(name) ?? []));
}

/** None without the variable. Older plugins write numbers, others names. */
function visibleNpus({ resource, envs }: Allocation): Npus {
  const value = envs[VISIBLE];
  const npus =
    value?.split(',').map((one) => npuNamed(one) ?? (/^(?:0|[1-9]\d{0,3})$/.test(one) ? Number(one) : undefined)) ?? [];
  const known = npus.filter((npu) => npu !== undefined);
  if (known.length === npus.length) return new Set(known);
  const rule = `${VISIBLE} of its device plugin must be NPUs such as "0,1", is ${JSON.stringify(value)}`;
  throw fail('NotAllocated', `Cannot attach ${resource}: ${rule}`);
}

const textOf = (npus: Npus): string => `NPU ${[...npus].toSorted((one, other) => one - other).join(', ')}`;

const notAllocated = ({ slave }: Finding, why: string): Error =>
  fail('NotAllocated', `Cannot attach what "${slave.name}" has: ${why}`);
