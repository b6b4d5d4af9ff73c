import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { DefaultLogger } from '@temporalio/worker';
import { buildWorkflowBundle } from '../../workflows/bundle.ts';
import { BUNDLE_FILE } from './bundle-file.ts';

/** Builds the workflows once for all test files. */
export default async function buildOnce(): Promise<void> {
  mkdirSync(dirname(BUNDLE_FILE), { recursive: true });
  writeFileSync(BUNDLE_FILE, await buildWorkflowBundle(new DefaultLogger('ERROR', () => undefined)));
}
