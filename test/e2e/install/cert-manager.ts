import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../../../deploy/local/run.ts';
import { Server } from '../../../deploy/local/server.ts';
import { moduleOf } from '../../../deploy/local/tools/build.ts';
import { ensureTool } from '../../../deploy/local/tools/on-demand.ts';
import { CERT_MANAGER } from '../../../deploy/local/tools/table.ts';
import { CLUSTER } from '../cluster.ts';
import { kubectlOk } from '../kubectl.ts';

/** Its kinds, less the lines that its own chart fills in: labels only. */
async function definitions(): Promise<string> {
  const args = ['mod', 'download', '-json', 'github.com/cert-manager/cert-manager'];
  const module = JSON.parse(await run('go', args, { cwd: moduleOf(CERT_MANAGER) })) as { readonly Dir: string };
  const files = globSync(join(module.Dir, 'deploy/crds/*.yaml'));
  return files.map((file) => readFileSync(file, 'utf8').replaceAll(/^.*\{\{.*\n/gm, '')).join('\n---\n');
}

const crdNames = (text: string): readonly string[] =>
  [...text.matchAll(/^ {2}name: (\S+\.cert-manager\.io)$/gm)].map(([, name]) => `crd/${name}`);

let programs: readonly Server[] = [];

/** Gives the cluster cert-manager, as programs of the machine and without its webhook, which only checks what people write. */
export async function startCertManager(): Promise<void> {
  const folder = await ensureTool(CERT_MANAGER);
  const kinds = await definitions();
  await kubectlOk(['apply', '--server-side', '-f', '-'], kinds);
  await kubectlOk(['wait', '--for=condition=Established', '--timeout=60s', ...crdNames(kinds)]);
  const { kubeconfig, paths } = CLUSTER;
  const argumentsOf = {
    // It takes its kubeconfig from the environment only.
    cainjector: [],
    controller: [`--kubeconfig=${kubeconfig}`, '--metrics-listen-address=127.0.0.1:0'],
  };
  programs = Object.entries(argumentsOf).map(([program, more]) => {
    const [name, command] = [`cert-manager-${program}`, join(folder, program)];
    return new Server(paths, {
      name,
      command,
      args: ['--leader-elect=false', ...more],
      env: { KUBECONFIG: kubeconfig },
    });
  });
  for (const program of programs) program.start();
}

export async function stopCertManager(): Promise<void> {
  await Promise.all(programs.map((program) => program.stop('SIGTERM')));
  await kubectlOk(['delete', '--ignore-not-found', ...crdNames(await definitions())]);
}
