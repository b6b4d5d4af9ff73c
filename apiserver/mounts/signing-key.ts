import { createPrivateKey, type KeyObject } from 'node:crypto';
import { parsedFile } from '../../process/parsed-file.ts';

/** The function that tells the key in `file` that signs requests now: it is changed while we run. See `parsedFile`. */
export function signingKeyOf(file: string, onProblem: (err: unknown) => void): () => KeyObject {
  return parsedFile(file, parseSigningKey, onProblem);
}

function parseSigningKey(pem: string): KeyObject {
  const key = createPrivateKey(pem);
  if (key.asymmetricKeyType !== 'ed25519') throw new Error('Cannot use --signing-key: it must be an Ed25519 key');
  return key;
}
