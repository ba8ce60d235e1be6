// `evenkeel pause ENDPOINT`: holds all its statements, for a time; they run afterwards, in their order.
import { Command } from 'commander';
import type { PauseReport } from '../http/api.ts';
import { type ApiOptions, addApiOptions, callApi, findApi } from './api-client.ts';
import { terminal } from './output.ts';
import { durationMs } from './values.ts';

interface PauseOptions extends ApiOptions {
  json?: true;
  for: string;
  wait: string;
}

const HOUR_MS = 3_600_000;

async function pause(endpoint: string, options: PauseOptions): Promise<void> {
  const forMs = await durationMs('--for', options.for, { min: 100, max: HOUR_MS });
  const waitMs = await durationMs('--wait', options.wait, { min: 0, max: HOUR_MS });
  const target = await findApi(options, process.env, process.cwd());
  const path = `/api/v1/endpoints/${encodeURIComponent(endpoint)}/pause`;
  const report = await callApi<PauseReport>(target, path, { method: 'POST', body: { forMs, waitMs } });
  if (options.json) return terminal.out(JSON.stringify(report, null, 2));
  terminal.out(
    `${endpoint} is paused in every worker; it resumes by itself at ${report.until}, or: evenkeel resume ${endpoint}`,
  );
  terminal.out(
    report.inProgress === 0
      ? 'nothing is in progress any more'
      : `${report.inProgress} transactions or statements that had begun before go on to their end`,
  );
}

export function pauseCommand(): Command {
  const command = new Command('pause')
    .description('holds all statements of an endpoint, for a time; they run afterwards, in their order')
    .argument('<endpoint>', 'its name in the configuration')
    .option('--for <duration>', 'resumes by itself after this time', '10s')
    .option('--wait <duration>', 'waits so long for transactions and statements that had begun before', '1s')
    .option('--json', 'what stands now, as JSON');
  return addApiOptions(command).addHelpText('after', '\nExample:\n  evenkeel pause writer --for 10s').action(pause);
}
