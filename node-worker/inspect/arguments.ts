import { parseArgs } from 'node:util';

/** What `device-mounter-node inspect` was asked for. */
export interface InspectArguments {
  /** Without the prefix of its runtime. */
  readonly containerId: string;
  readonly stateDir: string;
  /** Undefined when not given. */
  readonly hostRoot: string | undefined;
}

/** Reads the words after the program's name; `help` for `--help`. Throws TypeError with what is wrong with them. */
export function inspectArguments(words: readonly string[]): InspectArguments | 'help' {
  const { values, positionals } = parseArgs({
    args: [...words],
    allowPositionals: true,
    options: {
      help: { type: 'boolean' },
      'state-dir': { type: 'string', default: '/var/lib/device-mounter' },
      'host-root': { type: 'string' },
    },
  });
  if (values.help === true) return 'help';
  const [command, id, ...more] = positionals;
  if (command !== 'inspect') throw new TypeError(`Cannot ${command ?? 'do nothing'}: the command must be inspect`);
  if (id === undefined) throw new TypeError('Cannot inspect: a container id must be given');
  if (more.length > 0) throw new TypeError(`Cannot inspect: only one container id may be given, is also "${more[0]}"`);
  return {
    containerId: id.replace(/^[a-z-]+:\/\//, ''),
    stateDir: values['state-dir'],
    hostRoot: values['host-root'],
  };
}
