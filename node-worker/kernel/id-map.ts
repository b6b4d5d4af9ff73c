/**
 * The host's id of an id in a user namespace, by the text of /proc/PID/uid_map or gid_map (user_namespaces(7)): lines of
 * `first inside, first outside, count`. Undefined when it is not mapped.
 */
export function hostIdOf(map: string, id: number): number | undefined {
  for (const line of map.split('\n')) {
    const [inside, outside, count] = line.trim().split(/\s+/).map(Number);
    if (inside === undefined || outside === undefined || count === undefined) continue;
    if (id >= inside && id < inside + count) return outside + (id - inside);
  }
  return undefined;
}
