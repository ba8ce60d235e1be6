// The planned change of primary. Everything that can be checked is checked, and the candidate's lag is waited
// for, before a single statement is held. From the closing of the gate to the candidate's being writable every
// failure leads back to the old primary; after that there is a new one, and what fails then is recorded only.
import { asksForSemiSync, byPreference, mayAcknowledge, placementOf } from '../cluster/index.ts';
import type { ClusterView, NodeFacts, NodeView } from '../cluster/types.ts';
import type { ClusterConfig } from '../config/types.ts';
import type { NodeAddress } from '../messages/index.ts';
import { replicaFault } from './elect.ts';
import { type Carried, carryOut, newRun, type Run, settlePromotion } from './execute.ts';
import { ownTransactionsBeyond } from './gtids.ts';
import { guarded, Journal } from './journal.ts';
import { isReachable, lookAt, viewAfter } from './look.ts';
import { LIMITS, planSwitchover, planUndo } from './plan.ts';
import { isDirect, tiersAfter } from './tiers.ts';
import type { RecoveryContext, RecoveryRecord } from './types.ts';

/** Looks of one recovery are at most this old when they are judged. */
export const LOOK_MAX_AGE_MS = 5_000;
const BETWEEN_LAG_LOOKS_MS = 100;
/** Under the hold the candidate has only the last transactions before it. */
const MIN_POSITION_WAIT_MS = 1_000;

interface SwitchoverCheckInput {
  /** Freshly looked at. */
  view: ClusterView;
  from: NodeAddress;
  /** The operator's choice; else the caught-up replica with the least lag. */
  to?: NodeAddress;
  semiSync: boolean;
  outOfService: ReadonlySet<NodeAddress>;
  config: Pick<ClusterConfig, 'nodes' | 'durability'>;
  nowMs: number;
}

type SwitchoverCheck =
  | { ok: true; to: NodeAddress; reason: string }
  /** A sentence for each thing that speaks against it, with what mends it. */
  | { ok: false; refusals: string[] };

/** Whether a switchover can be begun, and to whom. Pure. Lag is not judged here: it is waited for. */
function checkSwitchover(input: SwitchoverCheckInput): SwitchoverCheck {
  const { view, from, to } = input;
  const primary = view.nodes.find((one) => one.node === from);
  const primaryFacts = primary?.observation.facts ?? null;
  const refusals: string[] = [];
  if (to === from) return { ok: false, refusals: [`${from} is the primary already`] };
  if (primary === undefined || primaryFacts === null || !isReachable(primary, input.nowMs, LOOK_MAX_AGE_MS)) {
    return { ok: false, refusals: [`the primary ${from} does not answer: this is a case for failover`] };
  }
  if (primaryFacts.readOnly)
    refusals.push(`the primary ${from} does not take writes: make it writable, or use failover`);
  const writers = view.nodes.filter((one) => one.node !== from && isReachable(one, input.nowMs, LOOK_MAX_AGE_MS));
  for (const { node, observation } of writers) {
    if (observation.facts?.readOnly === false) refusals.push(`${node} is writable, too: make it read-only first`);
  }
  if (to !== undefined) {
    const named = view.nodes.find((one) => one.node === to);
    const known = view.nodes.map((one) => one.node).join(', ');
    const why = named === undefined ? `is not a node of this cluster (${known})` : unfit(input, named, primaryFacts);
    if (why !== null) refusals.push(`${to} ${why}`);
    return refusals.length > 0 ? { ok: false, refusals } : { ok: true, to, reason: 'named by the operator' };
  }
  const rejected: string[] = [];
  const fit: { node: NodeAddress; direct: boolean; lagMs: number }[] = [];
  for (const one of view.nodes) {
    if (one.node === from) continue;
    const why = unwanted(input, one.node) ?? unfit(input, one, primaryFacts);
    const lagMs = one.observation.facts?.replication?.lagMs ?? 0;
    if (why === null) fit.push({ node: one.node, direct: isDirect(view, one.node, from), lagMs });
    else rejected.push(`${one.node} ${why}`);
  }
  // A replica of a replica only where there is nobody else. Sorting is stable: equal lag leaves the seeds' order.
  const best = fit.sort(
    (a, b) => Number(b.direct) - Number(a.direct) || byPreference(input.config, a.node, b.node) || a.lagMs - b.lagMs,
  )[0];
  if (best === undefined) {
    refusals.push(`no replica can take over: ${rejected.length === 0 ? 'there is none' : rejected.join('; ')}`);
  }
  if (refusals.length > 0 || best === undefined) return { ok: false, refusals };
  return { ok: true, to: best.node, reason: `the replica with the least lag of ${fit.length} that could take over` };
}

