// Which recovery a cluster's kind asks for: plain replication is recovered by us, a group moves its primary itself, and
// on Galera we move the writer. The callers know only these four.
import type { NodeAddress } from '../messages/index.ts';
import { type FailoverOptions, runFailover as failOverReplication } from './failover.ts';
import { failOverGalera, keepOneWriter, reinstateGalera, switchGalera } from './galera.ts';
import { joinGroup, refuseGroupFailover, switchGroup } from './group.ts';
import { Journal } from './journal.ts';
import { type ReinstateOptions, reinstate as reinstateReplication, runRejoin as rejoinReplication } from './rejoin.ts';
import { type SwitchoverOptions, runSwitchover as switchReplication } from './switchover.ts';
import type { RecoveryContext, RecoveryRecord } from './types.ts';

const topologyOf = (ctx: RecoveryContext) => ctx.view().topology ?? 'replication';

/** Moves the primary to `to`, or to the best node. Never rejects; see the record's outcome. */
export function runSwitchover(ctx: RecoveryContext, options: SwitchoverOptions = {}): Promise<RecoveryRecord> {
  switch (topologyOf(ctx)) {
    case 'replication':
      return switchReplication(ctx, options);
    case 'group':
      return switchGroup(ctx, options);
    case 'galera':
      return switchGalera(ctx, options);
    case 'aurora':
    case 'rds':
      return leaveAlone(ctx, 'switchover', options.to);
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
    case 'aurora':
    case 'rds':
      return leaveAlone(ctx, 'failover', options.to);
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
    case 'aurora':
    case 'rds':
      return leaveAlone(ctx, 'rejoin', node);
  }
}

/** Makes the known primary take writes again. Never rejects. */
export function reinstate(ctx: RecoveryContext, options: ReinstateOptions): Promise<RecoveryRecord> {
  switch (topologyOf(ctx)) {
    case 'replication':
      return reinstateReplication(ctx, options);
    case 'galera':
      return reinstateGalera(ctx);
    case 'group':
    case 'aurora':
    case 'rds':
      return leaveAlone(ctx, 'reinstate', undefined);
  }
}

/** Nothing is changed on servers that a platform runs, and who writes in a group is for that to say. */
function leaveAlone(
  ctx: RecoveryContext,
  kind: RecoveryRecord['kind'],
  to: NodeAddress | undefined,
): Promise<RecoveryRecord> {
  const journal = new Journal(ctx, kind, ctx.view().primary, to ?? null);
  return journal.refuse(
    'refused: the platform that runs these servers promotes them; ask it (aws rds failover-db-cluster), and it is followed',
    false,
  );
}

/** A replica beside a group follows a source, as any replica does. */
function memberKind(ctx: RecoveryContext, node: NodeAddress) {
  const facts = ctx.view().nodes.find((one) => one.node === node)?.observation.facts;
  return facts?.topology?.kind ?? 'replication';
}
