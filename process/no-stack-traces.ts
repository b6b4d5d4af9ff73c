import { promiseHooks } from 'node:v8';

/**
 * To be preloaded (`node --require`), so that it is in the SDK's thread for workflows as well. The SDK writes down the stack of every promise
 * that a workflow makes, for the stack trace that Temporal's UI can ask for: for one promise it compiles two scripts, makes an error and looks
 * each of its lines up in a source map. Without it, repeating a long history takes half of the processor time. Where Node has no hooks for promises the
 * SDK goes without, and a worker answers who asks for stack traces that they are not enabled; Node is made to look like that here.
 */
promiseHooks.createHook = (): never => {
  throw new Error('Cannot watch promises: stacks of workflows are not collected, see docs/decisions/0022');
};
