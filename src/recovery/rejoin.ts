// Nodes that come back. One that is not the primary is made read-only before anything else and follows the primary,
// unless it has transactions that the primary has not: then it stays out and is named. The known primary itself,
// when it came back read-only and nobody took its place, is reinstated, provided that it has all it had.

import { gtidSubtract } from '../cluster/index.ts';
import type { ClusterView, NodeFacts } from '../cluster/types.ts';
import type { NodeAddress } from '../messages/index.ts';
import { carryOut, newRun, settlePromotion } from './execute.ts';
import { restartedSince } from './failover.ts';
import { covers, lostBy, missingFrom, receivedBy, receivedFromOthers } from './gtids.ts';
import { guarded, Journal } from './journal.ts';
import { isReachable } from './look.ts';
import { LIMITS, planReinstate, planRejoin } from './plan.ts';
import { LOOK_MAX_AGE_MS, lookAtAll, wantsSemiSync } from './switchover.ts';
import type { RecoveryContext, RecoveryRecord } from './types.ts';

/** Longer than under a hold: a node that has just started is slow. */
const REJOIN_STEP_MS = 5_000;
/** Less than the step, so that its own error tells. */
const READ_ONLY_MS = 4_500;
/** How long read-only may wait for commits before they are ended. */
const READ_ONLY_PATIENCE_MS = 500;

/** Makes `node` a replica of the primary. Never rejects; `failed` names errant transactions or the step. */
export async function runRejoin(ctx: RecoveryContext, node: NodeAddress): Promise<RecoveryRecord> {
  const primary = ctx.view().primary;
  const journal = new Journal(ctx, 'rejoin', primary, node);
  if (primary === null) return journal.refuse('refused: no primary is known that it could follow', false);
  if (primary === node) return journal.refuse(`refused: ${node} is the primary`, false);
  const run = newRun(ctx, journal);
  const { nodes } = ctx;
  try {
    await journal.step(`set-read-only ${node}`, REJOIN_STEP_MS, () => makeReadOnly(ctx, node));
    // The node first and the primary after it, or what is replicated between the two would look errant.
    const own = await journal.step(`look ${node}`, LIMITS.lookMs, () => nodes.look(node, LIMITS.lookMs), position);
    const theirs = await journal.step(
      `look ${primary}`,
      LIMITS.lookMs,
      () => nodes.look(primary, LIMITS.lookMs),
      position,
    );
    const refusal = keptOut(node, own, primary, theirs);
    if (refusal !== null) {
      journal.note('check', refusal);
      return journal.refuse(refusal, false);
    }
    journal.begin();
    const carried = await carryOut(run, planRejoin({ node, primary }));
    if (!carried.ok) return journal.end('failed', `${carried.step}: ${carried.error}`, false);
    return journal.end('done', `${node} follows ${primary}`, false);
  } catch (error) {
    return journal.refuse(error instanceof Error ? error.message : String(error), false);
  }
}

/**
 * A primary that was frozen while another took its place wakes up with commits that wait for an acknowledgement which
 * will never come, and read-only waits behind them. Ending their connections and then the wait itself acknowledges
 * nothing to anyone; meanwhile the pending read-only keeps new writes out. Clients are left alone where read-only
 * comes at once, as on a replica that serves readers.
 */
export async function makeReadOnly(
  { clock, nodes }: RecoveryContext,
  node: NodeAddress,
  timeoutMs: number = READ_ONLY_MS,
): Promise<void> {
  const enough = new AbortController();
  const readOnly = nodes.setReadOnly(node, timeoutMs).finally(() => enough.abort());
  readOnly.catch(() => undefined);
  await clock.sleep(READ_ONLY_PATIENCE_MS, enough.signal).catch(() => undefined);
  if (!enough.signal.aborted) {
    await nodes.killClients(node, READ_ONLY_PATIENCE_MS).catch(() => undefined);
    await nodes.setSemiSyncRole(node, 'replica', timeoutMs).catch(() => undefined);
  }
  await readOnly;
}

const position = (facts: NodeFacts) => facts.gtidPosition;

/** Why a node may not join; null where it may. */
function keptOut(node: NodeAddress, own: NodeFacts, primary: NodeAddress, theirs: NodeFacts): string | null {
  if (own.flavor !== theirs.flavor) return `${node} is ${own.flavor}, ${primary} is ${theirs.flavor}`;
  if (theirs.readOnly) return `${primary} does not take writes, so it is not clear who is primary`;
  const errant = gtidSubtract(own.flavor, own.gtidExecuted, theirs.gtidExecuted);
  if (errant !== '') {
    return `${node} is kept out: it has transactions that ${primary} has not (${errant.slice(0, 300)}). Save what they changed, then build it anew from a backup`;
  }
  const ahead = missingFrom(own.flavor, theirs.gtidPosition, receivedBy(own));
  if (ahead.count > 0) return `${node} is kept out: it has received more than ${primary} has (${ahead.text})`;
  return null;
}

