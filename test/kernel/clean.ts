import type { TestContainer } from './container.ts';

/**
 * Takes away what a test has made at these paths, and the swapper that makes them anew. Answers whether they are gone: a test that has
 * failed may leave a mount there, and the next one must not fail by that.
 */
export async function clean(container: TestContainer, paths: readonly string[]): Promise<boolean> {
  const all = paths.join(' ');
  const line = `test -e /tmp/swapper && kill -9 $(cat /tmp/swapper); rm -rf ${all} /tmp/swapper; ls -d ${all}`;
  return container.run(`{ ${line}; } 2>/dev/null`).then(
    (left) => left === '',
    // It has ended.
    () => false,
  );
}
