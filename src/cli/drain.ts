// `evenkeel drain NODE`: takes a node out of service, so that it can be stopped without anybody noticing.
import { Command } from 'commander';
import type { DrainReport, StatusJson } from '../http/api.ts';
import { type ApiOptions, addApiOptions, callApi, findApi } from './api-client.ts';
import { clusterWith } from './orders.ts';
import { terminal } from './output.ts';
import { summaryLines } from './records.ts';
import { durationMs } from './values.ts';

interface DrainOptions extends ApiOptions {
  json?: true;
  timeout: string;
  to?: string;
  force?: true;
}

async function drain(node: string, options: DrainOptions): Promise<void> {
  const timeoutMs = await durationMs('--timeout', options.timeout, { min: 0, max: 3_600_000 });
  const target = await findApi(options, process.env, process.cwd());
  const cluster = clusterWith((await callApi<StatusJson>(target, '/api/v1/clusters')).clusters, node);
  const body = {
    node,
    timeoutMs,
    ...(options.to === undefined ? {} : { to: options.to }),
    ...(options.force === undefined ? {} : { force: true }),
  };
  const path = `/api/v1/clusters/${encodeURIComponent(cluster)}/drain`;
  const report = await callApi<DrainReport>(target, path, { method: 'POST', body });
  if (options.json) return terminal.out(JSON.stringify(report, null, 2));
  if (report.switchover !== null) for (const line of summaryLines(report.switchover)) terminal.out(line);
  terminal.out(
    report.ended === 0
      ? `${node} is drained: everything there came to its end`
      : `${node} is drained: ${report.ended} clients were not done there within ${options.timeout}, and were taken off it`,
  );
  terminal.out(`it may be stopped now; back into service: evenkeel undrain ${node}`);
}

export function drainCommand(): Command {
  const command = new Command('drain')
    .description('takes a node out of service gracefully, the primary role away first')
    .argument('<node>', 'host:port')
    .option('--timeout <duration>', 'how long what has begun there may take', '60s')
    .option('--to <node>', 'where it is the primary: the new one (default: the best candidate)')
    .option('--force', 'even where an endpoint or the durability policy needs the node')
    .option('--json', 'what was done, as JSON');
  return addApiOptions(command)
    .addHelpText('after', '\nExample:\n  evenkeel drain db2:3306 --timeout 5m')
    .action(drain);
}
