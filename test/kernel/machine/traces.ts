import { readFileSync } from 'node:fs';
import { statePaths } from '../../../deploy/local/state.ts';
import { leftSince, readTraces, type Traces } from '../../../deploy/local/traces.ts';

/** Run in a network of a test: `traces.ts STATE [FILE]` prints what is there as JSON; with the file of such an output, what is new since. */
const [state = '', file] = process.argv.slice(2);
const paths = statePaths({ DEVICE_MOUNTER_STATE: state });
const before = (): Traces => JSON.parse(readFileSync(file ?? '', 'utf8')) as Traces;
console.log(JSON.stringify(await (file === undefined ? readTraces(paths) : leftSince(before(), paths))));
