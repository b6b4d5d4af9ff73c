import type { V1Pod } from '@kubernetes/client-node';

/** Who is at work: the colour of a bar. */
export type Track = 'request' | 'task' | 'step' | 'cluster';

/** Something that took time during a mount. Milliseconds from the request. */
export interface Span {
  readonly track: Track;
  readonly name: string;
  /** When it was asked for, if it had to wait for somebody to take it. */
  readonly askedMs?: number;
  readonly fromMs: number;
  readonly toMs: number;
}

/** What was recorded of one mount. Times are milliseconds since 1970, all of this machine's clock. */
export interface Recording {
  readonly requestedMs: number;
  readonly answeredMs: number;
  /** Of the mount's workflow. */
  readonly events: readonly HistoryEvent[];
  readonly slaves: readonly SeenSlave[];
}

/** As a watch tells it, so some milliseconds late. */
export interface SeenSlave {
  readonly atMs: number;
  readonly isScheduled: boolean;
  readonly isRunning: boolean;
}

export function seenSlave({ spec, status }: V1Pod, atMs: number): SeenSlave {
  return { atMs, isScheduled: spec?.nodeName !== undefined, isRunning: status?.phase === 'Running' };
}

/** A `temporal.api.history.v1.HistoryEvent` as JSON, as far as it is read here. */
export interface HistoryEvent {
  readonly eventId: string;
  readonly eventType: string;
  readonly eventTime: Timestamp;
  readonly activityTaskScheduledEventAttributes?: { readonly activityType: { readonly name: string } };
  readonly markerRecordedEventAttributes?: {
    readonly markerName: string;
    readonly details?: { readonly data?: { readonly payloads: readonly { readonly data: string }[] } };
    readonly workflowTaskCompletedEventId: string;
  };
  /** Others tell by these which event they follow. */
  readonly [attributes: string]: unknown;
}

interface Timestamp {
  readonly seconds: string | number;
  readonly nanos?: number;
}

/** What is called so in the SDK's core: a local activity that has ended. */
const LOCAL_ACTIVITY = 'core_local_activity';

/** `LocalActivityMarkerData` of the SDK's core. */
interface LocalActivityData {
  readonly activity_type: string;
  /** By the clock. */
  readonly original_schedule_time: Timestamp;
  /** Not by the clock: the start of the workflow task, and on top of it what the activity took. */
  readonly complete_time: Timestamp;
}

/** How long after the answer spans may begin that are still shown. */
const TAIL_MS = 100;

const ENDED = /_(COMPLETED|FAILED|TIMED_OUT|CANCELED)$/;

/** Everything that took time, in the order in which it began. */
export function spansOf(recording: Recording): readonly Span[] {
  const { requestedMs, answeredMs, events, slaves } = recording;
  const spans = [
    ...requestSpans(recording),
    ...taskSpans(events),
    ...activitySpans(events),
    ...localActivitySpans(events),
    ...slaveSpans(slaves),
  ].map(
    ({ askedMs, fromMs, toMs, ...span }): Span => ({
      ...span,
      ...(askedMs !== undefined && { askedMs: askedMs - requestedMs }),
      fromMs: fromMs - requestedMs,
      toMs: toMs - requestedMs,
    }),
  );
  const beginOf = ({ askedMs, fromMs }: Span): number => askedMs ?? fromMs;
  return spans
    .filter((span) => beginOf(span) <= answeredMs - requestedMs + TAIL_MS)
    .toSorted((a, b) => beginOf(a) - beginOf(b));
}

/** Whether every workflow task and activity that was asked for has ended. */
export function isSettled(events: readonly HistoryEvent[]): boolean {
  const asked = events.filter(({ eventType }) => /_(WORKFLOW|ACTIVITY)_TASK_SCHEDULED$/.test(eventType));
  return asked.every(({ eventId }) => endOf(events, eventId) !== undefined);
}

