// `evenkeel history [ID]`: every recovery, or one with its timeline.
import { Command, Option } from 'commander';
import type { RecoveryRecord } from '../recovery/types.ts';
import { type ApiOptions, addApiOptions, callApi, findApi } from './api-client.ts';
import { terminal } from './output.ts';
import { historyTable, stepsTable, summaryLines } from './records.ts';
import { wholeNumber } from './values.ts';

interface HistoryOptions extends ApiOptions {
  json?: true;
  cluster?: string;
  limit: number;
}

async function showOne(id: string, options: HistoryOptions): Promise<void> {
  const target = await findApi(options, process.env, process.cwd());
  const record = await callApi<RecoveryRecord>(target, `/api/v1/history/${encodeURIComponent(id)}`);
  if (options.json) {
    terminal.out(JSON.stringify(record, null, 2));
    return;
  }
  for (const line of summaryLines(record)) terminal.out(line);
  terminal.out(`  started: ${record.startedAt}`);
  for (const line of stepsTable(record.steps)) terminal.out(line);
}

async function showAll(options: HistoryOptions): Promise<void> {
  const target = await findApi(options, process.env, process.cwd());
  const query = new URLSearchParams({ limit: String(options.limit) });
  if (options.cluster !== undefined) query.set('cluster', options.cluster);
  const records = await callApi<RecoveryRecord[]>(target, `/api/v1/history?${query.toString()}`);
  if (options.json) terminal.out(JSON.stringify(records, null, 2));
  else if (records.length === 0) terminal.out('no recovery yet');
  else for (const line of historyTable(records)) terminal.out(line);
}

export function historyCommand(): Command {
  const command = new Command('history')
    .description('every recovery, newest first; with an ID, one with its timeline')
    .argument('[id]', 'of one recovery')
    .option('--json', 'as JSON')
    .option('--cluster <name>', 'only of this cluster')
    .addOption(new Option('--limit <count>', 'at most so many').argParser(wholeNumber(1, 1000)).default(20));
  return addApiOptions(command)
    .addHelpText('after', '\nExample:\n  evenkeel history --limit 5\n  evenkeel history 01J9 --json')
    .action((id: string | undefined, options: HistoryOptions) =>
      id === undefined ? showAll(options) : showOne(id, options),
    );
}
