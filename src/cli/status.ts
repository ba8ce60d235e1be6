// `evenkeel status`: clusters, nodes, problems and endpoints of a running Evenkeel, once.
import { Command } from 'commander';
import type { ClusterStatus, EndpointStatus, StatusJson } from '../http/api.ts';
import { type ApiOptions, addApiOptions, callApi, findApi } from './api-client.ts';
import { printable, shorten, showLag, table, terminal } from './output.ts';

const GTID_CHARS = 40;

function clusterLines(cluster: ClusterStatus): string[] {
  const facts = [
    cluster.state,
    cluster.flavor ?? 'flavor not known yet',
    `epoch ${cluster.epoch}`,
    `primary ${cluster.primary ?? 'none'}`,
    `durability ${cluster.durability}`,
    `recovery ${cluster.recovery}`,
    ...(cluster.maintenance === null ? [] : [`in maintenance until ${cluster.maintenance.until ?? 'it is ended'}`]),
  ];
  const rows = cluster.nodes.map((node) => [
    node.node,
    node.role,
    node.state,
    showLag(node.lagMs),
    // The end of a set is what moves.
    node.gtid.length > GTID_CHARS ? `…${printable(node.gtid).slice(1 - GTID_CHARS)}` : printable(node.gtid),
    shorten(node.detail, 200),
  ]);
  return [
    `cluster ${cluster.name}: ${facts.join(', ')}`,
    ...table([['NODE', 'ROLE', 'STATE', 'LAG', 'GTID', 'DETAIL'], ...rows], '  '),
    ...cluster.problems.map((problem) => `  problem ${problem.code}: ${printable(problem.text)}`),
  ];
}

/** Null where nothing but transactions keeps sessions on their server connections: that is as it should be. */
function pinnedText(pinned: EndpointStatus['pinned']): string | null {
  const counts = Object.entries(pinned).filter(([, count]) => count > 0);
  if (counts.every(([reason]) => reason === 'transaction')) return null;
  counts.sort(([, a], [, b]) => b - a);
  return counts.map(([reason, count]) => `${count} ${reason}`).join(', ');
}

/** What an endpoint does in a second. */
export interface Rates {
  statementsPerSecond: number;
  errorsPerSecond: number;
}

const perSecond = (rate: number | undefined): string => (rate === undefined ? '-' : rate.toFixed(rate < 10 ? 1 : 0));

/** As `status` prints it; with `rates`, as `top` does. */
export function statusLines(status: StatusJson, rates?: ReadonlyMap<string, Rates>): string[] {
  const lines = status.clusters.flatMap((cluster) => [...clusterLines(cluster), '']);
  const rows = status.endpoints.map((endpoint) => {
    const rate = rates?.get(endpoint.name);
    return [
      endpoint.name,
      endpoint.cluster,
      endpoint.listen,
      endpoint.route,
      String(endpoint.clients),
      String(endpoint.held),
      ...(rates === undefined ? [] : [perSecond(rate?.statementsPerSecond), perSecond(rate?.errorsPerSecond)]),
    ];
  });
  const columns = ['ENDPOINT', 'CLUSTER', 'LISTEN', 'ROUTE', 'CLIENTS', 'HELD'];
  const [head = '', ...endpoints] = table([[...columns, ...(rates === undefined ? [] : ['STMT/S', 'ERR/S'])], ...rows]);
  lines.push(head);
  for (const [index, line] of endpoints.entries()) {
    lines.push(line);
    const { pinned = {}, paused = null } = status.endpoints[index] ?? {};
    const reasons = pinnedText(pinned);
    if (reasons !== null) lines.push(`  pinned: ${reasons}`);
    if (paused !== null) lines.push(`  paused until ${paused.until}`);
  }
  return lines;
}

export function statusCommand(): Command {
  const command = new Command('status')
    .description('nodes, roles, lag, endpoints, clients and held statements of a running Evenkeel')
    .option('--json', 'as JSON');
  return addApiOptions(command)
    .addHelpText('after', '\nExample:\n  evenkeel status --config /etc/evenkeel.yaml')
    .action(async (options: ApiOptions & { json?: true }) => {
      const target = await findApi(options, process.env, process.cwd());
      const status = await callApi<StatusJson>(target, '/api/v1/clusters');
      if (options.json) terminal.out(JSON.stringify(status, null, 2));
      else for (const line of statusLines(status)) terminal.out(line);
    });
}
