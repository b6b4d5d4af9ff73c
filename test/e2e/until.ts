/** Asks every `everyMs` until `condition` answers something else than `undefined` or `false`. Throws after `timeoutMs` naming `what`. */
export async function until<T>(
  what: string,
  condition: () => Promise<T | undefined | false>,
  timeoutMs = 60_000,
  everyMs = 100,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const value = await condition();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > deadline) throw new Error(`Cannot wait longer for ${what}: ${timeoutMs} ms have passed`);
    await new Promise((resolve) => {
      setTimeout(resolve, everyMs);
    });
  }
}
