import type { Given } from './allocations.ts';
import type { HostDev } from './devs.ts';
import { type HostDevice, isNameOf } from './host-files.ts';
import { idOf } from './names.ts';

/** An id as the kubelet is told of it. */
export interface Offer {
  readonly id: string;
  /** What is behind the id, or why it cannot be had now. */
  readonly is: HostDevice | { readonly problem: string };
}

/** At most so many ids of devices that are gone are listed: those given out last. */
const MAX_GONE = 100;

/**
 * What is offered of a resource. An id that was given out goes on standing for the same device. If another device is in its
 * place, that one has an id of its own, which ends with its number, and the old id is unhealthy until the old device is back.
 */
export function offersOf(
  dev: HostDev,
  devices: readonly HostDevice[],
  given: ReadonlyMap<string, Given>,
): readonly Offer[] {
  const offers = new Map<string, Offer['is']>();
  // One id never stands for two devices, whatever they call themselves.
  const offer = (id: string, is: Offer['is']): void => void (offers.has(id) || offers.set(id, is));
  for (const device of devices) {
    for (let copy = 0; copy < dev.count; copy += 1) {
      const id = idOf(device.name, copy);
      const before = given.get(id);
      if (device.problem !== undefined) offer(id, { problem: device.problem });
      else if (before === undefined || isSame(before, device)) offer(id, device);
      else {
        offer(id, { problem: `${device.name} is another device now` });
        offer(idOf(`${device.name}@${numbersIn(device)}`, copy), device);
      }
    }
  }
  for (const [id, { device }] of goneOf(dev, devices, given)) offer(id, { problem: `${device} is gone` });
  return [...offers].map(([id, is]) => ({ id, is }));
}

/** What a container would be given of a device. */
export function givenOf({ name, nodes }: HostDevice): Given {
  return { device: name, numbers: Object.fromEntries(nodes.map(({ key, number }) => [key, number])) };
}

function goneOf(
  dev: HostDev,
  devices: readonly HostDevice[],
  given: ReadonlyMap<string, Given>,
): readonly (readonly [string, Given])[] {
  const present = new Map(devices.filter(({ problem }) => problem === undefined).map((one) => [one.name, one]));
  const gone = [...given].filter(([, before]) => {
    const now = present.get(before.device);
    return isNameOf(dev, before.device) && (now === undefined || !isSame(before, now));
  });
  return gone.slice(-MAX_GONE);
}

/** Files that are optional may come and go. */
function isSame({ device, numbers }: Given, { name, nodes }: HostDevice): boolean {
  const both = nodes.filter(({ key }) => Object.hasOwn(numbers, key));
  return device === name && both.length > 0 && both.every(({ key, number }) => numbers[key] === number);
}

const numbersIn = ({ nodes }: HostDevice): string => nodes.map(({ number }) => number).join(',');
