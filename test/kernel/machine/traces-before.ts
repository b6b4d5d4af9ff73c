/** Run in a network of a test: `traces-before.ts STATE` prints what a test run would find on the machine before its start, as JSON. */
process.env['DEVICE_MOUNTER_STATE'] = process.argv[2];
const { readTracesBefore } = await import('../../run/cluster.ts');
console.log(JSON.stringify(await readTracesBefore()));
