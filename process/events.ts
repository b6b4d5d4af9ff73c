import type { KubeApi } from './kube-api.ts';

/** What an Event is about. */
export type EventSubject =
  | { readonly kind: 'Pod'; readonly namespace: string; readonly name: string; readonly uid: string }
  | { readonly kind: 'Node'; readonly name: string };

/** Tells people, by Events of kube-apiserver. */
export interface EventSink {
  /** @throws KubeApiError, and errors of the network */
  warn(about: EventSubject, reason: string, message: string): Promise<void>;
}

const REPORTER = 'device-mounter';
/** Longest message that kube-apiserver takes. */
const MESSAGE_LENGTH = 1_024;

export function kubernetesEvents(api: KubeApi, node: string): EventSink {
  return {
    async warn(about, reason, message) {
      // As the kubelet does for its node: a Node has no namespace, and its name in the place of its UID.
      const namespace = about.kind === 'Pod' ? about.namespace : 'default';
      const uid = about.kind === 'Pod' ? about.uid : about.name;
      const at = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
      await api.send('POST', `/api/v1/namespaces/${encodeURIComponent(namespace)}/events`, {
        apiVersion: 'v1',
        kind: 'Event',
        metadata: { generateName: `${about.name.slice(0, 200)}.`, namespace },
        involvedObject: {
          apiVersion: 'v1',
          kind: about.kind,
          name: about.name,
          uid,
          ...(about.kind === 'Pod' && { namespace }),
        },
        type: 'Warning',
        reason,
        message: message.slice(0, MESSAGE_LENGTH),
        source: { component: REPORTER, host: node },
        reportingComponent: REPORTER,
        reportingInstance: node,
        firstTimestamp: at,
        lastTimestamp: at,
        count: 1,
      });
    },
  };
}
