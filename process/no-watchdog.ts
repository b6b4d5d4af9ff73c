import { type Context, type RunningScriptInNewContextOptions, Script } from 'node:vm';

/**
 * To be preloaded (`node --require`), so that it is in the SDK's thread for workflows as well. The SDK limits the time of each call into a
 * workflow, some ten for each task, and Node has a thread made and ended for each such limit: 0.06 ms where there is nothing else to do, several
 * milliseconds where the processors are busy. These workflows are ours and do not loop; what the limit would find is a defect of ours.
 */
const limited = Object.getOwnPropertyDescriptor(Script.prototype, 'runInContext');
Script.prototype.runInContext = function (this: Script, context: Context, options?: RunningScriptInNewContextOptions) {
  const { timeout: _, ...others } = options ?? {};
  return Reflect.apply(limited?.value as Script['runInContext'], this, [context, others]) as unknown;
};
