import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Pair {
  readonly cert: string;
  readonly key: string;
}

export interface CertificateOptions {
  /** As openssl takes it: `/O=group/CN=name`. */
  readonly subject: string;
  readonly use?: 'clientAuth' | 'serverAuth';
  /** Negative: it has expired already. */
  readonly days?: number;
  readonly hosts?: readonly string[];
  /** Makes a CA of it. */
  readonly ca?: boolean;
}

const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

/** A certificate authority made by openssl. */
export class TestCa {
  readonly pair: Pair;

  constructor(pair: Pair) {
    this.pair = pair;
  }

  static selfSigned(commonName: string): TestCa {
    return inScratch((directory) => {
      openssl(directory, [
        'req',
        '-x509',
        ...KEY,
        '-keyout',
        'key',
        '-out',
        'cert',
        '-days',
        '30',
        '-subj',
        `/CN=${commonName}`,
      ]);
      return new TestCa(readPair(directory));
    });
  }

  issue({ subject, use = 'clientAuth', days = 30, hosts = [], ca = false }: CertificateOptions): Pair {
    return inScratch((directory) => {
      writeFileSync(join(directory, 'ca.cert'), this.pair.cert);
      writeFileSync(join(directory, 'ca.key'), this.pair.key);
      const names = hosts.map((host) => `${/^[\d.]+$/.test(host) ? 'IP' : 'DNS'}:${host}`);
      const extensions = [
        ca ? 'basicConstraints=critical,CA:TRUE' : `extendedKeyUsage=${use}`,
        ...(names.length > 0 ? [`subjectAltName=${names.join(',')}`] : []),
      ];
      writeFileSync(join(directory, 'extensions'), `${extensions.join('\n')}\n`);
      openssl(directory, ['req', '-new', '-utf8', ...KEY, '-keyout', 'key', '-out', 'request', '-subj', subject]);
      const issuer = ['-CA', 'ca.cert', '-CAkey', 'ca.key', '-extfile', 'extensions', '-days', String(days)];
      openssl(directory, ['x509', '-req', '-in', 'request', '-out', 'cert', ...issuer]);
      return readPair(directory);
    });
  }
}

function inScratch<T>(use: (directory: string) => T): T {
  const directory = mkdtempSync(join(tmpdir(), 'device-mounter-pki-'));
  try {
    return use(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function openssl(cwd: string, args: readonly string[]): void {
  execFileSync('openssl', args, { cwd, stdio: ['ignore', 'ignore', 'pipe'] });
}

function readPair(directory: string): Pair {
  return { cert: readFileSync(join(directory, 'cert'), 'utf8'), key: readFileSync(join(directory, 'key'), 'utf8') };
}
