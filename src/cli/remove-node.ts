// `evenkeel remove-node NODE`: takes a node out of the cluster for good. The endpoints do not change.
import { Command } from 'commander';
import type { OperatorOrder, StatusJson } from '../http/api.ts';
import { type ApiOptions, addApiOptions, callApi, findApi } from './api-client.ts';
import { clusterWith } from './orders.ts';
import { terminal } from './output.ts';

interface RemoveOptions extends ApiOptions {
  json?: true;
  force?: true;
}

async function removeNode(node: string, options: RemoveOptions): Promise<void> {
  const target = await findApi(options, process.env, process.cwd());
  const cluster = clusterWith((await callApi<StatusJson>(target, '/api/v1/clusters')).clusters, node);
  const body = { node, ...(options.force === undefined ? {} : { force: true }) };
  const path = `/api/v1/clusters/${encodeURIComponent(cluster)}/remove-node`;
  const order = await callApi<OperatorOrder>(target, path, { method: 'POST', body });
  if (options.json) return terminal.out(JSON.stringify(order, null, 2));
  terminal.out(
    `${node} is no node of ${cluster} any more: it follows nobody, and is not looked at; back: evenkeel add-node`,
  );
}

export function removeNodeCommand(): Command {
  const command = new Command('remove-node')
    .description('takes a drained node out of the cluster for good: it follows nobody any more')
    .argument('<node>', 'host:port')
    .option('--force', 'also one that does not answer: then see to it that its server does not come back')
    .option('--json', 'what stands now, as JSON');
  return addApiOptions(command)
    .addHelpText('after', '\nExample:\n  evenkeel drain db3:3306 && evenkeel remove-node db3:3306')
    .action(removeNode);
}
