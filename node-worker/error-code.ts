/** `code` of an error of the system (`ENOENT`) or of gRPC (a number); undefined for anything else that was thrown. */
export function codeOf(err: unknown): unknown {
  return typeof err === 'object' && err !== null && 'code' in err ? err.code : undefined;
}
