// The picture over time as SVG, for the README: the rate above, the waiting below, each fault marked and said in words.
// Pure. It carries its own background, so that it can be read on light and dark pages alike.
import type { Timeline } from '../drill/index.ts';
import { roundNumber, scaleTop } from './picture.ts';

export interface SvgFault {
  atMs: number;
  /** What was done, e.g. `kill -9 of the primary`. */
  title: string;
  /** What clients noticed. */
  note: string;
}

export interface SvgOptions {
  title: string;
  subtitle: string;
  /** One line below the picture. */
  footer: string;
  faults: readonly SvgFault[];
}

const WIDTH = 960;
const HEIGHT = 470;
const LEFT = 84;
const RIGHT = 930;
const RATE = { top: 132, bottom: 282 };
const WAIT = { top: 312, bottom: 392 };
const INK = '#1f2933';
const QUIET = '#66727f';
const GRID = '#e3e8ee';
const RATE_COLOUR = '#2f7f6f';
const WAIT_COLOUR = '#d9822b';
const FAULT_COLOUR = '#c23b3b';

export function svg(timeline: Timeline, options: SvgOptions): string {
  const { sliceMs } = timeline;
  // The last slice is cut short by the end of the run, and so looks like a fault.
  const slices = timeline.slices.slice(0, -1);
  const totalMs = Math.max(1, slices.length) * sliceMs;
  const x = (ms: number): number => LEFT + ((RIGHT - LEFT) * ms) / totalMs;
  const rates = slices.map(({ answered }) => (answered * 1000) / sliceMs);
  const waits = slices.map(({ waitMs }) => waitMs);
  const topRate = scaleTop(Math.max(0, ...rates));
  const topWait = scaleTop(Math.max(0, ...waits));
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', 'DejaVu Sans', sans-serif">`,
    `<title>${escape(`${options.title}: ${options.subtitle}; ${options.footer}`)}</title>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" rx="10" fill="#ffffff" stroke="${GRID}"/>`,
    text(24, 38, options.title, { size: 20, weight: 600 }),
    text(24, 62, options.subtitle, { size: 14, colour: QUIET }),
    ...scale(RATE, topRate, `${roundNumber(topRate)}/s`, 'statements', 'answered'),
    ...scale(WAIT, topWait, `${roundNumber(topWait)} ms`, 'longest', 'wait'),
    area(rates, topRate, (index) => x(index * sliceMs), RATE, RATE_COLOUR),
    area(waits, topWait, (index) => x(index * sliceMs), WAIT, WAIT_COLOUR),
    ...seconds(totalMs, x),
    ...options.faults.flatMap((fault) => marker(fault, x(fault.atMs))),
    text(24, HEIGHT - 20, options.footer, { size: 14, weight: 600 }),
    '</svg>',
  ];
  return `${parts.join('\n')}\n`;
}

interface TextStyle {
  size: number;
  weight?: number;
  colour?: string;
  anchor?: 'start' | 'middle' | 'end';
}

function text(x: number, y: number, content: string, { size, weight, colour = INK, anchor }: TextStyle): string {
  const bold = weight === undefined ? '' : ` font-weight="${weight}"`;
  const place = anchor === undefined ? '' : ` text-anchor="${anchor}"`;
  return `<text x="${round(x)}" y="${round(y)}" font-size="${size}" fill="${colour}"${bold}${place}>${escape(content)}</text>`;
}

function scale(
  { top, bottom }: { top: number; bottom: number },
  value: number,
  label: string,
  ...name: string[]
): string[] {
  const line = (y: number): string => `<path d="M${LEFT} ${y}H${RIGHT}" stroke="${GRID}"/>`;
  const lines = name.map((word, index) =>
    text(LEFT - 8, (top + bottom) / 2 + index * 15, word, { size: 12, colour: QUIET, anchor: 'end' }),
  );
  return [
    line(top),
    line(bottom),
    text(LEFT - 8, top + 4, label, { size: 12, colour: QUIET, anchor: 'end' }),
    text(LEFT - 8, bottom + 4, value === 0 ? '' : '0', { size: 12, colour: QUIET, anchor: 'end' }),
    ...lines,
  ];
}

/** Steps, not slopes: a slice is a slice. */
function area(
  values: readonly number[],
  top: number,
  x: (index: number) => number,
  room: { top: number; bottom: number },
  colour: string,
): string {
  const y = (value: number): number => room.bottom - ((room.bottom - room.top) * Math.min(value, top)) / top;
  const steps = values.map((value, index) => `V${round(y(value))}H${round(x(index + 1))}`).join('');
  return `<path d="M${round(x(0))} ${room.bottom}${steps}V${room.bottom}Z" fill="${colour}"/>`;
}

function seconds(totalMs: number, x: (ms: number) => number): string[] {
  const every = Math.max(1, Math.ceil(totalMs / 1000 / 20));
  const marks: string[] = [];
  for (let second = 0; second * 1000 <= totalMs; second += every) {
    const label = second === 0 ? '0 s' : String(second);
    marks.push(text(x(second * 1000), WAIT.bottom + 18, label, { size: 12, colour: QUIET, anchor: 'middle' }));
  }
  return marks;
}

function marker({ title, note }: SvgFault, x: number): string[] {
  // Words that would leave the picture stand left of their line.
  const left = x > LEFT + (RIGHT - LEFT) * 0.66;
  const anchor = left ? 'end' : 'start';
  const at = left ? x - 8 : x + 8;
  return [
    `<path d="M${round(x)} 84V${WAIT.bottom}" stroke="${FAULT_COLOUR}" stroke-width="1.5" stroke-dasharray="4 3"/>`,
    text(at, 96, title, { size: 14, weight: 600, colour: FAULT_COLOUR, anchor }),
    text(at, 114, note, { size: 13, colour: INK, anchor }),
  ];
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escape(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
