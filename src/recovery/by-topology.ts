// Which recovery a cluster's kind asks for: plain replication is recovered by us, a group moves its primary itself, and
// on Galera we move the writer. The callers know only these four.
import type { NodeAddress } from '../messages/index.ts';
import { type FailoverOptions, runFailover as failOverReplication } from './failover.ts';
import { failOverGalera, keepOneWriter, reinstateGalera, switchGalera } from './galera.ts';
import { joinGroup, refuseGroupFailover, switchGroup } from './group.ts';
import { type ReinstateOptions, reinstate as reinstateReplication, runRejoin as rejoinReplication } from './rejoin.ts';
import { runSwitchover as switchReplication } from './switchover.ts';
import type { RecoveryContext, RecoveryRecord } from './types.ts';

const topologyOf = (ctx: RecoveryContext) => ctx.view().topology ?? 'replication';

/** Moves the primary to `to`, or to the best node. Never rejects; see the record's outcome. */
export function runSwitchover(ctx: RecoveryContext, options: { to?: NodeAddress } = {}): Promise<RecoveryRecord> {
  switch (topologyOf(ctx)) {
    case 'replication':
      return switchReplication(ctx, options);
    case 'group':
      return switchGroup(ctx, options);
    case 'galera':
      return switchGalera(ctx, options);
  }
}

/** Puts another node in the place of the known primary. Never rejects. */
export function runFailover(ctx: RecoveryContext, options: FailoverOptions = {}): Promise<RecoveryRecord> {
  switch (topologyOf(ctx)) {
    case 'replication':
      return failOverReplication(ctx, options);
    case 'group':
      return refuseGroupFailover(ctx, options);
    case 'galera':
      return failOverGalera(ctx, options);
  }
}

/** Brings a node that is not the primary back into its place. Never rejects. */
export function runRejoin(ctx: RecoveryContext, node: NodeAddress): Promise<RecoveryRecord> {
  switch (memberKind(ctx, node)) {
    case 'replication':
      return rejoinReplication(ctx, node);
    case 'group':
      return joinGroup(ctx, node);
    case 'galera':
      return keepOneWriter(ctx, node);
  }
}

/** Makes the known primary take writes again. Never rejects. */
export function reinstate(ctx: RecoveryContext, options: ReinstateOptions): Promise<RecoveryRecord> {
  return topologyOf(ctx) === 'galera' ? reinstateGalera(ctx) : reinstateReplication(ctx, options);
}

/** A replica beside a group follows a source, as any replica does. */
function memberKind(ctx: RecoveryContext, node: NodeAddress) {
  const facts = ctx.view().nodes.find((one) => one.node === node)?.observation.facts;
  return facts?.topology?.kind ?? 'replication';
}
