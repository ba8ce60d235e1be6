// The picture over time as block characters: how many statements were answered and how long clients waited, a column for
// each slice, around one fault. Pure. Eighth blocks, so that a row shows eight heights.
import type { Slice } from '../drill/index.ts';

const BLOCKS = ' ▁▂▃▄▅▆▇█';

/** Rows of characters, top first, for values from 0 to `top`. What is above nothing shows at least the lowest block. */
export function columns(values: readonly number[], top: number, height: number): string[] {
  const eighths = values.map((value) => {
    if (value <= 0) return 0;
    return Math.min(height * 8, Math.max(1, Math.round((value / top) * height * 8)));
  });
  return Array.from({ length: height }, (_, row) => {
    const below = (height - 1 - row) * 8;
    return eighths.map((count) => BLOCKS[Math.min(8, Math.max(0, count - below))]).join('');
  });
}

export interface PanelOptions {
  title: string;
  /** How the fault is called under the axis. */
  fault: string;
  faultMs: number;
  beforeMs: number;
  afterMs: number;
  sliceMs: number;
  /** The top of both scales, so that several panels can be compared. */
  topRate: number;
  topWaitMs: number;
}

const RATE_ROWS = 4;
const WAIT_ROWS = 3;
const LABEL_WIDTH = 11;

/** The lines of one panel; as wide as its slices and twelve columns for the labels. */
export function panel(slices: readonly Slice[], options: PanelOptions): string[] {
  const { sliceMs, faultMs, topRate, topWaitMs } = options;
  const first = Math.max(0, Math.floor((faultMs - options.beforeMs) / sliceMs));
  const shown = slices.slice(first, Math.ceil((faultMs + options.afterMs) / sliceMs));
  const at = Math.floor(faultMs / sliceMs) - first;
  const rate = shown.map(({ answered }) => (answered * 1000) / sliceMs);
  const wait = shown.map(({ waitMs }) => waitMs);
  const axis = shown.map((_, index) => (index === at ? '┴' : '─')).join('');
  const caption = `▲ ${options.fault}`;
  return [
    options.title,
    ...framed(columns(rate, topRate, RATE_ROWS), `${roundNumber(topRate)}/s`, 'answered'),
    `${'0'.padStart(LABEL_WIDTH)} ┼${axis}`,
    ...framed(columns(wait, topWaitMs, WAIT_ROWS), `${roundNumber(topWaitMs)} ms`, 'waiting'),
    `${'0'.padStart(LABEL_WIDTH)} ┼${axis}`,
    `${' '.repeat(LABEL_WIDTH + 2 + at)}${caption}`,
  ];
}

function framed(rows: readonly string[], top: string, name: string): string[] {
  return rows.map((row, index) => {
    const label = index === 0 ? top : index === 1 ? name : '';
    return `${label.padStart(LABEL_WIDTH)} ${index === 0 ? '┤' : '│'}${row}`.trimEnd();
  });
}

/** The next number above `value` that makes a good end of a scale: 1, 1.5, 2, 3, 4, 5, 6 or 8 with zeros. */
export function scaleTop(value: number): number {
  if (value <= 1) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 1.5, 2, 3, 4, 5, 6, 8, 10].find((each) => each * power >= value) ?? 10;
  return step * power;
}

/** `12,345` */
export function roundNumber(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}
