/** What tenants put in the way of files of the node: shell lines, for test/kernel/files-attacks.test.ts. */

const LINK = /a part of the path is a link or no folder/;
export const OTHER = /it has another file there/;
export const MOUNTED = /something is mounted there/;

/** What a tenant can prepare, and why it gets nothing then; `HOST` stands for the canary's path, which means nothing inside. */
export const BEFORE: readonly (readonly [string, string, 'tool' | 'data' | 'lib' | 'firmware' | 'region', RegExp])[] = [
  ['a folder that is a link to the host', 'ln -s HOST /opt', 'tool', LINK],
  ['a folder that climbs out', 'ln -s ../../../../../../..HOST /opt', 'tool', LINK],
  ["a folder through init's root", 'ln -s /proc/1/rootHOST /opt', 'tool', LINK],
  ["a folder through a process's cwd", 'ln -s /proc/self/cwd /opt', 'tool', LINK],
  ["a folder through a process's descriptor", 'ln -s /proc/self/fd/0 /opt', 'tool', LINK],
  ['a folder that is a link to a good one', 'mkdir /real; ln -s real /opt', 'tool', LINK],
  ['a folder that is a loop', 'ln -s opt /opt', 'tool', LINK],
  ['a folder that is a file', 'echo mine >/opt', 'tool', LINK],
  ['a second folder that is a link', 'mkdir /opt; ln -s HOST /opt/vendor', 'tool', LINK],
  ['a third folder that is a link', 'mkdir -p /opt/vendor; ln -s HOST /opt/vendor/bin', 'tool', LINK],
  [
    'a name that is a link to a file of the host',
    'mkdir -p /opt/vendor/bin; ln -s HOST/file /opt/vendor/bin/tool',
    'tool',
    OTHER,
  ],
  ['a name that is a dangling link', 'mkdir -p /opt/vendor/bin; ln -s HOST/new /opt/vendor/bin/tool', 'tool', OTHER],
  ['a name that is a file', 'mkdir -p /opt/vendor/bin; echo mine >/opt/vendor/bin/tool', 'tool', OTHER],
  ['a name that is a folder', 'mkdir -p /opt/vendor/bin/tool', 'tool', OTHER],
  ['a name that is a pipe', 'mkdir -p /opt/vendor/bin; mkfifo /opt/vendor/bin/tool', 'tool', OTHER],
  ['a folder that is there', 'mkdir -p /opt/vendor/data', 'data', OTHER],
  [
    'a folder that is a link to a folder of the host',
    'mkdir -p /opt/vendor; ln -s HOST/empty /opt/vendor/data',
    'data',
    OTHER,
  ],
  ['a folder of libraries that is a link', 'mkdir /usr; ln -s HOST /usr/lib', 'lib', LINK],
  [
    'a writable file that is a link to one of the host',
    'mkdir /tmp/region; ln -s HOST/file /tmp/region/cache',
    'region',
    OTHER,
  ],
  ['a folder of a writable file that is a link', 'ln -s HOST /tmp/region', 'region', LINK],
  ['a usual link that leads elsewhere', 'ln -s HOST /lib', 'firmware', LINK],
  ['a usual link that climbs', 'ln -s ../../..HOST/usr/lib /lib', 'firmware', LINK],
  [
    'a file of no permission with content',
    'mkdir -p /opt/vendor/bin; echo mine >/opt/vendor/bin/tool; chmod 0 /opt/vendor/bin/tool',
    'tool',
    OTHER,
  ],
];

/** What a tenant can do between mount and unmount. */
export const BETWEEN: readonly (readonly [string, string])[] = [
  ['the folder moved away', 'mv /opt/vendor /opt/moved'],
  ['the folder moved away for a link to the host', 'mv /opt/vendor /opt/moved; ln -s HOST /opt/vendor'],
  ['the first folder moved away for a link to the host', 'mv /opt /moved; ln -s HOST /opt'],
  [
    'another file in place of it',
    'mv /opt/vendor /opt/moved; mkdir -p /opt/vendor/bin; echo mine >/opt/vendor/bin/tool',
  ],
  [
    'a link to the host in place of it',
    'mv /opt/vendor /opt/moved; mkdir -p /opt/vendor/bin; ln -s HOST/file /opt/vendor/bin/tool',
  ],
  ['more files beside it', 'touch /opt/vendor/bin/mine'],
];

/** What a tenant can have where a library gets the link of its soname. */
export const AT_LINK: readonly (readonly [string, string])[] = [
  ['a link to the host', 'ln -s HOST/file'],
  ['a link to a new file of the host', 'ln -s HOST/new'],
  ['a file', 'touch'],
  ['a folder', 'mkdir'],
  ['a pipe', 'mkfifo'],
];
