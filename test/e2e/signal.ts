/** Sends a signal to a process of the product. One that has ended is fine: the kubelet's liveness probe may have had it replaced. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (err) {
    if ((err as NodeJS.ErrnoException).code !== 'ESRCH') throw err;
  }
}
