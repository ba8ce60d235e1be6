// The unplanned change of primary: look again, hold, stop the receivers so that what was received stands still,
// elect, let the candidate apply all it has, fence the old primary as far as it can be reached, promote, open, and
// repoint the others at once (under semi-sync the new primary's writes wait for them).
// Where the election refuses, clients stay held until their hold times out; the caller retries on a new view.
import type { ClusterView, NodeView } from '../cluster/types.ts';
import type { NodeAddress } from '../messages/index.ts';
import { electForFailover, type Election, type FailoverInput } from './elect.ts';
import { type Carried, carryOut, newRun, type Run, settlePromotion } from './execute.ts';
import { Journal } from './journal.ts';
import { LIMITS, planFailover, planQuiesce } from './plan.ts';
import { LOOK_MAX_AGE_MS, lookAtAll, wantsSemiSync } from './switchover.ts';
import type { RecoveryContext, RecoveryRecord } from './types.ts';

/** Where an operator orders a failover away from a living primary, its fence must hold. */
const OPERATOR_FENCE_MS = 2_000;
/** To make replicas follow the old primary again after a failover that did not come about. */
const RESUME_MS = 2_000;

export interface FailoverOptions {
  /** Why: the detector's reason, or the operator's. */
  reason?: string;
  /** An operator's order: carried out even where the primary answers. */
  operator?: boolean;
  to?: NodeAddress;
  /** The operator accepts what the election would refuse. */
  force?: boolean;
}

/**
 * Promotes a replica in place of the known primary. Never rejects. `failed` where the primary answers and is writable
 * (the gate is open then) or where nobody can be promoted (the gate stays closed).
 */
export async function runFailover(ctx: RecoveryContext, options: FailoverOptions = {}): Promise<RecoveryRecord> {
  const from = ctx.view().primary;
  const journal = new Journal(ctx, 'failover', from, options.to ?? null);
  if (from === null)
    return journal.refuse('refused: no primary is known; make one node writable, and it is followed', false);
  if (options.reason !== undefined) journal.note('why', options.reason);
  const view = await lookAtAll(ctx, journal);
  const primary = nodeOf(view, from);
  const alive = primary?.observation.reach.state === 'up';
  if (alive && options.operator !== true) return primaryAnswers(ctx, journal, primary, from);
  const run = newRun(ctx, journal);
  const closed = await closeGate(run);
  if (!closed.ok) return journal.refuse(`failed at ${closed.step}: ${closed.error}`, true);

  const semiSync = wantsSemiSync(ctx, primary?.observation.facts ?? null);
  const input = (now: ClusterView): FailoverInput => ({
    view: now,
    primary: from,
    ...lastWord(view, now, from),
    durability: semiSync ? 'semisync' : 'none',
    nowMs: ctx.clock.nowMs(),
    maxAgeMs: LOOK_MAX_AGE_MS,
    ...(options.to === undefined ? {} : { to: options.to }),
    ...(options.force === undefined ? {} : { force: options.force }),
  });
  const first = electForFailover(input(view));
  if (!first.ok) return refused(run, first, alive);

  journal.record.to = first.candidate;
  journal.begin();
  const fenced = await quiesce(run, view, from, options.operator === true && alive);
  if (!fenced.ok) return takeBack(run, from, `${fenced.step}: ${fenced.error}`);
  const settled = await lookAtAll(ctx, journal);
  const election = electForFailover(input(settled));
  if (!election.ok) {
    journal.note('elect', election.refusals.join('; '));
    return takeBack(run, from, `refused: ${election.refusals.join('; ')}`);
  }
  return promote(run, settled, from, election, semiSync);
}

async function promote(
  run: Run,
  view: ClusterView,
  from: NodeAddress,
  election: Extract<Election, { ok: true }>,
  semiSync: boolean,
): Promise<RecoveryRecord> {
  const { journal } = run;
  const to = election.candidate;
  journal.record.to = to;
  journal.note('elect', [`${to}: ${election.reason}`, ...election.warnings].join('; '));
  const others = replicasOf(view, from).filter((node) => node !== to);
  const plan = planFailover({ to, others, semiSync });
  const before = await carryOut(run, plan.before);
  if (!before.ok) {
    const promoting = run.attempted.some((one) => one.action.do === 'set-writable' && one.action.node === to);
    if (!promoting || (await settlePromotion(run, to)) !== 'promoted') {
      return takeBack(run, from, `${before.step}: ${before.error}`);
    }
  }
  const after = await carryOut(run, plan.after);
  if (!after.ok)
    return journal.end('failed', `${to} is writable, but clients were not let to it: ${after.error}`, true);
  // A doubt stands in the reason, where nobody can overlook it.
  return journal.end('done', [election.reason, ...election.warnings].join('; '), true);
}

/**
 * What the primary said last. One that answers even now (an operator's order) has told where it ended, but its
 * replicas have left it since: whom it waited for is taken from before.
 */
