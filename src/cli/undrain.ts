// `evenkeel undrain NODE`: puts a node back into service, and waits until it serves.
import { setTimeout as pause } from 'node:timers/promises';
import { Command } from 'commander';
import type { NodeStatus, OperatorOrder, StatusJson } from '../http/api.ts';
import { type ApiOptions, type ApiTarget, addApiOptions, callApi, findApi } from './api-client.ts';
import { CommandFailure } from './failure.ts';
import { clusterWith } from './orders.ts';
import { printable, terminal } from './output.ts';
import { durationMs } from './values.ts';

interface UndrainOptions extends ApiOptions {
  json?: true;
  wait: string;
}

const LOOK_MS = 250;

async function look(target: ApiTarget, node: string): Promise<NodeStatus | undefined> {
  const { clusters } = await callApi<StatusJson>(target, '/api/v1/clusters');
  return clusters.flatMap(({ nodes }) => nodes).find((each) => each.node === node);
}

/** The node's state when it was in order, or when the time was over. */
async function settled(target: ApiTarget, node: string, waitMs: number): Promise<NodeStatus | undefined> {
  const deadline = performance.now() + waitMs;
  for (;;) {
    const now = await look(target, node);
    if (now?.state === 'ok' || performance.now() >= deadline) return now;
    await pause(LOOK_MS);
  }
}

async function undrain(node: string, options: UndrainOptions): Promise<void> {
  const waitMs = await durationMs('--wait', options.wait, { min: 0, max: 86_400_000 });
  const target = await findApi(options, process.env, process.cwd());
  const cluster = clusterWith((await callApi<StatusJson>(target, '/api/v1/clusters')).clusters, node);
  const path = `/api/v1/clusters/${encodeURIComponent(cluster)}/undrain`;
  const order = await callApi<OperatorOrder>(target, path, { method: 'POST', body: { node } });
  const now = await settled(target, node, waitMs);
  const state = now?.state ?? 'unknown';
  if (options.json) terminal.out(JSON.stringify({ ...order, nodeState: state }, null, 2));
  else terminal.out(`${node} is in service again: ${state}${now?.detail ? `, ${printable(now.detail)}` : ''}`);
  if (state !== 'ok' && waitMs > 0) {
    throw new CommandFailure(`${node} was not in order within ${options.wait} (${state}); it serves as soon as it is`);
  }
}

export function undrainCommand(): Command {
  const command = new Command('undrain')
    .description('puts a drained node back into service, and waits until it is in order')
    .argument('<node>', 'host:port')
    .option('--wait <duration>', 'waits so long for it to be in order; 0s: not at all', '5m')
    .option('--json', 'what stands now, as JSON');
  return addApiOptions(command).addHelpText('after', '\nExample:\n  evenkeel undrain db2:3306').action(undrain);
}
