import { describe, expect, test } from '@jest/globals';
import { noticeOf } from './first-start.ts';
import { planTools, type ToolPlan } from './tools.ts';

const FOLDERS = ['/cache/device-mounter', '/checkout/.local'];
/** No tool is in a folder that does not exist. */
const planOf = (env: NodeJS.ProcessEnv): ToolPlan => planTools({ DEVICE_MOUNTER_TOOLS: '/nonexistent', ...env });

describe('noticeOf()', () => {
  test('names what is installed, downloaded, built and kept, with times', () => {
    const text = noticeOf(planOf({}), ['nftables', 'iptables'], FOLDERS);
    expect(text).toContain('- installs with apt-get: nftables, iptables;');
    expect(text).toContain('- downloads runc, cni, etcd, containerd, temporal, kubernetes (0.6 GB for all of them).');
    expect(text).toContain('is built from source: about 21 minutes for all of them on 2 cores;');
    expect(text).toContain('- builds runc-without-limits from source: about 1 min on 2 cores;');
    expect(text).toContain('- keeps all of it for later starts, in /cache/device-mounter and /checkout/.local.');
    expect(text).toContain('addresses 10.97.0.x on lo, routes to 10.244.0.0/16, nft tables, cgroups');
  });

  test('promises no download where there will be none', () => {
    const text = noticeOf(planOf({ DEVICE_MOUNTER_DOWNLOADS: 'off' }), [], FOLDERS);
    expect(text).not.toContain('download');
    expect(text).not.toContain('apt-get');
    expect(text).toMatch(/builds runc, .*, kubernetes from source: about 21 min on 2 cores/);
  });
});
