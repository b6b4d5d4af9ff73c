import type { Span, Track } from './trace-spans.ts';

export interface Panel {
  readonly title: string;
  readonly spans: readonly Span[];
}

const WIDTH = 960;
const LABELS = 190;
const ROW = 18;
const BAR = 12;
const TITLE = 34;
const AXIS = 30;
const LEGEND = 30;
/** Room behind the last bar, for its figure. */
const MARGIN = 70;
const STEPS_MS = [10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000];
const MOST_LINES = 12;

const TRACKS: Readonly<Record<Track, string>> = {
  request: 'request and answer',
  task: 'workflow task',
  step: 'step',
  cluster: 'scheduler and kubelet, as a watch sees them',
};

const STYLE = `
text { font: 12px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2328 }
.title { font-weight: 600; font-size: 14px }
.paper { fill: #ffffff }
.grid { stroke: #d1d9e0 }
.answer { stroke: #cf222e; stroke-dasharray: 4 3 }
.request { fill: #57606a }
.task { fill: #8250df }
.step { fill: #0969da }
.cluster { fill: #1a7f37 }
.waits { fill-opacity: 0.3 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .paper { fill: #0d1117 }
  .grid { stroke: #30363d }
  .answer { stroke: #ff7b72 }
  .request { fill: #8b949e }
  .task { fill: #a371f7 }
  .step { fill: #4493f8 }
  .cluster { fill: #3fb950 }
}`;

/** Mounts as bars, below each other, all on one scale. The same panels make the same picture. */
export function traceSvg(panels: readonly Panel[]): string {
  const endMs = Math.max(...panels.flatMap(({ spans }) => spans.map(({ toMs }) => toMs)));
  const scale = (ms: number): number => LABELS + (ms / endMs) * (WIDTH - LABELS - MARGIN);
  let y = LEGEND;
  const drawn = panels.map((panel) => {
    const top = y;
    y += heightOf(panel);
    return panelSvg(panel, top, endMs, scale);
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y}" viewBox="0 0 ${WIDTH} ${y}" role="img">`,
    `<title>What takes time in a mount</title>`,
    `<style>${STYLE}\n</style>`,
    `<rect class="paper" width="${WIDTH}" height="${y}"/>`,
    legendSvg(),
    ...drawn,
    '</svg>\n',
  ].join('\n');
}

const heightOf = ({ spans }: Panel): number => TITLE + spans.length * ROW + AXIS;

function panelSvg({ title, spans }: Panel, top: number, endMs: number, scale: (ms: number) => number): string {
  const first = top + TITLE;
  const bottom = first + spans.length * ROW;
  const answeredMs = spans.find(({ name }) => name === 'request')?.toMs;
  return [
    `<text class="title" x="12" y="${top + 22}">${escaped(title)}</text>`,
    ...linesMs(endMs).map((ms) => lineSvg('grid', scale(ms), first, bottom) + tickSvg(ms, scale(ms), bottom)),
    ...(answeredMs === undefined ? [] : [lineSvg('answer', scale(answeredMs), first, bottom)]),
    ...spans.map((span, index) => spanSvg(span, first + index * ROW, scale)),
  ].join('\n');
}

function spanSvg({ track, name, askedMs, fromMs, toMs }: Span, top: number, scale: (ms: number) => number): string {
  const bar = (kind: string, from: number, to: number): string => {
    // A bar of nothing would not be seen.
    const width = Math.max(1, scale(to) - scale(from));
    return `<rect class="${kind}" x="${round(scale(from))}" y="${top + 3}" width="${round(width)}" height="${BAR}"/>`;
  };
  return [
    `<text x="${LABELS - 8}" y="${top + 13}" text-anchor="end">${escaped(name)}</text>`,
    ...(askedMs === undefined ? [] : [bar(`${track} waits`, askedMs, fromMs)]),
    bar(track, fromMs, toMs),
    `<text x="${round(scale(toMs) + 5)}" y="${top + 13}">${(toMs - (askedMs ?? fromMs)).toFixed(0)} ms</text>`,
  ].join('\n');
}

function legendSvg(): string {
  let x = 12;
  const entries = [...Object.entries(TRACKS), ['task waits', 'pale: waits to be taken']].map(([kind, text = '']) => {
    const at = x;
    x += 30 + text.length * 6.6;
    return `<rect class="${kind}" x="${round(at)}" y="12" width="12" height="12"/><text x="${round(at + 17)}" y="22">${text}</text>`;
  });
  return entries.join('\n');
}

function linesMs(endMs: number): readonly number[] {
  const step = STEPS_MS.find((ms) => endMs / ms <= MOST_LINES) ?? endMs;
  return Array.from({ length: Math.floor(endMs / step) + 1 }, (_, index) => index * step);
}

const lineSvg = (kind: string, x: number, top: number, bottom: number): string =>
  `<line class="${kind}" x1="${round(x)}" y1="${top}" x2="${round(x)}" y2="${bottom}"/>`;

const tickSvg = (ms: number, x: number, bottom: number): string =>
  `<text x="${round(x)}" y="${bottom + 15}" text-anchor="middle">${ms} ms</text>`;

const round = (value: number): number => Number(value.toFixed(1));

const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');

/** The same in lines of text: when each began, how long it waited to be taken and how long it took. */
export function traceTable({ title, spans }: Panel): string {
  const cells = spans.map(({ name, askedMs, fromMs, toMs }) => [
    name,
    (askedMs ?? fromMs).toFixed(1),
    askedMs === undefined ? '' : (fromMs - askedMs).toFixed(1),
    (toMs - fromMs).toFixed(1),
    toMs.toFixed(1),
  ]);
  const rows = [['', 'asked', 'waited', 'took', 'ended at, ms'], ...cells];
  return [title, ...rows.map(textOf)].join('\n');
}

const textOf = ([name = '', ...numbers]: readonly string[]): string =>
  name.padEnd(28) + numbers.map((number) => number.padStart(14)).join('');
