import { join } from 'node:path';
import { bundleWorkflowCode, type Logger } from '@temporalio/worker';

/** The workflows as one script, the same for the same source wherever the checkout lies. */
export async function buildWorkflowBundle(
  logger?: Logger,
  workflowsPath = join(import.meta.dirname, 'index.ts'),
): Promise<string> {
  const { code } = await bundleWorkflowCode({
    workflowsPath,
    workflowInterceptorModules: [join(import.meta.dirname, 'interceptors.ts')],
    ...(logger !== undefined && { logger }),
    // The SDK's source map names the files by their absolute paths, and holds their text, which nobody reads: each process keeps it twice.
    webpackConfigHook: (config) => ({
      ...config,
      devtool: 'inline-nosources-source-map',
      output: { ...config.output, devtoolModuleFilenameTemplate: '[resource-path]' },
    }),
  });
  return code;
}
