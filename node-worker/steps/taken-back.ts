import type { TakenBackInput, TakenBackResult } from '../../contract/node-activities.ts';
import type { MountStore } from '../state/mount-store.ts';

/** See `NodeActivities.takenBack`: nothing is held for the mount, and a detach has buried every slave of it. */
export function takenBack(
  store: Pick<MountStore, 'get' | 'later' | 'buried'>,
  { mounts }: TakenBackInput,
): TakenBackResult {
  const taken = mounts.filter(({ namespace, name, slaves }) => {
    const isHeld =
      store.get({ namespace, name }) !== undefined ||
      store.later.some(({ mount }) => mount.namespace === namespace && mount.name === name);
    return !isHeld && slaves.length > 0 && slaves.every(({ uid }) => store.buried(uid));
  });
  return { mounts: taken.map(({ namespace, name }) => ({ namespace, name })) };
}
