/**
 * Does nothing: that it was started is what counts. Its ID is made of an idempotency key, its memo names the mount that the key stands for, and Temporal
 * starts no second one of the same ID for as long as it remembers the first.
 */
export async function claimKey(): Promise<void> {
  // Nothing to do.
}