function requestSpans({ requestedMs, answeredMs, events }: Recording): readonly Span[] {
  const started = msOf(events.find(({ eventType }) => eventType === 'EVENT_TYPE_WORKFLOW_EXECUTION_STARTED'));
  const told = events.findLast(
    (event) => event.eventType === 'EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED' && msOf(event) <= answeredMs,
  );
  return [
    { track: 'request', name: 'request', fromMs: requestedMs, toMs: answeredMs },
    { track: 'request', name: 'review and start', fromMs: requestedMs, toMs: started },
    ...(told === undefined
      ? []
      : [{ track: 'request', name: 'answer on its way', fromMs: msOf(told), toMs: answeredMs } as const]),
  ];
}

function taskSpans(events: readonly HistoryEvent[]): readonly Span[] {
  return events
    .filter(({ eventType }) => eventType === 'EVENT_TYPE_WORKFLOW_TASK_SCHEDULED')
    .flatMap((scheduled, index) => taken(events, scheduled, 'task', `workflow task ${index + 1}`));
}

function activitySpans(events: readonly HistoryEvent[]): readonly Span[] {
  return events.flatMap((scheduled) => {
    const name = scheduled.activityTaskScheduledEventAttributes?.activityType.name;
    return name === undefined ? [] : taken(events, scheduled, 'step', name);
  });
}

/** From when it was asked for to its end, if it has ended. */
function taken(events: readonly HistoryEvent[], asked: HistoryEvent, track: Track, name: string): readonly Span[] {
  const started = events.find((event) => follows(event, asked.eventId) && event.eventType.endsWith('_STARTED'));
  const ended = endOf(events, asked.eventId);
  if (started === undefined || ended === undefined) return [];
  return [{ track, name, askedMs: msOf(asked), fromMs: msOf(started), toMs: msOf(ended) }];
}

function localActivitySpans(events: readonly HistoryEvent[]): readonly Span[] {
  return events.flatMap((event): readonly Span[] => {
    const { markerName, details, workflowTaskCompletedEventId } = event.markerRecordedEventAttributes ?? {};
    const payload = details?.data?.payloads[0]?.data;
    if (markerName !== LOCAL_ACTIVITY || payload === undefined) return [];
    const data = JSON.parse(Buffer.from(payload, 'base64').toString()) as LocalActivityData;
    const completed = events.find(({ eventId }) => eventId === workflowTaskCompletedEventId);
    const task = events.find(({ eventId }) => eventId === attributesOf(completed).startedEventId);
    const fromMs = timeMs(data.original_schedule_time);
    const tookMs = timeMs(data.complete_time) - msOf(task);
    return [{ track: 'step', name: `${data.activity_type} (local)`, fromMs, toMs: fromMs + tookMs }];
  });
}

function slaveSpans(seen: readonly SeenSlave[]): readonly Span[] {
  const created = seen[0];
  const scheduled = seen.find(({ isScheduled }) => isScheduled);
  const running = seen.find(({ isRunning }) => isRunning);
  if (created === undefined || scheduled === undefined) return [];
  return [
    { track: 'cluster', name: 'scheduler binds the slave', fromMs: created.atMs, toMs: scheduled.atMs },
    ...(running === undefined
      ? []
      : [{ track: 'cluster', name: 'kubelet starts the slave', fromMs: scheduled.atMs, toMs: running.atMs } as const]),
  ];
}

function endOf(events: readonly HistoryEvent[], scheduledEventId: string): HistoryEvent | undefined {
  return events.find((event) => follows(event, scheduledEventId) && ENDED.test(event.eventType));
}

const follows = (event: HistoryEvent, scheduledEventId: string): boolean =>
  attributesOf(event).scheduledEventId === scheduledEventId;

interface Following {
  readonly scheduledEventId?: string;
  readonly startedEventId?: string;
}

function attributesOf(event: HistoryEvent | undefined): Following {
  const [, attributes] = Object.entries(event ?? {}).find(([key]) => key.endsWith('EventAttributes')) ?? [];
  return attributes ?? {};
}

/** @throws when there is no such event */
function msOf(event: HistoryEvent | undefined): number {
  if (event === undefined) throw new Error('Cannot read the history: an event is missing');
  return timeMs(event.eventTime);
}

const timeMs = ({ seconds, nanos = 0 }: Timestamp): number => Number(seconds) * 1_000 + nanos / 1e6;