export interface ReinstateOptions {
  /** What the primary said when it last was writable: it must have all of that still. */
  lastKnown: NodeFacts | null;
  /** When the process of each node had started, as it was while the primary lived. */
  startedAtMs?: ReadonlyMap<NodeAddress, number>;
}

/**
 * Makes the known primary writable again, which came back read-only after a restart. Refuses where someone else is
 * writable, where it is another server than before, or where it lost transactions (a failover is better then).
 */
export async function reinstate(ctx: RecoveryContext, options: ReinstateOptions): Promise<RecoveryRecord> {
  const primary = ctx.view().primary;
  const journal = new Journal(ctx, 'reinstate', primary, primary);
  if (primary === null) return journal.refuse('refused: no primary is known', false);
  return guarded(journal, () => bringBack(ctx, journal, primary, options));
}

async function bringBack(
  ctx: RecoveryContext,
  journal: Journal,
  primary: NodeAddress,
  options: ReinstateOptions,
): Promise<RecoveryRecord> {
  const view = await lookAtAll(ctx, journal);
  const refusal = notToReinstate(view, primary, options.lastKnown, ctx.clock.nowMs());
  if (refusal !== null) {
    journal.note('check', refusal);
    return journal.refuse(`refused: ${refusal}`, false);
  }
  journal.begin();
  const run = newRun(ctx, journal);
  const replicas = view.nodes
    .filter(({ node, observation }) => node !== primary && observation.reach.state === 'up')
    .filter(({ observation }) => needsFollowing(observation.facts))
    .map(({ node }) => node);
  const semiSync = wantsSemiSync(ctx, options.lastKnown);
  const plan = planReinstate({ primary, replicas, semiSync });
  const before = await carryOut(run, plan.before);
  if (!before.ok) {
    const promoting = run.attempted.some((one) => one.action.do === 'set-writable');
    if (!promoting || (await settlePromotion(run, primary)) !== 'promoted') {
      return journal.end('failed', `${before.step}: ${before.error}`, true);
    }
  }
  const after = await carryOut(run, plan.after);
  if (!after.ok)
    return journal.end('failed', `${primary} is writable, but clients were not let to it: ${after.error}`, true);
  const doubt = semiSync ? doubtOf(view, primary, options) : '';
  return journal.end('done', `${primary} came back with all that it was last seen to have${doubt}`, true);
}

/**
 * A MariaDB that was a semi-sync primary cuts from its log, in crash recovery, what only a replica had confirmed. The
 * replica's relay log would tell, but not where the replica restarted, too.
 */
function doubtOf(view: ClusterView, primary: NodeAddress, options: ReinstateOptions): string {
  const restarted = [...restartedSince(view, options.startedAtMs)].filter((node) => node !== primary);
  if (view.flavor !== 'mariadb' || restarted.length === 0) return '';
  return `; ${restarted.join(' and ')} restarted, too: if ${primary} crashed, acknowledged writes of its last moment may be lost`;
}

/** Replicas that would try again only after their retry interval, and that have nothing left to apply. */
function needsFollowing(facts: NodeFacts | null): boolean {
  const replication = facts?.replication ?? null;
  if (facts === null || replication === null || replication.receiver === 'running') return false;
  return covers(facts.flavor, facts.gtidPosition, receivedBy(facts));
}

/** Why the known primary may not simply be made writable; null where it may. Pure. */
export function notToReinstate(
  view: ClusterView,
  primary: NodeAddress,
  lastKnown: NodeFacts | null,
  nowMs: number,
): string | null {
  const own = view.nodes.find((one) => one.node === primary);
  const facts = own?.observation.facts ?? null;
  if (own === undefined || facts === null || !isReachable(own, nowMs, LOOK_MAX_AGE_MS))
    return `${primary} does not answer`;
  if (!facts.readOnly) return `${primary} is writable already`;
  if (facts.replication !== null) {
    return `${primary} replicates from ${facts.replication.sourceHost}:${facts.replication.sourcePort}: someone made it a replica`;
  }
  if (lastKnown !== null) {
    if (lastKnown.identity !== facts.identity) return `${primary} is another server than before (${facts.identity})`;
    const lost = missingFrom(facts.flavor, facts.gtidPosition, lastKnown.gtidPosition);
    if (lost.count > 0)
      return `${primary} lost transactions in its crash (${lost.text}); failover to a replica that has them`;
  }
  for (const { node, observation } of view.nodes) {
    const other = observation.facts;
    if (node === primary || other === null || observation.reach.state !== 'up' || other.flavor !== facts.flavor)
      continue;
    if (!other.readOnly) return `${node} is writable`;
    // A primary writes alone. With all that it was last seen to have it can have lost what it wrote since; what others
    // have of one another is errant. Where nobody saw it, only what such a node wrote itself is known to be that.
    const ahead =
      lastKnown !== null && !lastKnown.readOnly
        ? lostBy(facts, other)
        : missingFrom(facts.flavor, facts.gtidPosition, receivedFromOthers(other, facts));
    if (ahead.count > 0) return `${node} has transactions that ${primary} lost (${ahead.text}); failover --to ${node}`;
  }
  return null;
}
