// `evenkeel errant NODE`: the transactions that a node has and the primary has not, as its binary log tells them.
import { Command } from 'commander';
import type { ErrantReport, StatusJson } from '../http/api.ts';
import { type ApiOptions, addApiOptions, callApi, findApi } from './api-client.ts';
import { clusterWith } from './orders.ts';
import { printable, terminal } from './output.ts';

async function errant(node: string, options: ApiOptions & { json?: true }): Promise<void> {
  const target = await findApi(options, process.env, process.cwd());
  const cluster = clusterWith((await callApi<StatusJson>(target, '/api/v1/clusters')).clusters, node);
  const path = `/api/v1/clusters/${encodeURIComponent(cluster)}/errant`;
  const report = await callApi<ErrantReport>(target, path, { method: 'POST', body: { node } });
  if (options.json) return terminal.out(JSON.stringify(report, null, 2));
  if (report.count === 0) return terminal.out(`${node} has no transactions that the primary has not`);
  terminal.out(`${node} has ${report.count} that the primary has not: ${printable(report.gtids)}`);
  for (const { gtid, tables, statements } of report.transactions) {
    terminal.out(`  ${gtid}`);
    for (const { table, did } of tables) terminal.out(`    ${did.join(', ')}: ${printable(table)}`);
    for (const statement of statements) terminal.out(`    ${printable(statement)}`);
  }
  if (report.note !== '') terminal.out(`  ${report.note}`);
}

export function errantCommand(): Command {
  const command = new Command('errant')
    .description('the transactions that a node has and the primary has not, from its binary log')
    .argument('<node>', 'host:port')
    .option('--json', 'as JSON');
  return addApiOptions(command).addHelpText('after', '\nExample:\n  evenkeel errant db2:3306').action(errant);
}
