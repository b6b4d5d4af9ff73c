import {
  chmodSync,
  copyFileSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { folderOf, HOOK_PATH } from '../node-worker/vgpu.ts';
import { build } from './c-program.ts';
import { buildHamiCore } from './hami-core.ts';

/**
 * Stands for NVIDIA's libcuda: `cuInit` opens the control node and answers 0, or why it could not. It is built against no C library,
 * so that any loads it.
 */
const LIBCUDA = `
extern int open(const char *, int, ...), close(int), *__errno_location(void);
int cuInit(unsigned flags) {
  int fd = open("/dev/nvidiactl", 2);
  return fd < 0 ? *__errno_location() : close(fd);
}`;
export const VERSION = '550.54.15';

export function buildLibcuda(folder: string, name = `libcuda.so.${VERSION}`): string {
  mkdirSync(folder, { recursive: true });
  const output = join(folder, name);
  build(['gcc', '-shared', '-fPIC', '-nostdlib', '-Wl,-soname,libcuda.so.1'], LIBCUDA, output);
  return output;
}

/** Makes what Volcano's device plugin has on a node, with its folders for slave `uid`. */
export function addVgpu(host: string, uid: string): void {
  addVgpuLibrary(host);
  for (const path of [join(host, folderOf(uid)), join(host, 'tmp/vgpulock')]) {
    mkdirSync(path, { recursive: true });
    chmodSync(path, 0o777);
  }
}

/** What its installation leaves there. */
export function addVgpuLibrary(host: string): void {
  const folder = join(host, HOOK_PATH);
  mkdirSync(folder, { recursive: true });
  buildHamiCore(join(folder, 'libvgpu.so'));
  writeFileSync(join(folder, 'ld.so.preload'), `${HOOK_PATH}/libvgpu.so\n`);
}

/**
 * `load NAME [hold]`: asks its loader for a library, says what `cuInit` answers or why there is none, and holds it for a minute.
 * `load -w PATH`: says how an open for writing ends. As the only program of an image it does so for each line `{ load …`.
 */
const LOAD = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
static void *load(const char *name) {
  if (!strncmp(name, "-w ", 3)) {
    puts(open(name + 3, O_WRONLY) < 0 ? strerror(errno) : "opened");
    return 0;
  }
  void *library = dlopen(name, RTLD_NOW);
  int (*init)(unsigned) = library ? (int (*)(unsigned))dlsym(library, "cuInit") : 0;
  if (init) printf("cuInit %d\\n", init(0));
  else puts(dlerror());
  return library;
}
int main(int count, char **words) {
  char line[512], *word;
  setvbuf(stdout, 0, _IOLBF, 0);
  if (count > 2 && !strcmp(words[1], "-w")) {
    snprintf(line, sizeof line, "-w %s", words[2]);
    load(line);
    return 0;
  }
  if (count > 1) load(words[1]);
  if (count > 2) { fclose(stdout); sleep(60); }
  if (count > 1) return 0;
  while (fgets(line, sizeof line, stdin)) {
    line[strcspn(line, "\\n")] = 0;
    if (!strncmp(line, "{ load ", 7)) {
      void *library = load(line + 7);
      if (library) dlclose(library);
    }
    else if (!strncmp(line, "{ echo", 6)) printf("%d\\n", getpid());
    else if ((word = strstr(line, "; echo "))) puts(word + 7);
  }
}`;

const [MULTIARCH, LOADER, MUSL_LOADER] =
  process.arch === 'arm64'
    ? ['aarch64-linux-gnu', '/lib/ld-linux-aarch64.so.1', '/lib/ld-musl-aarch64.so.1']
    : ['x86_64-linux-gnu', '/lib64/ld-linux-x86-64.so.2', '/lib/ld-musl-x86_64.so.1'];

/** Images by their C library, and where their loader looks for others. Each has `/bin/load`. */
export const IMAGES = [
  ['Debian', `/usr/lib/${MULTIARCH}`, debian],
  ['busybox with glibc', `/lib/${MULTIARCH}`, unmerged],
  ['busybox with musl', '/lib', musl],
] as const;

function debian(rootfs: string): void {
  mkdirSync(join(rootfs, 'usr/lib64'), { recursive: true });
  for (const name of ['lib', 'lib64']) symlinkSync(`usr/${name}`, join(rootfs, name));
  copyFile(LOADER, join(rootfs, 'usr', LOADER));
  copyFile(`/lib/${MULTIARCH}/libc.so.6`, join(rootfs, 'usr/lib', MULTIARCH, 'libc.so.6'));
  build(['gcc', '-O1'], LOAD, join(rootfs, 'bin/load'));
}

/** Debian's C library and nothing else: its only program is `/load`, which is told what to do as a shell is. */
export function distroless(rootfs: string): void {
  debian(rootfs);
  renameSync(join(rootfs, 'bin/load'), join(rootfs, 'load'));
  for (const name of ['bin', 'etc', 'tmp']) rmSync(join(rootfs, name), { recursive: true });
}

function unmerged(rootfs: string): void {
  copyFile(LOADER, join(rootfs, LOADER));
  copyFile(`/lib/${MULTIARCH}/libc.so.6`, join(rootfs, 'lib', MULTIARCH, 'libc.so.6'));
  build(['gcc', '-O1'], LOAD, join(rootfs, 'bin/load'));
}

function musl(rootfs: string): void {
  copyFile(MUSL_LOADER, join(rootfs, MUSL_LOADER));
  build(['musl-gcc', '-O1'], LOAD, join(rootfs, 'bin/load'));
}

function copyFile(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(from, to);
}

/** As the runtime of a pod with a user namespace hands it over. */
export function ownedBy(id: number, directory: string): void {
  lchownSync(directory, id, id);
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) ownedBy(id, path);
    else lchownSync(path, id, id);
  }
}

/** Everything in a root file system, but what is mounted in it: names, kinds, modes, owners, targets of symlinks. */
export function treeOf(directory: string, below = ''): readonly string[] {
  return readdirSync(join(directory, below))
    .toSorted()
    .flatMap((name) => {
      const path = `${below}/${name}`;
      const { mode, uid, gid } = lstatSync(join(directory, path));
      const kind = mode & 0o170000;
      const target = kind === 0o120000 ? ` -> ${readlinkSync(join(directory, path))}` : '';
      const line = `${path} ${mode} ${uid} ${gid}${target}`;
      return kind === 0o040000 ? [line, ...treeOf(directory, path)] : [line];
    });
}

/** Files of a vendor: a tool, a folder with a file, and firmware below a path that images have as a link. */
export function addVendorFiles(host: string): void {
  mkdirSync(join(host, 'opt/vendor/data'), { recursive: true });
  writeFileSync(join(host, 'opt/vendor/tool'), '#!/bin/sh\necho tool\n', { mode: 0o4755 });
  writeFileSync(join(host, 'opt/vendor/data/file'), 'data');
}

/** Stands for Huawei's driver, as `buildLibcuda` does for NVIDIA's. */
export function buildHal(folder: string): void {
  mkdirSync(folder, { recursive: true });
  const source = LIBCUDA.replace('/dev/nvidiactl', '/dev/davinci_manager');
  build(['gcc', '-shared', '-fPIC', '-nostdlib'], source, join(folder, 'libascend_hal.so'));
}
