// The unplanned change of primary: look again, hold, stop the receivers so that what was received stands still,
// elect, let the candidate apply all it has, fence the old primary as far as it can be reached, promote, open, and
// repoint the others at once (under semi-sync the new primary's writes wait for them).
// Where the election refuses, clients stay held until their hold times out; the caller retries on a new view.
import type { ClusterView, NodeView } from '../cluster/types.ts';
import type { NodeAddress } from '../messages/index.ts';
import { type Election, electForFailover, type FailoverInput } from './elect.ts';
import { type Carried, carryOut, newRun, type Run, settlePromotion } from './execute.ts';
import { fenceOf, NOT_FENCED } from './fence.ts';
import { type Floor, STARTED_TOLERANCE_MS } from './floor.ts';
import { covers, receivedBy } from './gtids.ts';
import { guarded, Journal } from './journal.ts';
import { LIMITS, planFailover, planInsist, planQuiesce, step } from './plan.ts';
import { LOOK_MAX_AGE_MS, lookAtAll, wantsSemiSync } from './switchover.ts';
import { sourceOf, tiersAfter } from './tiers.ts';
import type { RecoveryContext, RecoveryRecord } from './types.ts';

/** Where an operator orders a failover away from a living primary, its fence must hold. */
const OPERATOR_FENCE_MS = 2_000;
/** What was found of the cluster stands for so long: no server restarts within it. */
const STANDS_MS = 1_000;
/** To make replicas follow the old primary again after a failover that did not come about. */
const RESUME_MS = 2_000;

export interface FailoverOptions {
  /** Why: the detector's reason, or the operator's. */
  reason?: string;
  /** An operator's order: carried out even where the primary answers. */
  operator?: boolean;
  /** The primary answers, and cannot commit: it is no reason not to begin. */
  cannotCommit?: boolean;
  to?: NodeAddress;
  /** The operator accepts what the election would refuse. */
  force?: boolean;
  /** When the process of each node had started, as it was while the primary lived. */
  startedAtMs?: ReadonlyMap<NodeAddress, number>;
  /** Whom a failover that came to no end had promoted perhaps: it need not replicate from anyone. */
  promised?: NodeAddress | null;
  /** Under semi-sync: what a candidate must have. Null: nobody saw this primary take writes. */
  floor?: Floor | null;
}

/**
 * Promotes a replica in place of the known primary. Never rejects. `failed` where the primary answers and is writable
 * (the gate is open then) or where nobody can be promoted (the gate stays closed).
 */
export async function runFailover(ctx: RecoveryContext, options: FailoverOptions = {}): Promise<RecoveryRecord> {
  const from = ctx.view().primary;
  const journal = new Journal(ctx, 'failover', from, options.to ?? null);
  if (from === null) {
    return journal.refuse('refused: no primary is known; make one node writable, and it is followed', false);
  }
  if (options.reason !== undefined) journal.note('why', options.reason);
  return guarded(journal, () => failOver(ctx, journal, from, options));
}

