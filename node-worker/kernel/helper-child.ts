import { readSync, writeFileSync } from 'node:fs';
import { answersTo } from './helper-steps.ts';
import { hasCode } from './syscall.ts';

/** A helper process: says that it is there, then answers one line of its input after the other, until that ends. */
const INPUT = 0;
const OUTPUT = 1;

function say(line: string): void {
  try {
    writeFileSync(OUTPUT, `${line}\n`);
  } catch (err) {
    if (!hasCode(err, 'EPIPE')) throw err;
    // Whoever asked has ended.
    process.exit();
  }
}

say('');
const piece = Buffer.alloc(64 * 1024);
let pieces: Buffer[] = [];
for (let length = readSync(INPUT, piece); length > 0; length = readSync(INPUT, piece)) {
  pieces.push(Buffer.from(piece.subarray(0, length)));
  if (piece[length - 1] !== 0x0a) continue;
  say(JSON.stringify(answersTo(Buffer.concat(pieces).toString())));
  pieces = [];
}
