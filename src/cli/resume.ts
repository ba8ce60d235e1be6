// `evenkeel resume ENDPOINT`: ends a pause before its time.
import { Command } from 'commander';
import type { OperatorOrder } from '../http/api.ts';
import { type ApiOptions, addApiOptions, callApi, findApi } from './api-client.ts';
import { terminal } from './output.ts';

async function resume(endpoint: string, options: ApiOptions & { json?: true }): Promise<void> {
  const target = await findApi(options, process.env, process.cwd());
  const path = `/api/v1/endpoints/${encodeURIComponent(endpoint)}/resume`;
  const order = await callApi<OperatorOrder>(target, path, { method: 'POST', body: {} });
  terminal.out(options.json ? JSON.stringify(order, null, 2) : `${endpoint} takes statements again`);
}

export function resumeCommand(): Command {
  const command = new Command('resume')
    .description('ends a pause before its time: what waited goes on, in its order')
    .argument('<endpoint>', 'its name in the configuration')
    .option('--json', 'what stands now, as JSON');
  return addApiOptions(command).addHelpText('after', '\nExample:\n  evenkeel resume writer').action(resume);
}