async function failOver(
  ctx: RecoveryContext,
  journal: Journal,
  from: NodeAddress,
  options: FailoverOptions,
): Promise<RecoveryRecord> {
  const view = await lookAtAll(ctx, journal, LIMITS.suspectLookMs);
  const primary = nodeOf(view, from);
  const alive = primary?.observation.reach.state === 'up';
  const run = newRun(ctx, journal);
  if (primary !== null && options.operator !== true && !(options.cannotCommit === true && alive)) {
    const life = signOfLife(primary);
    if (life !== null) return primaryLives(run, view, from, life);
  }
  const semiSync = wantsSemiSync(ctx, primary?.observation.facts ?? null);
  const floor = options.floor === undefined || options.floor?.primary === from ? options.floor : null;
  const input = (now: ClusterView): FailoverInput => ({
    view: now,
    primary: from,
    ...lastWord(view, now, from),
    durability: semiSync ? 'semisync' : 'none',
    restarted: restartedSince(now, floor?.startedAtMs ?? options.startedAtMs),
    ...(floor === undefined ? {} : { floor: floor?.position ?? null }),
    promised: options.promised ?? null,
    outOfService: ctx.outOfService?.() ?? new Set(),
    nowMs: ctx.clock.nowMs(),
    maxAgeMs: LOOK_MAX_AGE_MS,
    config: ctx.config,
    ...(options.to === undefined ? {} : { to: options.to }),
    ...(options.force === undefined ? {} : { force: options.force }),
  });
  const first = electForFailover(input(view));
  // Of a primary that answers, clients and what they have in progress are left alone where nobody can take its place.
  if (first.ok || !alive) {
    const closed = await carryOut(run, [{ lanes: [[step({ do: 'close-gate', reason: 'failover' }, LIMITS.gateMs)]] }]);
    if (!closed.ok) return notBegun(run, `${closed.step}: ${closed.error}`, alive);
  }
  if (!first.ok) {
    journal.note('elect', first.refusals.join('; '));
    return notBegun(run, `refused: ${first.refusals.join('; ')}`, alive);
  }

  journal.record.to = first.candidate;
  journal.begin();
  const stuck = options.cannotCommit === true && alive;
  const fenced = await quiesce(run, view, from, first.candidate, { alive, stuck });
  if (!fenced.ok) return takeBack(run, from, `${fenced.step}: ${fenced.error}`);
  const settled = await lookAtAll(ctx, journal, LIMITS.fencedLookMs);
  if (!alive && options.operator !== true && options.promised == null && hasReturned(view, settled, from)) {
    return takeBack(run, from, `refused: ${from} came back meanwhile, with all that it had`);
  }
  const fenceIn = (now: ClusterView, repointed?: ReadonlySet<NodeAddress>) =>
    fenceOf({
      view: now,
      primary: from,
      primaryFacts: primary?.observation.facts ?? null,
      durability: semiSync ? 'semisync' : 'none',
      readOnly: run.fenced.has(from),
      readOnlyWaits: run.ordered.has(from) && run.ended.has(from),
      ...(repointed === undefined ? {} : { repointed }),
    });
  const fence = fenceIn(settled);
  journal.note(`fence ${from}`, `${fence.how}: ${fence.text}`);
  const { unfenced } = ctx.config.failover;
  if (!fence.fenced && unfenced !== 'promote' && options.force !== true) {
    const verdict = unfenced === 'refuse' ? NOT_FENCED : 'refused: ';
    return takeBack(run, from, `${verdict}${fence.text}. Stop its server, or accept it: failover --force`);
  }
  const election = electForFailover(input(settled));
  if (!election.ok) {
    journal.note('elect', election.refusals.join('; '));
    return takeBack(run, from, `refused: ${election.refusals.join('; ')}`);
  }
  /** Why what was found before the candidate had applied everything holds no more; null where it does. */
  const outdated = async (): Promise<string | null> => {
    const now = await lookAtAll(ctx, journal, LIMITS.fencedLookMs);
    const again = electForFailover(input(now));
    if (!again.ok) return again.refusals.join('; ');
    if (again.candidate !== election.candidate) return `${again.candidate} would be elected now`;
    if (again.catchUpFrom !== undefined && again.catchUpFrom !== election.catchUpFrom)
      return `${again.catchUpFrom} has received more meanwhile`;
    const lost = fence.fenced && !fenceIn(now).fenced && unfenced !== 'promote' && options.force !== true;
    return lost ? fenceIn(now).text : null;
  };
  const loose = (): string | null => {
    const repointed = new Set([election.candidate, ...run.following.keys()]);
    if (fence.how !== 'no-acknowledgement' || fenceIn(settled, repointed).fenced) return null;
    return `it may acknowledge to a replica that restarts: not all could be made to follow ${election.candidate}`;
  };
  const mustLast = unfenced !== 'promote' && options.force !== true;
  return promote(run, settled, from, election, { semiSync, outdated, loose, mustLast });
}

