import { posix } from 'node:path';
import { unplaceable } from './container-files.ts';
import type { ContainerRoot } from './container-root.ts';
import type { FilesPlan, GrantedFile, HostFile } from './engine.ts';
import { fileAt, linkAt } from './file-at.ts';
import { libraryAt, requireMountSetattr, withSource } from './host-file.ts';
import { type Loader, libraryPath, loaderOf, mergedPath } from './library-folder.ts';
import { type OwnTree, requireFirstRoot, requireUnshared, withOwnTree } from './own-tree.ts';
import { Refusal } from './refusal.ts';
import { hasCode, SyscallError } from './syscall.ts';
import { isReadOnly } from './writable-mount.ts';

/** See `KernelEngine.planFiles`; what other grants have made counts as found here. */
export function planFiles(container: ContainerRoot, files: readonly HostFile[]): FilesPlan {
  requireFirstRoot(container);
  requireUnshared(container);
  return withOwnTree(container, (tree) => {
    const plan: Plan = { tree, loader: loaderOf(tree), files: new Map(), warnings: new Set() };
    for (const file of files) {
      try {
        requireMountSetattr();
        planFile(plan, file);
      } catch (err) {
        throw unplaceable(file.path, err);
      }
    }
    return { files: [...plan.files.values()], warnings: [...plan.warnings] };
  });
}

interface Plan {
  readonly tree: OwnTree;
  readonly loader: Loader;
  /** By path. */
  readonly files: Map<string, GrantedFile>;
  readonly warnings: Set<string>;
}

/** A link comes after its library: it is taken away first then, when the mount is undone. */
function planFile(plan: Plan, { hostPath, path, writable }: HostFile): void {
  const { tree, loader } = plan;
  withSource(hostPath, (source) => {
    const library = libraryAt(source);
    const wanted = library === undefined ? path : libraryPath(loader, path);
    const place = mergedPath(normal(wanted), (link) => linkAt(tree.container.rootFd, link.slice(1)));
    add(plan, { path: place, kind: 'mount', from: hostPath, identity: source.identity, ...(writable && { writable }) });
    if (library === undefined) return;
    warnOfLoader(plan, library.needs);
    const { soname } = library;
    if (soname !== undefined && soname !== posix.basename(place)) addLink(plan, place, soname);
  });
}

/** A program finds the file as well where it is named, so a link that cannot be made is no reason to refuse it. */
function addLink(plan: Plan, library: string, soname: string): void {
  const path = posix.join(posix.dirname(library), soname);
  // A plugin may name the file under this name, too.
  if (plan.files.has(path)) return;
  try {
    add(plan, { path, kind: 'link', from: posix.basename(library) });
  } catch (err) {
    if (!hasCode(err, 'EEXIST')) throw err;
    plan.warnings.add(`"${path}" is another file, so programs that ask for ${soname} get that one`);
  }
}

/** The same for each library of a driver, and so told once. */
function warnOfLoader({ loader, warnings }: Plan, needs: readonly string[]): void {
  if (loader.libc === 'none')
    warnings.add('it has no C library that is known, so its programs may not find the libraries that were mounted');
  if (loader.toldBy !== undefined)
    warnings.add(
      `its "${loader.toldBy}" tells programs where to look for libraries, which may be elsewhere than "${loader.folder}"`,
    );
  if (loader.libc === 'musl' && needs.includes('libc.so.6'))
    warnings.add(
      'its C library is musl, and the libraries were built for glibc: programs may not be able to load them',
    );
}

/** Throws `SyscallError` EEXIST where the container has, or the plan puts, another file there. */
function add({ tree, files }: Plan, file: Omit<GrantedFile, 'name' | 'madeDirectories'>): void {
  const planned = files.get(file.path);
  if (planned !== undefined && (planned.kind !== file.kind || planned.identity !== file.identity))
    throw new SyscallError('move_mount', 'EEXIST', file.path);
  if (planned === undefined) files.set(file.path, { ...file, ...nameAt(tree, file) });
}

function nameAt(
  tree: OwnTree,
  { path, kind, from, identity }: Omit<GrantedFile, 'name' | 'madeDirectories'>,
): Pick<GrantedFile, 'name' | 'madeDirectories'> {
  const { dir, base } = posix.parse(path);
  const missing = missingFrom(tree, dir);
  if (missing.length > 0) return { name: 'made', madeDirectories: missing };
  const parent = tree.directory(dir);
  const there = fileAt(parent, base);
  const isSame = kind === 'link' ? linkAt(parent, base) === from : there.mounted === identity;
  if (isSame) return { name: 'found', madeDirectories: [] };
  if (there.isThere && (kind === 'link' || there.mountPoint === undefined))
    throw new SyscallError('move_mount', 'EEXIST', path);
  return { name: 'made', madeDirectories: [] };
}

/** Folders on the way to one, and itself, that the container lacks, outermost first. Throws `SyscallError` EROFS. */
function missingFrom(tree: OwnTree, path: string): readonly string[] {
  try {
    if (isReadOnly(tree.directory(path))) throw new SyscallError('openat', 'EROFS', path);
    return [];
  } catch (err) {
    if (!hasCode(err, 'ENOENT') || path === '/') throw err;
    return [...missingFrom(tree, posix.dirname(path)), path];
  }
}

const MAX_PATH = 1_024;

/** Throws `Refusal` Invalid for what is no file's path. */
function normal(path: string): string {
  const isPath = path.startsWith('/') && path.length <= MAX_PATH && !path.includes('\0');
  const parts = path.split('/').filter((part) => part !== '');
  if (isPath && parts.length > 0 && !parts.some((part) => part === '.' || part === '..' || part.length > 200))
    return `/${parts.join('/')}`;
  throw new Refusal('Invalid', `Cannot use container path ${JSON.stringify(path)}: it must be absolute and normalised`);
}
