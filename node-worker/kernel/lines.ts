import { closeSync, openSync, readSync } from 'node:fs';
import { Refusal } from './refusal.ts';

const PIECE_BYTES = 64 * 1024;
/** 65,530 mappings (vm.max_map_count), each with a path of 4,096 bytes, and room. */
const MAX_BYTES = 512 * 1024 * 1024;
/** A path of 4,096 bytes of which each is written as four (`\012`), and the other columns. */
const MAX_LINE = 32 * 1024;

/**
 * The lines of a file of /proc, as latin1. Never holds more than one piece of it: how long the file is, a tenant decides.
 * Throws `Refusal` ContainerUnsupported when it does not end, and the errors of node:fs.
 */
export function* linesOf(path: string, maxBytes = MAX_BYTES): Generator<string, void, void> {
  const fd = openSync(path, 'r');
  try {
    const piece = Buffer.allocUnsafeSlow(PIECE_BYTES);
    let rest = '';
    for (let total = 0, length = readSync(fd, piece); length > 0; length = readSync(fd, piece)) {
      total += length;
      const lines = (rest + piece.toString('latin1', 0, length)).split('\n');
      rest = lines.pop() ?? '';
      if (total > maxBytes || rest.length > MAX_LINE) throw new Refusal('ContainerUnsupported', tooLong(path, total));
      yield* lines;
    }
    if (rest !== '') yield rest;
  } finally {
    closeSync(fd);
  }
}

const tooLong = (path: string, bytes: number): string => `Cannot read "${path}": too long, ${bytes} bytes so far`;
