// What `switchover` and `failover` have in common: find the cluster, follow the events while the order is carried out,
// print each step as it ends and at last what clients noticed.
import type { ControlEvent, StatusJson } from '../http/api.ts';
import type { RecoveryRecord, RecoveryStep } from '../recovery/types.ts';
import { type ApiOptions, type ApiTarget, callApi, findApi, followEvents } from './api-client.ts';
import { CommandFailure, UsageError } from './failure.ts';
import { terminal } from './output.ts';
import { stepLine, summaryLines } from './records.ts';

export interface OrderOptions extends ApiOptions {
  json?: true;
  cluster?: string;
  to?: string;
  force?: true;
}

/** The name of the cluster that is meant. Rejects with a UsageError where that is not clear. */
export async function clusterOf(target: ApiTarget, wanted: string | undefined): Promise<string> {
  const { clusters } = await callApi<StatusJson>(target, '/api/v1/clusters');
  const names = clusters.map((cluster) => cluster.name);
  if (wanted !== undefined) {
    if (names.includes(wanted)) return wanted;
    throw new UsageError(`there is no cluster ${wanted}; there are: ${names.join(', ')}`);
  }
  const [only, ...others] = names;
  if (only !== undefined && others.length === 0) return only;
  throw new UsageError(`there are several clusters; name one with --cluster: ${names.join(', ')}`);
}

/** The name of the cluster that has the node. Throws a UsageError where none has. */
export function clusterWith(clusters: StatusJson['clusters'], node: string): string {
  const found = clusters.find(({ nodes }) => nodes.some((each) => each.node === node));
  if (found !== undefined) return found.name;
  const known = clusters.flatMap(({ name, nodes }) => [name, ...nodes.map((each) => each.node)]);
  throw new UsageError(`there is no node ${node}; there are: ${known.join(', ')}`);
}

function stepKey(step: RecoveryStep): string {
  return `${step.startedMs} ${step.name}`;
}

function recoveryBody({ to, force }: OrderOptions): object {
  return { ...(to === undefined ? {} : { to }), ...(force === undefined ? {} : { force }) };
}

/** Rejects with CommandFailure unless the outcome is `done`. */
export async function giveOrder(
  kind: 'switchover' | 'failover' | 'rebuild' | 'add-node',
  options: OrderOptions,
  body: object = recoveryBody(options),
): Promise<void> {
  const target = await findApi(options, process.env, process.cwd());
  const cluster = await clusterOf(target, options.cluster);
  const printed = new Set<string>();
  const print = (step: RecoveryStep) => {
    if (printed.has(stepKey(step))) return;
    printed.add(stepKey(step));
    terminal.out(stepLine(step));
  };
  const live = options.json
    ? null
    : await followEvents(target, (data) => {
        const event = data as ControlEvent;
        if (event.cluster === cluster && event.data?.kind === 'recovery-step') print(event.data.step);
      });
  let record: RecoveryRecord;
  try {
    const path = `/api/v1/clusters/${encodeURIComponent(cluster)}/${kind}`;
    record = await callApi<RecoveryRecord>(target, path, { method: 'POST', body });
  } finally {
    live?.close();
  }
  if (options.json) terminal.out(JSON.stringify(record, null, 2));
  else {
    record.steps.forEach(print);
    for (const line of summaryLines(record)) terminal.out(line);
  }
  if (record.outcome !== 'done') {
    throw new CommandFailure(
      `the ${kind} ${record.outcome === 'failed' ? 'failed' : 'was rolled back'}: ${record.reason}`,
    );
  }
}
