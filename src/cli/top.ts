// `evenkeel top`: the status, again and again, with rates. On a terminal it stays in place; elsewhere each look is a block of
// plain lines, or with --json one line.
import { setTimeout as pause } from 'node:timers/promises';
import { Command, Option } from 'commander';
import type { StatusJson } from '../http/api.ts';
import { type ApiOptions, type ApiTarget, addApiOptions, callApi, findApi } from './api-client.ts';
import { CommandFailure } from './failure.ts';
import { terminal } from './output.ts';
import { type Rates, statusLines } from './status.ts';
import { durationMs, wholeNumber } from './values.ts';

interface TopOptions extends ApiOptions {
  json?: true;
  interval: string;
  count?: number;
}

interface Look {
  atMs: number;
  status: StatusJson;
}

/** What each endpoint did in a second, between two looks. Counters never go back; a restart of Evenkeel begins anew. */
export function ratesBetween(before: Look | null, now: Look): Map<string, Rates> {
  const rates = new Map<string, Rates>();
  const seconds = before === null ? 0 : (now.atMs - before.atMs) / 1000;
  if (before === null || seconds <= 0) return rates;
  const earlier = new Map(before.status.endpoints.map((endpoint) => [endpoint.name, endpoint]));
  for (const { name, statements, errors } of now.status.endpoints) {
    const old = earlier.get(name);
    if (old === undefined || statements < old.statements) continue;
    rates.set(name, {
      statementsPerSecond: (statements - old.statements) / seconds,
      errorsPerSecond: Math.max(0, errors - old.errors) / seconds,
    });
  }
  return rates;
}

function asJson(look: Look, rates: ReadonlyMap<string, Rates>): string {
  const none = { statementsPerSecond: null, errorsPerSecond: null };
  const endpoints = look.status.endpoints.map((one) => ({ ...one, ...(rates.get(one.name) ?? none) }));
  return JSON.stringify({ at: new Date().toISOString(), ...look.status, endpoints });
}

function show(lines: readonly string[]): void {
  if (!process.stdout.isTTY) return lines.forEach((line) => terminal.out(line));
  const { columns, rows } = process.stdout;
  const fitting = lines.slice(0, rows - 1).map((line) => `${line.slice(0, columns)}\u001b[K`);
  // From the top, each line overwritten, what is left of the last picture erased: it does not flicker.
  process.stdout.write(`\u001b[H${fitting.join('\n')}\n\u001b[J`);
}

/** Null where nobody answers; the first look must be answered. */
async function look(target: ApiTarget, first: boolean): Promise<Look | CommandFailure> {
  try {
    return { atMs: performance.now(), status: await callApi<StatusJson>(target, '/api/v1/clusters') };
  } catch (error) {
    if (first || !(error instanceof CommandFailure)) throw error;
    return error;
  }
}

async function top(options: TopOptions): Promise<void> {
  const intervalMs = await durationMs('--interval', options.interval, { min: 200, max: 3_600_000 });
  const target = await findApi(options, process.env, process.cwd());
  const stopped = new AbortController();
  process.once('SIGINT', () => stopped.abort());
  let before: Look | null = null;
  for (let count = 1; !stopped.signal.aborted; count++) {
    const now = await look(target, count === 1);
    if (now instanceof CommandFailure) {
      if (!options.json) show([`${new Date().toISOString()}: ${now.message}`]);
    } else {
      const rates = ratesBetween(before, now);
      before = now;
      if (options.json) terminal.out(asJson(now, rates));
      else show([`${new Date().toISOString()}, every ${options.interval}`, '', ...statusLines(now.status, rates), '']);
    }
    if (options.count !== undefined && count >= options.count) return;
    await pause(intervalMs, undefined, { signal: stopped.signal }).catch(() => undefined);
  }
}

export function topCommand(): Command {
  const command = new Command('top')
    .description('the status, again and again, with statements and errors a second')
    .option('--interval <duration>', 'between two looks', '1s')
    .addOption(new Option('--count <looks>', 'ends after so many').argParser(wholeNumber(1, 1_000_000)))
    .option('--json', 'one line of JSON a look');
  return addApiOptions(command)
    .addHelpText('after', '\nExamples:\n  evenkeel top\n  evenkeel top --interval 5s --count 12 --json')
    .action(top);
}
