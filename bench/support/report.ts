// How a benchmark speaks: progress on standard error, the result on standard output, as tables for people or as one
// JSON document. The machine stands in both: a figure without it says nothing.
import { writeFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { figureTable, type JudgedFigure } from './figures.ts';

export type Flavor = 'mysql' | 'mariadb';

/** What every benchmark is told. */
export interface CommonOptions {
  flavors: Flavor[];
  rounds: number;
}

/** A round that did not end; it counts against every aim. Round 0 is what comes before the first. */
export interface FailedRound {
  round: number;
  error: string;
}

export interface FlavorResult {
  flavor: Flavor;
  version: string;
  failedRounds: FailedRound[];
  figures: JudgedFigure[];
  /** Every round as it was measured. */
  rounds: unknown[];
  /** The medians of the rounds and their spread, where the benchmark has more to tell than figures. */
  summary?: unknown;
  /** Tables that are not a list of figures, as Markdown. */
  tables?: { title: string; text: string }[];
  remarks?: string[];
}

export interface Result {
  benchmark: string;
  title: string;
  settings: Record<string, string | number | boolean>;
  results: FlavorResult[];
}

export function progress(line: string): void {
  process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`);
}

/** `json`: true is the document alone; a file's name is the tables, and the document into that file. */
export function print(result: Result, json: boolean | string): void {
  const machine = {
    processor: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryMiB: Math.round(totalmem() / 2 ** 20),
    kernel: release(),
    node: process.version,
    at: new Date().toISOString(),
  };
  if (json !== false) {
    const results = result.results.map((each) => ({ ...each, tables: undefined }));
    const document = `${JSON.stringify({ ...result, machine, results }, null, 2)}\n`;
    if (json === true) {
      process.stdout.write(document);
      return;
    }
    writeFileSync(json, document);
  }
  const settings = Object.entries(result.settings).map(([name, value]) => `${name} ${value}`);
  const lines = [
    '',
    `# ${result.title}`,
    '',
    `${settings.join(', ')}. ${machine.cores} × ${machine.processor}, Linux ${machine.kernel}, Node ${machine.node}.`,
  ];
  for (const each of result.results) {
    lines.push('', `## ${each.flavor} ${each.version}`, '');
    if (each.figures.length > 0) lines.push(figureTable(each.figures));
    for (const { title, text } of each.tables ?? []) lines.push('', title, '', text);
    for (const remark of each.remarks ?? []) lines.push('', remark);
    for (const { round, error } of each.failedRounds) lines.push('', `Round ${round} did not end: ${error}`);
  }
  process.stdout.write(`${lines.join('\n')}\n`);
}

/** Measures every flavor; one that cannot even be set up is kept as failed, and the next one begins. */
export async function eachFlavor(
  flavors: readonly Flavor[],
  work: (flavor: Flavor) => Promise<FlavorResult>,
): Promise<FlavorResult[]> {
  const results: FlavorResult[] = [];
  for (const flavor of flavors) {
    const result = await attempt(flavor, async () => ({ value: await work(flavor), line: 'done' }));
    const failedRounds = result.ok ? [] : [{ round: 0, error: result.error }];
    results.push(result.ok ? result.value : { flavor, version: 'unknown', failedRounds, figures: [], rounds: [] });
  }
  return results;
}

/** Runs the rounds one after the other; one that throws is kept as failed, and the next one begins. */
export async function eachRound<T>(
  rounds: number,
  name: string,
  work: (round: number) => Promise<{ value: T; line: string }>,
): Promise<{ done: T[]; failed: FailedRound[] }> {
  const done: T[] = [];
  const failed: FailedRound[] = [];
  for (let round = 1; round <= rounds; round++) {
    const result = await attempt(`${name} ${round}/${rounds}`, () => work(round));
    if (result.ok) done.push(result.value);
    else failed.push({ round, error: result.error });
  }
  return { done, failed };
}

/** Runs one piece of a benchmark, with a line of progress for how it went. */
export async function attempt<T>(
  name: string,
  work: () => Promise<{ value: T; line: string }>,
): Promise<{ ok: true; value: T } | { ok: false; error: string }> {
  try {
    const { value, line } = await work();
    progress(`${name}: ${line}`);
    return { ok: true, value };
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    progress(`${name} did not end: ${text}`);
    return { ok: false, error: text.split('\n')[0]?.slice(0, 300) ?? '' };
  }
}
