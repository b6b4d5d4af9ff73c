import { join } from 'node:path';

/** Holds the workflows as one script while their tests run. */
export const BUNDLE_FILE = join(import.meta.dirname, '..', '..', '.local', 'workflow-bundle.js');
