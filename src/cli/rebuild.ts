// `evenkeel rebuild NODE`: builds a node anew from another one; what it had of its own is recorded, and gone.
import { Command } from 'commander';
import type { StatusJson } from '../http/api.ts';
import { type ApiOptions, addApiOptions, callApi, findApi } from './api-client.ts';
import { clusterWith, giveOrder } from './orders.ts';
import { durationMs } from './values.ts';

interface RebuildOptions extends ApiOptions {
  json?: true;
  from?: string;
  force?: true;
  wait: string;
}

async function rebuild(node: string, options: RebuildOptions): Promise<void> {
  const returnWaitMs = await durationMs('--wait', options.wait, { min: 1000, max: 86_400_000 });
  const target = await findApi(options, process.env, process.cwd());
  const cluster = clusterWith((await callApi<StatusJson>(target, '/api/v1/clusters')).clusters, node);
  const body = {
    node,
    returnWaitMs,
    ...(options.from === undefined ? {} : { from: options.from }),
    ...(options.force === undefined ? {} : { force: true }),
  };
  await giveOrder('rebuild', { ...options, cluster }, body);
}

export function rebuildCommand(): Command {
  const command = new Command('rebuild')
    .description('builds a node with errant transactions anew from another one; its own data is gone then')
    .argument('<node>', 'host:port')
    .option('--from <node>', 'where the data comes from (default: a sound replica, else the primary)')
    .option('--force', 'also a node without errant transactions')
    .option('--wait <duration>', 'how long its server may take to come back after the clone', '30m')
    .option('--json', 'the record as JSON, at the end');
  return addApiOptions(command)
    .addHelpText(
      'after',
      '\nMySQL is cloned by its clone plug-in. For MariaDB, which has none, the commands to run are told, and the exit status is 1.\n\nExamples:\n  evenkeel errant db2:3306\n  evenkeel rebuild db2:3306',
    )
    .action(rebuild);
}