function lastWord(
  before: ClusterView,
  now: ClusterView,
  primary: NodeAddress,
): Pick<FailoverInput, 'primaryFacts' | 'primaryFactsAt'> {
  const first = nodeOf(before, primary)?.observation;
  const { facts, factsAt } = nodeOf(now, primary)?.observation ?? { facts: null, factsAt: null };
  if (facts === null || first === undefined || first.facts === null)
    return { primaryFacts: facts, primaryFactsAt: factsAt };
  const { semiSync, replicas, readOnly } = first.facts;
  return { primaryFacts: { ...facts, semiSync, replicas, readOnly }, primaryFactsAt: factsAt };
}

function nodeOf(view: ClusterView, node: NodeAddress): NodeView | null {
  return view.nodes.find((one) => one.node === node) ?? null;
}

/** Nodes that answer and replicate, whoever their source is. */
function replicasOf(view: ClusterView, primary: NodeAddress): NodeAddress[] {
  return view.nodes
    .filter(
      ({ node, observation }) =>
        node !== primary && observation.reach.state === 'up' && observation.facts?.replication != null,
    )
    .map(({ node }) => node);
}

/** Someone who holds no gate yet finds the primary in good health, or in need of a reinstatement. */
async function primaryAnswers(
  ctx: RecoveryContext,
  journal: Journal,
  primary: NodeView,
  from: NodeAddress,
): Promise<RecoveryRecord> {
  if (primary.observation.facts?.readOnly === true) {
    return journal.refuse(
      `${from} answers, but does not take writes: it is to be reinstated, or: failover --to NODE`,
      false,
    );
  }
  try {
    await journal.step('reopen-gate', LIMITS.gateMs, () => ctx.gate.reopen(journal.id));
  } catch {
    // Recorded by the step; the caller publishes its routes again.
  }
  return journal.refuse(`${from} has already recovered: it answers and is writable`, true);
}

async function closeGate(run: Run): Promise<Carried> {
  const name = 'close-gate';
  return carryOut(run, [
    { lanes: [[{ name, action: { do: 'close-gate', reason: 'failover' }, timeoutMs: LIMITS.gateMs, required: true }]] },
  ]);
}

async function refused(run: Run, election: Extract<Election, { ok: false }>, alive: boolean): Promise<RecoveryRecord> {
  const { ctx, journal } = run;
  journal.note('elect', election.refusals.join('; '));
  if (alive) {
    // An operator's order against a primary that works: nothing was done to it, so clients go on.
    await carryOut(run, [
      { lanes: [[{ name: 'reopen-gate', action: { do: 'reopen-gate' }, timeoutMs: LIMITS.gateMs, required: true }]] },
    ]);
  }
  ctx.log.warn({ recovery: journal.id, refusals: election.refusals }, 'nobody can be promoted');
  return journal.refuse(`refused: ${election.refusals.join('; ')}`, true);
}

/**
 * Stops what could still change: receivers, and the old primary. A process that is gone needs no fence. Of an old
 * primary that is silent the fence may fail; of one that answered it must not.
 */
async function quiesce(run: Run, view: ClusterView, from: NodeAddress, mustFence: boolean): Promise<Carried> {
  const gone = nodeOf(view, from)?.observation.reach.state === 'refused';
  const replicas = replicasOf(view, from);
  await carryOut(
    run,
    planQuiesce({
      replicas,
      fence: gone ? null : from,
      fenceMs: mustFence ? OPERATOR_FENCE_MS : LIMITS.fenceMs,
    }),
  );
  if (mustFence && !run.fenced.has(from)) {
    return {
      ok: false,
      step: `fence ${from}`,
      error: 'it answers and could not be made read-only; there would be two writers',
    };
  }
  return { ok: true };
}

/**
 * Nobody was promoted. What was stopped goes on where that loses nothing: a replica whose relay log is not applied
 * keeps it, since following anew would throw it away, and the old primary may be gone for good.
 */
async function takeBack(run: Run, from: NodeAddress, why: string): Promise<RecoveryRecord> {
  const { journal } = run;
  const lanes = [...run.applied].map((node) => [
    {
      name: `follow ${node}`,
      action: { do: 'follow' as const, node, source: from },
      timeoutMs: RESUME_MS,
      required: false,
    },
  ]);
  const answered = run.fenced.has(from);
  const clients = [
    {
      name: `restore-writable ${from}`,
      action: { do: 'restore-writable' as const, node: from },
      timeoutMs: LIMITS.restoreMs,
      required: true,
    },
    { name: 'reopen-gate', action: { do: 'reopen-gate' as const }, timeoutMs: LIMITS.gateMs, required: true },
  ];
  const back = await carryOut(run, [{ lanes: answered ? [clients, ...lanes] : lanes }]);
  if (answered && back.ok) return journal.end('rolled-back', why, true);
  if (!back.ok) return journal.end('failed', `${why}; and the way back failed at ${back.step}: ${back.error}`, true);
  return journal.end('failed', why, true);
}
