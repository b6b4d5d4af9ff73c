import { createHash } from 'node:crypto';

/** Names of resources (validation.IsQualifiedName) and ids of devices (device plugin API) have at most 63 characters. */
const MAX_NAME = 63;
/** A socket's path has at most 107 bytes (unix(7)), 32 of which are `/var/lib/kubelet/device-plugins/`. */
const MAX_ENDPOINT = 64;
const DIGEST = 12;

/**
 * What a resource is named after its path: `dev_net_tun` for `/dev/net/tun`. A name that Kubernetes would not take is cut, and
 * ends with a digest of the path: the same on every node and at every start.
 */
export function nameOf(path: string): string {
  const name = path.slice(1).replaceAll(/[^-A-Za-z0-9_.]/g, '_');
  return name.length <= MAX_NAME && /[A-Za-z0-9]$/.test(name) ? name : cut(name, '-', path, MAX_NAME);
}

/**
 * Id of the copy `index` of a device. It does not depend on how many there are: containers keep theirs when the count changes.
 * The first one is the device itself, as users of a single device expect.
 */
export function idOf(device: string, index: number): string {
  const suffix = index === 0 ? '' : `::${index}`;
  const max = MAX_NAME - suffix.length;
  const printable = device.replaceAll(/[^\x21-\x7e]/g, '_');
  return (printable === device && device.length <= max ? device : cut(printable, '~', device, max)) + suffix;
}

/** File name of a resource's socket, which must be short enough for the path of a socket. */
export function endpointOf(resource: string): string {
  const name = resource.replaceAll('/', '_');
  return `${name.length + 5 <= MAX_ENDPOINT ? name : cut(name, '-', resource, MAX_ENDPOINT - 5)}.sock`;
}

function cut(name: string, separator: string, whole: string, max: number): string {
  const digest = createHash('sha256').update(whole).digest('hex').slice(0, DIGEST);
  return `${name.slice(0, max - DIGEST - separator.length)}${separator}${digest}`;
}
