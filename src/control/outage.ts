// A whole cluster that was away, for want of power or by an operator's hand, and comes back node by node: its primary,
// which has all that was acknowledged and more, is waited for, before one of its replicas takes its place. Pure.
import type { ClusterView } from '../cluster/types.ts';
import type { NodeAddress } from '../messages/index.ts';
import type { Brake } from './brake.ts';

/** `away`: no node answers. `returning`: one does, since `since`, and the primary does not yet. */
export type Outage = { state: 'none' } | { state: 'away' } | { state: 'returning'; since: number };

export const noOutage: Outage = { state: 'none' };

/** How long a primary has to come back after the first of its replicas did. */
export const returnMs = 10_000;

/** What is known of an outage after `view` was seen at `now`. Groups settle by themselves who leads them. */
export function observeOutage(before: Outage, view: ClusterView, primary: NodeAddress | null, now: number): Outage {
  const { nodes, topology = 'replication' } = view;
  if (topology !== 'replication' || primary === null || nodes.length < 2) return noOutage;
  const answering = nodes.filter(({ observation: { at, reach } }) => at < 0 || !isAway(reach.state));
  if (answering.length === 0) return before.state === 'away' ? before : { state: 'away' };
  if (before.state === 'none' || answering.some(({ node }) => node === primary)) return noOutage;
  return before.state === 'away' ? { state: 'returning', since: now } : before;
}

function isAway(reach: string): boolean {
  return reach === 'refused' || reach === 'silent';
}

/** What an outage makes of the brake of a failover from a dead primary. */
export function brakeAfterOutage(outage: Outage, primary: NodeAddress | null, brake: Brake, now: number): Brake {
  if (brake.state !== 'free' || outage.state !== 'returning' || now - outage.since >= returnMs) return brake;
  const reason = `no node answered, and now some do: ${primary ?? 'the primary'}, which has all that was acknowledged, is waited for for ${returnMs / 1000} s`;
  return { state: 'waits', analysis: 'cluster-restarted', reason };
}
