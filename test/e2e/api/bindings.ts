import { kubectlOk } from '../kubectl.ts';

const bound: string[] = [];

/** Binds a ClusterRole in the namespace `default`; anew, where a run that was killed has left one. */
export async function bind(name: string, clusterRole: string, ...subjects: string[]): Promise<void> {
  await kubectlOk(['delete', 'rolebinding', name, '--ignore-not-found']);
  bound.push(name);
  await kubectlOk(['create', 'rolebinding', name, `--clusterrole=${clusterRole}`, ...subjects]);
}

/** Takes away what `bind` has bound. */
export async function unbindAll(): Promise<void> {
  const names = bound.splice(0);
  if (names.length > 0) await kubectlOk(['delete', 'rolebinding', ...names, '--ignore-not-found']);
}
