import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MethodDefinition } from '@grpc/grpc-js';
import { type Kubelet, kubeletOf } from '../../../node-worker/kubelet/kubelet-files.ts';
import { loadService } from '../../../proto/services.ts';

interface Entry {
  readonly podUid: string;
  readonly resource: string;
  readonly ids: readonly string[];
  /** What the plugin answered: nodes of the same path on the host and inside. */
  readonly paths: readonly string[];
}

/** Files as the kubelet keeps them: its checkpoint of devices, and a directory for each pod that it has accepted. */
export class KubeletFiles {
  readonly dir = mkdtempSync(join(tmpdir(), 'kubelet-'));
  readonly pods = join(this.dir, 'pods');
  readonly plugins = join(this.dir, 'device-plugins');
  readonly kubelet: Kubelet = kubeletOf({ kubeletDir: this.dir, devicePluginDir: this.plugins });
  #entries: readonly Entry[] = [];

  constructor() {
    for (const folder of [this.pods, this.plugins]) mkdirSync(folder);
  }

  /** Allocates; entries of `gone`, which the kubelet knows to be dead by now, go in the same write. */
  allocate(entry: Entry, gone: readonly string[] = []): void {
    this.#entries = [...this.#entries.filter(({ podUid }) => !gone.includes(podUid)), entry];
    this.write(JSON.stringify({ Data: { PodDeviceEntries: this.#entries.map(entryOf), RegisteredDevices: {} } }));
  }

  /** Puts a text in the place of the checkpoint, by a rename as the kubelet does. */
  write(text: string): void {
    const file = join(this.plugins, 'kubelet_internal_checkpoint');
    writeFileSync(`${file}.tmp`, text);
    renameSync(`${file}.tmp`, file);
  }

  accept(podUid: string): void {
    mkdirSync(join(this.pods, podUid));
  }

  remove(): void {
    rmSync(this.dir, { recursive: true });
  }
}

const { responseSerialize } = loadService('DevicePlugin')['Allocate'] as MethodDefinition<object, object>;

function entryOf({ podUid, resource, ids, paths }: Entry): object {
  const devices = paths.map((path) => ({ containerPath: path, hostPath: path, permissions: 'rw' }));
  const whole = responseSerialize({ containerResponses: [{ devices }] });
  // The only element of the answer; its tag and length, which is below 128 here, come first.
  const AllocResp = whole.subarray(2).toString('base64');
  return { PodUID: podUid, ContainerName: 'slave', ResourceName: resource, DeviceIDs: { '-1': ids }, AllocResp };
}
