// `evenkeel maintenance NODE|CLUSTER`: nothing is recovered by itself there, for a time or until it is ended.
import { Command, Option } from 'commander';
import type { OperatorOrder, StatusJson } from '../http/api.ts';
import { type ApiOptions, type ApiTarget, addApiOptions, callApi, findApi } from './api-client.ts';
import { clusterWith } from './orders.ts';
import { terminal } from './output.ts';
import { durationMs } from './values.ts';

interface MaintenanceOptions extends ApiOptions {
  json?: true;
  for?: string;
  end?: true;
}

const DAY_MS = 86_400_000;

/** A cluster by its name, or the one cluster that has the node. */
async function find(target: ApiTarget, of: string): Promise<{ cluster: string; node?: string }> {
  const { clusters } = await callApi<StatusJson>(target, '/api/v1/clusters');
  return clusters.some(({ name }) => name === of) ? { cluster: of } : { cluster: clusterWith(clusters, of), node: of };
}

async function maintenance(of: string, options: MaintenanceOptions): Promise<void> {
  const forMs =
    options.for === undefined ? undefined : await durationMs('--for', options.for, { min: 1000, max: 30 * DAY_MS });
  const target = await findApi(options, process.env, process.cwd());
  const { cluster, node } = await find(target, of);
  const body = {
    ...(node === undefined ? {} : { node }),
    ...(forMs === undefined ? {} : { forMs }),
    ...(options.end === undefined ? {} : { end: true }),
  };
  const path = `/api/v1/clusters/${encodeURIComponent(cluster)}/maintenance`;
  const order = await callApi<OperatorOrder>(target, path, { method: 'POST', body });
  if (options.json) terminal.out(JSON.stringify(order, null, 2));
  else if (order.state === 'ended') terminal.out(`maintenance of ${of} ended: it is recovered by itself again`);
  else {
    terminal.out(
      `${of} is in maintenance until ${order.until ?? 'it is ended (--end)'}: nothing is recovered by itself`,
    );
  }
}

export function maintenanceCommand(): Command {
  const command = new Command('maintenance')
    .description('nothing is recovered by itself on a node, or in a whole cluster, for a time or until it is ended')
    .argument('<node-or-cluster>', 'host:port of a node, or the name of a cluster')
    .addOption(
      new Option('--for <duration>', 'ends by itself after this time, such as 30m (default: lasts until --end)'),
    )
    .addOption(new Option('--end', 'ends it').conflicts('for'))
    .option('--json', 'what stands now, as JSON');
  return addApiOptions(command)
    .addHelpText('after', '\nExamples:\n  evenkeel maintenance db2:3306 --for 30m\n  evenkeel maintenance shop --end')
    .action(maintenance);
}