/** Why it shall not, unless the operator names it; null where nothing is said against it. */
function unwanted({ config, outOfService }: SwitchoverCheckInput, node: NodeAddress): string | null {
  if (outOfService.has(node)) return 'is out of service, or in maintenance';
  return placementOf(config, node).promotion === 'never' ? 'must never be promoted (promotion: never)' : null;
}

/** Why a node cannot take over; null where it can. */
function unfit(input: SwitchoverCheckInput, view: NodeView, primary: NodeFacts): string | null {
  const { facts, reach } = view.observation;
  if (facts === null || !isReachable(view, input.nowMs, LOOK_MAX_AGE_MS)) {
    return `cannot be reached (${reach.state === 'up' ? 'not looked at' : reach.error})`;
  }
  if (facts.flavor !== primary.flavor) return `is ${facts.flavor}, the primary ${primary.flavor}`;
  if (view.state === 'errant') return `has errant transactions (${view.detail})`;
  const own = ownTransactionsBeyond(facts, primary);
  if (own.count > 0) return `has errant transactions (${own.text})`;
  const fault = replicaFault(facts);
  if (fault !== null) return fault;
  const { replication } = facts;
  if (replication === null) return 'does not replicate from anyone';
  if (view.state === 'replication-wrong-source')
    return `follows ${replication.sourceHost}:${replication.sourcePort}, not the primary`;
  if (replication.receiver !== 'running') {
    const why =
      replication.receiverError === null || replication.receiverError === '' ? '' : `: ${replication.receiverError}`;
    return `does not receive from its source (${replication.receiver}${why}); START REPLICA`;
  }
  if (replication.applier !== 'running') return 'has its applier stopped; START REPLICA';
  if (replication.delaySeconds > 0) return `is delayed on purpose by ${replication.delaySeconds} s`;
  if (input.semiSync) return unfitForSemiSync(input, view.node, facts, primary);
  return null;
}

function unfitForSemiSync(
  input: SwitchoverCheckInput,
  node: NodeAddress,
  facts: NodeFacts,
  primary: NodeFacts,
): string | null {
  if (facts.semiSync === null) return 'has no semi-sync plug-in, which the durability policy needs; INSTALL PLUGIN';
  const others = input.view.nodes.filter((one) => {
    if (one.node === node || one.node === input.from) return false;
    const { facts: other } = one.observation;
    return (
      isReachable(one, input.nowMs, LOOK_MAX_AGE_MS) &&
      other !== null &&
      other.semiSync !== null &&
      other.replication !== null &&
      mayAcknowledge(input.config, one.node, node)
    );
  });
  const old = primary.semiSync !== null && mayAcknowledge(input.config, input.from, node);
  const acknowledging = others.length + (old ? 1 : 0);
  const needed = Math.max(1, facts.semiSync.waitForCount);
  if (acknowledging >= needed) return null;
  return `would have ${acknowledging} replica(s) to acknowledge its writes and waits for ${needed}`;
}

/** Whether this cluster promises that acknowledged writes are on a replica. */
export function wantsSemiSync(ctx: RecoveryContext, primary: NodeFacts | null): boolean {
  if (ctx.config.durability === 'detect') return primary?.semiSync?.sourceEnabled ?? false;
  return asksForSemiSync(ctx.config);
}

export interface SwitchoverOptions {
  to?: NodeAddress;
  /** Why, where nobody ordered it. */
  reason?: string;
}

/**
 * Moves the primary to `to`, or to the best replica. Never rejects: a refusal is outcome `failed` with a reason that
 * starts with `refused: `, and nothing was held; a failure on the way is `rolled-back`.
 */
export async function runSwitchover(ctx: RecoveryContext, options: SwitchoverOptions = {}): Promise<RecoveryRecord> {
  const from = ctx.view().primary;
  const journal = new Journal(ctx, 'switchover', from, options.to ?? null);
  if (from === null) return journal.refuse('refused: no primary is known, so there is nothing to move', false);
  if (options.reason !== undefined) journal.note('why', options.reason);
  return guarded(journal, () => switchOver(ctx, journal, from, options.to));
}

