// Under semi-sync a new primary's first commit waits until a replica follows it, and repointing one takes longer than all
// other steps under the hold together. So in a planned switchover the others follow the candidate beforehand, while it still
// replicates itself. Meanwhile the old primary's commits are acknowledged by the candidate alone: it is done only where that
// is enough. What does not succeed is undone, and done under the hold as ever.
import { mayAcknowledge } from '../cluster/index.ts';
import type { ClusterView, NodeFacts } from '../cluster/types.ts';
import type { ClusterConfig } from '../config/types.ts';
import type { NodeAddress } from '../messages/index.ts';
import { carryOut, type Run } from './execute.ts';
import { lookAt } from './look.ts';
import { LIMITS, planForerunner, step } from './plan.ts';
import { sourceOf } from './tiers.ts';

const BETWEEN_LOOKS_MS = 20;

export interface ForerunInput {
  from: NodeAddress;
  to: NodeAddress;
  /** Replicas that are to follow `to`. */
  others: readonly NodeAddress[];
}

/** Those of `others` that may follow the candidate before it is primary. Pure. */
export function forerunners(
  view: ClusterView,
  { from, to, others }: ForerunInput,
  config: Pick<ClusterConfig, 'nodes' | 'durability'>,
): NodeAddress[] {
  const factsOf = (node: NodeAddress): NodeFacts | null =>
    view.nodes.find((one) => one.node === node)?.observation.facts ?? null;
  const needed = factsOf(from)?.semiSync?.waitForCount ?? 0;
  const acknowledges = factsOf(to)?.replication?.semiSyncActive === true && mayAcknowledge(config, to, from);
  if (needed !== 1 || !acknowledges || sourceOf(view, to) !== from) return [];
  return others.filter((node) => {
    const replication = factsOf(node)?.replication ?? null;
    const runs = replication?.receiver === 'running' && replication.applier === 'running';
    return runs && replication.delaySeconds === 0 && sourceOf(view, node) === from && mayAcknowledge(config, node, to);
  });
}

/** One after the other: there is always somebody left who acknowledges, and the candidate's readers lose one at a time. */
export async function sendAhead(
  run: Run,
  nodes: readonly NodeAddress[],
  { from, to }: Pick<ForerunInput, 'from' | 'to'>,
): Promise<void> {
  for (const node of nodes) {
    const moved = await carryOut(run, planForerunner(node, to));
    if (!moved.ok) await goBack(run, node, from);
  }
  const moved = nodes.filter((node) => run.following.get(node) === to);
  if (moved.length === 0 || (await registered(run, to, moved.length))) return;
  // Whom the candidate does not count would not acknowledge: connected anew under the hold, it does.
  for (const node of moved) run.following.delete(node);
}

async function goBack(run: Run, node: NodeAddress, source: NodeAddress): Promise<void> {
  await carryOut(run, [{ lanes: [[step({ do: 'follow', node, source }, LIMITS.followMs, false)]] }]);
}

/** Whether the candidate counts so many as acknowledging, within a moment. */
async function registered(run: Run, to: NodeAddress, count: number): Promise<boolean> {
  const { clock } = run.ctx;
  const until = clock.nowMs() + LIMITS.registerMs;
  for (;;) {
    const look = await lookAt(run.ctx, to, LIMITS.lookMs);
    if ('facts' in look && (look.facts.semiSync?.clients ?? 0) >= count) return true;
    if (clock.nowMs() >= until) return false;
    await clock.sleep(BETWEEN_LOOKS_MS);
  }
}