interface PromotionChecks {
  semiSync: boolean;
  /** Why what was found before the candidate had applied everything holds no more. */
  outdated: () => Promise<string | null>;
  /** Why the old primary might be able to acknowledge again, once a replica restarts; null where it cannot. */
  loose: () => string | null;
  /** Nobody is promoted where it might. */
  mustLast: boolean;
}

async function promote(
  run: Run,
  view: ClusterView,
  from: NodeAddress,
  election: Extract<Election, { ok: true }>,
  { semiSync, outdated, loose, mustLast }: PromotionChecks,
): Promise<RecoveryRecord> {
  const { journal } = run;
  const { clock } = run.ctx;
  const to = election.candidate;
  journal.elect(to);
  journal.note('elect', [`${to}: ${election.reason}`, ...election.warnings].join('; '));
  const { direct, kept } = tiersAfter(view, replicasOf(view, from), from, to);
  const { catchUpFrom } = election;
  const plan = planFailover({ to, others: direct, kept, semiSync, applied: run.applied.has(to), catchUpFrom });
  const beganMs = clock.nowMs();
  const applied = await carryOut(run, plan.apply);
  if (!applied.ok) return takeBack(run, from, `${applied.step}: ${applied.error}`);
  // Meanwhile a replica may have restarted, which follows the old primary again by itself, and acknowledges to it.
  const why = clock.nowMs() - beganMs > STANDS_MS ? await outdated() : null;
  if (why !== null) {
    journal.note('elect', `not any more: ${why}`);
    return takeBack(run, from, `while ${to} applied what it had received the cluster changed: ${why}`);
  }
  const before = await carryOut(run, plan.before);
  if (!before.ok) return takeBack(run, from, `${before.step}: ${before.error}`);
  if (mustLast && loose() !== null) await carryOut(run, planInsist(direct, to));
  const doubt = loose();
  if (doubt !== null) journal.note(`fence ${from}`, doubt);
  if (doubt !== null && mustLast) return takeBack(run, from, `refused: ${from} does not answer, and ${doubt}`);
  const writable = await carryOut(run, plan.writable);
  if (!writable.ok && (await settlePromotion(run, to)) !== 'promoted') {
    return takeBack(run, from, `${writable.step}: ${writable.error}`);
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

/** Its process was gone, and is there again. */
function hasReturned(before: ClusterView, now: ClusterView, node: NodeAddress): boolean {
  const wasGone = nodeOf(before, node)?.observation.reach.state === 'refused';
  return wasGone && nodeOf(now, node)?.observation.reach.state === 'up';
}

/** Nodes whose process is not the one that it was `before`. */
export function restartedSince(view: ClusterView, before: FailoverOptions['startedAtMs']): Set<NodeAddress> {
  const found = view.nodes.filter(({ node, observation }) => {
    const was = before?.get(node);
    const is = observation.facts?.startedAtMs;
    return was !== undefined && is !== undefined && is - was > STARTED_TOLERANCE_MS;
  });
  return new Set(found.map(({ node }) => node));
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

/** Errors of a server that lives and only does not let us in: full, or our account is refused. */
const LIVING_ERRNOS = new Set([1040, 1045, 1129, 1130, 1203, 1226, 1862, 3118, 3955, 4151]);

type Life = { writable: boolean; text: string };

/** Why the primary is not dead; null where nothing speaks for it. */
function signOfLife(primary: NodeView): Life | null {
  const { reach, facts } = primary.observation;
  if (reach.state === 'up') {
    return facts?.readOnly === true
      ? { writable: false, text: 'answers, but does not take writes: reinstate it, or failover --to NODE' }
      : { writable: true, text: 'has already recovered: it answers and is writable' };
  }
  if (reach.state === 'denied' && LIVING_ERRNOS.has(reach.errno)) {
    return { writable: true, text: `lives, though it does not let Evenkeel in (${reach.error})` };
  }
  return null;
}

/** There is nothing to recover from; what an earlier failover that came to nothing has stopped goes on. */
async function primaryLives(run: Run, view: ClusterView, from: NodeAddress, life: Life): Promise<RecoveryRecord> {
  const idle = view.nodes.filter(({ node, observation: { reach, facts } }) => {
    const replication = facts?.replication ?? null;
    if (node === from || reach.state !== 'up' || facts === null || replication === null) return false;
    const stopped = replication.receiver === 'stopped' && replication.receiverError === null;
    return stopped && replication.applier === 'running' && covers(facts.flavor, facts.gtidPosition, receivedBy(facts));
  });
  const lanes = idle.map(({ node }) => [
    step({ do: 'follow', node, source: sourceOf(view, node) ?? from }, RESUME_MS, false),
  ]);
  if (life.writable) {
    run.gateTouched = true;
    lanes.push([step({ do: 'reopen-gate' }, LIMITS.gateMs, false)]);
  }
  await carryOut(run, [{ lanes }]);
  return run.journal.refuse(`${from} ${life.text}`, run.gateTouched);
}

/** Nothing was done to any node. Where the primary works (an operator's order), its clients go on. */
async function notBegun(run: Run, why: string, alive: boolean): Promise<RecoveryRecord> {
  if (alive) await carryOut(run, [{ lanes: [[step({ do: 'reopen-gate' }, LIMITS.gateMs)]] }]);
  return run.journal.refuse(why, true);
}

/**
 * Stops what could still change: receivers, and the old primary. A process that is gone needs no fence. Of an old
 * primary that is silent the fence may fail; of one that answered it must not.
 */
async function quiesce(
  run: Run,
  view: ClusterView,
  from: NodeAddress,
  candidate: NodeAddress,
  { alive, stuck }: { alive: boolean; stuck: boolean },
): Promise<Carried> {
  const gone = nodeOf(view, from)?.observation.reach.state === 'refused';
  const silent = !alive && !gone;
  const replicas = replicasOf(view, from).map((node) => ({
    node,
    stopMs: silent ? stopMs(view, node) : LIMITS.quiesceMs,
  }));
  const mustFence = alive && !stuck;
  await carryOut(
    run,
    planQuiesce({
      replicas,
      fence: gone ? null : from,
      fenceMs: mustFence ? OPERATOR_FENCE_MS : stuck ? LIMITS.stuckFenceMs : LIMITS.fenceMs,
      candidate,
      stuck,
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

/** How long a replica of a silent primary may take to stop its receiver: until then the old primary is not fenced. */
function stopMs(view: ClusterView, node: NodeAddress): number {
  const facts = nodeOf(view, node)?.observation.facts ?? null;
  if (facts?.flavor === 'mariadb')
    return facts.replication?.semiSyncActive === true ? LIMITS.farewellMs : LIMITS.quiesceMs;
  return facts?.replication?.receiver === 'connecting' ? LIMITS.connectingMs : LIMITS.quiesceMs;
}

/**
 * Nobody was promoted. What was stopped goes on where that loses nothing: a replica whose relay log is not applied
 * keeps it, since following anew would throw it away, and the old primary may be gone for good.
 */
async function takeBack(run: Run, from: NodeAddress, why: string): Promise<RecoveryRecord> {
  const { journal } = run;
  const before = (node: NodeAddress) => sourceOf(run.before, node) ?? from;
  const lanes = [...run.applied].map((node) => [step({ do: 'follow', node, source: before(node) }, RESUME_MS, false)]);
  const answered = run.fenced.has(from);
  const clients = [
    step({ do: 'restore-writable', node: from }, LIMITS.restoreMs),
    step({ do: 'reopen-gate' }, LIMITS.gateMs),
  ];
  const back = await carryOut(run, [{ lanes: answered ? [clients, ...lanes] : lanes }]);
  if (answered && back.ok) return journal.end('rolled-back', why, true);
  if (!back.ok) return journal.end('failed', `${why}; and the way back failed at ${back.step}: ${back.error}`, true);
  return journal.end('failed', why, true);
}