async function switchOver(
  ctx: RecoveryContext,
  journal: Journal,
  from: NodeAddress,
  named: NodeAddress | undefined,
): Promise<RecoveryRecord> {
  const view = await lookAtAll(ctx, journal);
  const primaryFacts = view.nodes.find((one) => one.node === from)?.observation.facts ?? null;
  const semiSync = wantsSemiSync(ctx, primaryFacts);
  const check = checkSwitchover({
    view,
    from,
    ...(named === undefined ? {} : { to: named }),
    semiSync,
    outOfService: ctx.outOfService?.() ?? new Set(),
    config: ctx.config,
    nowMs: ctx.clock.nowMs(),
  });
  if (!check.ok) {
    journal.note('check', check.refusals.join('; '));
    return journal.refuse(`refused: ${check.refusals.join('; ')}`, false);
  }
  const { to } = check;
  journal.record.to = to;
  journal.note('check', `${to}: ${check.reason}`);
  const late = await catchUp(ctx, journal, from, to);
  if (late !== null) return journal.refuse(`refused: ${late}`, false);

  journal.begin();
  const run = newRun(ctx, journal);
  const replicas = view.nodes
    .filter((one) => one.node !== from && one.node !== to && one.observation.facts?.replication != null)
    .map((one) => one.node);
  // Replicas of replicas are not touched at all.
  const others = tiersAfter(view, replicas, from, to).direct;
  const plan = planSwitchover({
    from,
    to,
    others,
    semiSync,
    drainMs: ctx.config.switchover.drainTimeoutMs,
    positionWaitMs: Math.max(MIN_POSITION_WAIT_MS, ctx.config.switchover.maxLagMs),
  });
  const before = await carryOut(run, plan.before);
  if (!before.ok) {
    const promoting = run.attempted.some((one) => one.action.do === 'set-writable');
    if (!promoting || (await settlePromotion(run, to)) !== 'promoted') return rollBack(run, from, to, before);
  }
  const after = await carryOut(run, plan.after);
  if (!after.ok)
    return journal.end('failed', `${to} is writable, but clients were not let to it: ${after.error}`, true);
  return journal.end('done', check.reason, true);
}

async function rollBack(
  run: Run,
  from: NodeAddress,
  to: NodeAddress,
  failure: Extract<Carried, { ok: false }>,
): Promise<RecoveryRecord> {
  const undone = await carryOut(run, planUndo({ attempted: [...run.attempted], from, to }));
  const why = `${failure.step}: ${failure.error}`;
  if (undone.ok) return run.journal.end('rolled-back', why, true);
  return run.journal.end('failed', `${why}; and the way back failed at ${undone.step}: ${undone.error}`, true);
}

/** Looks at all nodes at once and lays it over the view. */
export async function lookAtAll(
  ctx: RecoveryContext,
  journal: Journal,
  primaryLookMs: number = LIMITS.lookMs,
): Promise<ClusterView> {
  const view = ctx.view();
  const looks = await journal.step(
    'look',
    LIMITS.lookMs * 4,
    () =>
      Promise.all(
        view.nodes.map((one) => lookAt(ctx, one.node, one.node === view.primary ? primaryLookMs : LIMITS.lookMs)),
      ),
    (found) =>
      found
        .map(
          (look) =>
            `${look.node} ${'facts' in look ? (look.facts.readOnly ? 'read-only' : 'writable') : look.reach.state}`,
        )
        .join(', '),
  );
  return viewAfter(view, looks, ctx.clock.nowMs());
}

/**
 * Waits until the candidate follows closely: how long it takes to reach where the primary is now is its true lag.
 * Null where it does; else why not.
 */
export async function catchUp(
  ctx: RecoveryContext,
  journal: Journal,
  from: NodeAddress,
  to: NodeAddress,
): Promise<string | null> {
  const { catchUpTimeoutMs, maxLagMs } = ctx.config.switchover;
  const { clock } = ctx;
  const until = clock.nowMs() + catchUpTimeoutMs;
  let lag = '';
  const work = async (): Promise<number> => {
    for (;;) {
      const leftMs = Math.max(1, until - clock.nowMs());
      const facts = await ctx.nodes.look(from, LIMITS.lookMs);
      const began = clock.nowMs();
      const reached = await ctx.nodes.waitForGtid(to, facts.gtidPosition, leftMs);
      const tookMs = clock.nowMs() - began;
      if (reached && tookMs <= maxLagMs) return tookMs;
      lag = reached ? `is ${Math.round(tookMs)} ms behind` : `does not reach the primary's position`;
      if (clock.nowMs() >= until) throw new Error(`${to} ${lag}; the limit is ${maxLagMs} ms`);
      await clock.sleep(BETWEEN_LAG_LOOKS_MS);
    }
  };
  try {
    await journal.step('catch-up', catchUpTimeoutMs + LIMITS.lookMs, work, (ms) => `${Math.round(ms)} ms behind`);
    return null;
  } catch {
    const last = journal.record.steps.at(-1)?.detail ?? '';
    return `${to} did not catch up within ${catchUpTimeoutMs} ms (${last})`;
  }
}
