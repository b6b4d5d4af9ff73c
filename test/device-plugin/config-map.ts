import { mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A volume with a configuration file, written as the kubelet writes a ConfigMap's: a new folder, then the link `..data` is exchanged. */
export class ConfigMapVolume {
  readonly #folder = mkdtempSync(join(tmpdir(), 'config-'));
  readonly file = join(this.#folder, 'devices.yaml');

  write(text: string): void {
    const folder = mkdtempSync(join(this.#folder, '..v'));
    writeFileSync(join(folder, 'devices.yaml'), text);
    symlinkSync(folder, join(this.#folder, '..next'));
    renameSync(join(this.#folder, '..next'), join(this.#folder, '..data'));
    rmSync(this.file, { force: true });
    symlinkSync('..data/devices.yaml', this.file);
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true });
  }
}
