// What a benchmark reports: named figures with a sample a round, next to the aim of the project where there is one.
// An aim is missed where a round did not end, too: a run that failed must not look better than a slow one.
import { percentile, sum } from './stats.ts';

type Statistic = 'p50' | 'p95' | 'max' | 'total';

export type Aim = { of: Statistic; atMost: number } | { of: Statistic; atLeast: number };

export interface Figure {
  name: string;
  unit: 'ms' | 's' | 'µs' | 'count' | 'q/s' | 'KiB' | 'MiB' | 'ratio';
  /** One a round, in order. */
  samples: number[];
  aims?: Aim[];
}

export type JudgedAim = Aim & { measured: number; verdict: 'met' | 'missed' };

export interface JudgedFigure {
  name: string;
  unit: Figure['unit'];
  samples: number[];
  p50: number | null;
  p95: number | null;
  max: number | null;
  total: number | null;
  aims: JudgedAim[];
}

/** `failedRounds` rounds have no sample: with one or more, every aim is missed. */
export function judge(figure: Figure, failedRounds: number): JudgedFigure {
  const { name, unit, samples } = figure;
  const all = {
    p50: percentile(samples, 50),
    p95: percentile(samples, 95),
    max: percentile(samples, 100),
    total: sum(samples),
  };
  const aims = (figure.aims ?? []).map((aim): JudgedAim => {
    const measured = all[aim.of];
    // Not `measured > atMost`: nothing measured is no aim met.
    const within = 'atMost' in aim ? measured <= aim.atMost : measured >= aim.atLeast;
    const met = failedRounds === 0 && samples.length > 0 && within;
    return { ...aim, measured, verdict: met ? 'met' : 'missed' };
  });
  const known = (value: number): number | null => (samples.length === 0 ? null : rounded(value));
  return {
    name,
    unit,
    samples: samples.map(rounded),
    p50: known(all.p50),
    p95: known(all.p95),
    max: known(all.max),
    total: unit === 'count' ? known(all.total) : null,
    aims,
  };
}

export function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}

/** The table of a benchmark's figures. */
export function figureTable(figures: readonly JudgedFigure[]): string {
  const rows = figures.map((figure) => [
    `${figure.name}${figure.unit === 'count' ? '' : `, ${figure.unit}`}`,
    cell(figure.p50),
    cell(figure.p95),
    cell(figure.max),
    figure.unit === 'count' ? cell(figure.total) : '',
    figure.aims.map((aim) => `${aim.of} ${'atMost' in aim ? `≤ ${aim.atMost}` : `≥ ${aim.atLeast}`}`).join(', '),
    figure.aims.map((aim) => aim.verdict).join(', '),
  ]);
  return table(['figure', 'p50', 'p95', 'max', 'total', 'aim', ''], rows);
}

function cell(value: number | null): string {
  return value === null ? '–' : number(value);
}

/** Short enough for a table, with three significant digits at least. */
export function number(value: number): string {
  if (!Number.isFinite(value)) return '–';
  const digits = Number.isInteger(value) || Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toFixed(digits);
}

/** A Markdown table that also reads well in a terminal; numbers to the right. */
export function table(head: readonly string[], rows: readonly string[][]): string {
  const widths = head.map((title, i) => Math.max(3, title.length, ...rows.map((row) => (row[i] ?? '').length)));
  const right = head.map((_, i) => i > 0 && rows.every((row) => /^[-–.\d]*$/.test(row[i] ?? '')));
  const line = (cells: readonly string[]): string =>
    `| ${widths.map((width, i) => (right[i] ? (cells[i] ?? '').padStart(width) : (cells[i] ?? '').padEnd(width))).join(' | ')} |`;
  const rule = `|${widths.map((width, i) => `${'-'.repeat(width + 1)}${right[i] ? ':' : '-'}`).join('|')}|`;
  return [line(head), rule, ...rows.map(line)].join('\n');
}
