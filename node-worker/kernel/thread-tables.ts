import { hasCode, syscall } from './syscall.ts';

/** include/uapi/linux/kcmp.h */
const KCMP_FILES = 2;

/**
 * One of `threads` for each table of descriptors that there is: those of a process share one unless they ask for another
 * (unshare(2), CLONE_FILES). The tables are sorted as kcmp(2) orders them, so a thousand threads take ten thousand looks and
 * not a million. All threads where the kernel has no kcmp(2).
 */
export function threadsWithTables(threads: readonly string[]): readonly string[] {
  const sorted: string[] = [];
  for (const thread of threads) {
    const place = placeOf(sorted, thread);
    if (place === 'unknown') return threads;
    if (place !== 'known') sorted.splice(place, 0, thread);
  }
  return sorted;
}

/** Where in `sorted` the table of a thread belongs. */
function placeOf(sorted: readonly string[], thread: string): number | 'known' | 'unknown' {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    const order = compareTables(thread, sorted[middle] ?? '');
    if (order === 'unknown') return 'unknown';
    if (order === 'equal') return 'known';
    if (order === 'less') high = middle;
    else low = middle + 1;
  }
  return low;
}

function compareTables(a: string, b: string): 'equal' | 'less' | 'greater' | 'unknown' {
  try {
    const answer = syscall('kcmp', [Number(a), Number(b), KCMP_FILES, 0, 0]);
    return answer === 0 ? 'equal' : answer === 1 ? 'less' : 'greater';
  } catch (err) {
    // One of the two has ended. A table too many costs only time.
    if (hasCode(err, 'ESRCH')) return 'greater';
    if (hasCode(err, 'ENOSYS', 'EPERM', 'EACCES')) return 'unknown';
    throw err;
  }
}
