// Galera: the writer is moved by us, and the cluster makes it safe. A member that is not in the primary component can
// confirm nothing, so an old writer that cannot be reached is fenced as soon as the component has left it behind; one that
// can be reached is made read-only. The new writer first applies all that the cluster had committed.
import { couldWrite, galeraOf, isWithout, leftBehindBy } from '../cluster/index.ts';
import type { ClusterView, NodeView } from '../cluster/types.ts';
import type { NodeAddress } from '../messages/index.ts';
import { type Carried, carryOut, newRun, type Run, settlePromotion } from './execute.ts';
import type { FailoverOptions } from './failover.ts';
import { guarded, Journal } from './journal.ts';
import { isReachable, lookAt, viewAfter } from './look.ts';
import { LIMITS, openConnections, type PlannedStep, planUndo, type Stage, step } from './plan.ts';
import { LOOK_MAX_AGE_MS, lookAtAll } from './switchover.ts';
import type { RecoveryContext, RecoveryRecord } from './types.ts';

/** A new writer's backlog: bounded by the cluster's flow control. */
const SYNC_MS = 10_000;
/** Until the component has left a dead member behind: evs.suspect_timeout and evs.inactive_timeout, 15 s by default. */
const LEAVE_BEHIND_MS = 30_000;
const BETWEEN_LOOKS_MS = 50;
const FENCE_MS = 2_000;

type Choice = { ok: true; to: NodeAddress; reason: string } | { ok: false; refusals: string[] };

/** Who becomes the writer: a member that takes part, keeps up and answers, the one with the least to apply. Pure. */
export function chooseWriter(
  view: ClusterView,
  from: NodeAddress | null,
  named: NodeAddress | undefined,
  nowMs: number,
): Choice {
  if (named !== undefined && named === from) return { ok: false, refusals: [`${from} is the writer already`] };
  const rejected: string[] = [];
  const fit: { node: NodeAddress; queue: number }[] = [];
  for (const one of view.nodes) {
    if (one.node === from || (named !== undefined && one.node !== named)) continue;
    const own = galeraOf(one.observation.facts);
    const why = unfit(one, nowMs);
    if (why === null && own !== null) fit.push({ node: one.node, queue: own.queue });
    else rejected.push(`${one.node} ${why}`);
  }
  const [best] = fit.sort((a, b) => a.queue - b.queue);
  if (best !== undefined) {
    const reason =
      named === undefined ? `the member with the least to apply of ${fit.length}` : 'named by the operator';
    return { ok: true, to: best.node, reason };
  }
  if (named !== undefined && rejected.length === 0) {
    const known = view.nodes.map(({ node }) => node).join(', ');
    return { ok: false, refusals: [`${named} is not a node of this cluster (${known})`] };
  }
  return { ok: false, refusals: [`no member can take over: ${rejected.join('; ') || 'there is none'}`] };
}

function unfit(view: NodeView, nowMs: number): string | null {
  const { reach, facts } = view.observation;
  if (!isReachable(view, nowMs, LOOK_MAX_AGE_MS)) {
    return `cannot be reached (${reach.state === 'up' ? 'not looked at' : reach.error})`;
  }
  const own = galeraOf(facts);
  if (own === null) return 'is no member of the cluster';
  if (couldWrite(own)) return null;
  return `is ${own.component}, ${own.stateText}${own.ready ? '' : ', not ready'}${own.desynced ? ', desynced' : ''}`;
}

/** Moves the writer as planned. */
export async function switchGalera(ctx: RecoveryContext, options: { to?: NodeAddress }): Promise<RecoveryRecord> {
  const from = ctx.view().primary;
  const journal = new Journal(ctx, 'switchover', from, options.to ?? null);
  if (from === null) return journal.refuse('refused: no writer is known, so there is nothing to move', false);
  return guarded(journal, async () => {
    const view = await lookAtAll(ctx, journal);
    const own = view.nodes.find((one) => one.node === from);
    const choice = chooseWriter(view, from, options.to, ctx.clock.nowMs());
    const alive = own !== undefined && isReachable(own, ctx.clock.nowMs(), LOOK_MAX_AGE_MS);
    const refusal = !alive
      ? `the writer ${from} does not answer: this is a case for failover`
      : own.observation.facts?.readOnly === true
        ? `the writer ${from} does not take writes: make it writable, or use failover`
        : choice.ok
          ? null
          : choice.refusals.join('; ');
    if (refusal !== null || !choice.ok) {
      journal.note('check', refusal ?? '');
      return journal.refuse(`refused: ${refusal}`, false);
    }
    const { to, reason } = choice;
    journal.record.to = to;
    journal.note('check', `${to}: ${reason}`);
    journal.begin();
    const run = newRun(ctx, journal);
    const { drainTimeoutMs } = ctx.config.switchover;
    const before = await carryOut(run, [
      inOrder(
        openConnections(to),
        // Before anybody waits, so that there is little left to apply under the hold.
        step({ do: 'sync-with-cluster', node: to }, SYNC_MS),
        step({ do: 'close-gate', reason: 'switchover' }, LIMITS.gateMs),
        step({ do: 'drain', drainMs: drainTimeoutMs }, drainTimeoutMs + LIMITS.gateMs),
        step({ do: 'set-read-only', node: from }, LIMITS.readOnlyMs),
        step({ do: 'sync-with-cluster', node: to }, LIMITS.readOnlyMs),
        step({ do: 'set-writable', node: to }, LIMITS.writableMs),
      ),
    ]);
    if (!before.ok && !(await promotedAnyway(run, to))) return takeBack(run, from, to, before);
    return opened(run, from, to, reason);
  });
}

const inOrder = (...steps: PlannedStep[]): Stage => ({ lanes: [steps] });

async function promotedAnyway(run: Run, to: NodeAddress): Promise<boolean> {
  const promoting = run.attempted.some((one) => one.action.do === 'set-writable' && one.action.node === to);
  return promoting && (await settlePromotion(run, to)) === 'promoted';
}

async function takeBack(
  run: Run,
  from: NodeAddress,
  to: NodeAddress,
  failure: Extract<Carried, { ok: false }>,
): Promise<RecoveryRecord> {
  const why = `${failure.step}: ${failure.error}`;
  const undone = await carryOut(run, planUndo({ attempted: [...run.attempted], from, to }));
  if (undone.ok) return run.journal.end('rolled-back', why, true);
  return run.journal.end('failed', `${why}; and the way back failed at ${undone.step}: ${undone.error}`, true);
}

async function opened(run: Run, from: NodeAddress, to: NodeAddress, reason: string): Promise<RecoveryRecord> {
  const lanes = [[step({ do: 'open-gate', node: to }, LIMITS.gateMs)]];
  // Direct connections would go on reading an old writer as if it were the writer.
  if (run.fenced.has(from)) lanes.push([step({ do: 'kill-clients', node: from }, LIMITS.killMs, false)]);
  const after = await carryOut(run, [{ lanes }]);
  if (!after.ok) {
    return run.journal.end('failed', `${to} is writable, but clients were not let to it: ${after.error}`, true);
  }
  return run.journal.end('done', reason, true);
}

/** Makes another member the writer: the known one is dead, cut off, or should not be it any longer. */
export async function failOverGalera(ctx: RecoveryContext, options: FailoverOptions): Promise<RecoveryRecord> {
  const from = ctx.view().primary;
  const journal = new Journal(ctx, 'failover', from, options.to ?? null);
  if (from === null) return journal.refuse('refused: no writer is known; make one member writable', false);
  if (options.reason !== undefined) journal.note('why', options.reason);
  return guarded(journal, async () => {
    const run = newRun(ctx, journal);
    const view = await lookAtAll(ctx, journal, LIMITS.suspectLookMs);
    const old = view.nodes.find((one) => one.node === from);
    const own = galeraOf(old?.observation.facts ?? null);
    const answers = old?.observation.reach.state === 'up';
    if (answers && options.operator !== true && own !== null && couldWrite(own) && !old.observation.facts?.readOnly) {
      run.gateTouched = true;
      await carryOut(run, [inOrder(step({ do: 'reopen-gate' }, LIMITS.gateMs, false))]);
      return journal.refuse(`${from} has already recovered: it answers, is in the cluster and writable`, true);
    }
    const closed = await carryOut(run, [inOrder(step({ do: 'close-gate', reason: 'failover' }, LIMITS.gateMs))]);
    if (!closed.ok) return journal.refuse(`${closed.step}: ${closed.error}`, true);
    const first = chooseWriter(view, from, options.to, ctx.clock.nowMs());
    if (!first.ok) {
      journal.note('elect', first.refusals.join('; '));
      if (answers && own !== null && couldWrite(own)) await carryOut(run, [inOrder(reopen)]);
      return journal.refuse(`refused: ${first.refusals.join('; ')}`, true);
    }
    journal.record.to = first.to;
    journal.begin();
    return takeOver(run, from, answers, options);
  });
}

const reopen = step({ do: 'reopen-gate' }, LIMITS.gateMs);

async function takeOver(
  run: Run,
  from: NodeAddress,
  answers: boolean,
  options: FailoverOptions,
): Promise<RecoveryRecord> {
  const { journal } = run;
  if (answers) await carryOut(run, [inOrder(step({ do: 'set-read-only', node: from }, FENCE_MS, false))]);
  const choice = await fenced(run, from, options.to);
  if (!choice.ok) return giveUp(run, from, choice.refusals.join('; '));
  const { to, reason } = choice;
  journal.record.to = to;
  journal.note('elect', `${to}: ${reason}`);
  const before = await carryOut(run, [
    inOrder(
      step({ do: 'sync-with-cluster', node: to }, SYNC_MS),
      step({ do: 'set-writable', node: to }, LIMITS.writableMs),
    ),
  ]);
  if (!before.ok && !(await promotedAnyway(run, to))) return giveUp(run, from, `${before.step}: ${before.error}`);
  return opened(run, from, to, reason);
}

/** Nobody took over. An old writer that we made read-only ourselves takes writes again. */
async function giveUp(run: Run, from: NodeAddress, why: string): Promise<RecoveryRecord> {
  if (!run.fenced.has(from)) return run.journal.end('failed', why, true);
  const back = await carryOut(run, [inOrder(step({ do: 'restore-writable', node: from }, LIMITS.restoreMs), reopen)]);
  if (back.ok) return run.journal.end('rolled-back', why, true);
  return run.journal.end('failed', `${why}; and the way back failed at ${back.step}: ${back.error}`, true);
}

/** Waits until the old writer can confirm nothing more; who takes over is chosen then, from what the members say then. */
async function fenced(run: Run, from: NodeAddress, named: NodeAddress | undefined): Promise<Choice> {
  const { ctx, journal } = run;
  const { clock } = ctx;
  const until = clock.nowMs() + LEAVE_BEHIND_MS;
  let last: Choice = { ok: false, refusals: ['nobody was looked at'] };
  const work = async (): Promise<Choice> => {
    for (;;) {
      const view = ctx.view();
      const others = view.nodes.filter((one) => one.node !== from);
      const looks = await Promise.all(others.map(({ node }) => lookAt(ctx, node, LIMITS.lookMs)));
      const now = viewAfter(view, looks, clock.nowMs());
      last = chooseWriter(now, from, named, clock.nowMs());
      if (last.ok && (run.fenced.has(from) || hasLeftBehind(now, last.to, from))) return last;
      if (clock.nowMs() >= until) break;
      await clock.sleep(BETWEEN_LOOKS_MS);
    }
    if (!last.ok) return last;
    return {
      ok: false,
      refusals: [`${from} cannot be reached and the cluster still counts it as a member: it could confirm writes`],
    };
  };
  return journal.step(`leave ${from} behind`, LEAVE_BEHIND_MS + 2 * LIMITS.lookMs, work, (choice) =>
    choice.ok
      ? run.fenced.has(from)
        ? 'it is read-only'
        : 'it is no member of the component'
      : choice.refusals.join('; '),
  );
}

/** Whether the candidate's component is without the old writer, by its list of members or by counting them. */
function hasLeftBehind(view: ClusterView, to: NodeAddress, from: NodeAddress): boolean {
  const own = galeraOf(view.nodes.find((one) => one.node === to)?.observation.facts ?? null);
  if (own === null) return false;
  const answering = view.nodes.filter(({ node, observation }) => node !== from && observation.reach.state === 'up');
  return (
    isWithout(own, from) ||
    leftBehindBy(
      own,
      answering.map(({ observation }) => galeraOf(observation.facts)),
    )
  );
}

/** A second member takes writes: it is made read-only. */
export async function keepOneWriter(ctx: RecoveryContext, node: NodeAddress): Promise<RecoveryRecord> {
  const { primary } = ctx.view();
  const journal = new Journal(ctx, 'rejoin', primary, node);
  if (primary === null) return journal.refuse('refused: no writer is known', false);
  if (primary === node) return journal.refuse(`refused: ${node} is the writer`, false);
  journal.begin();
  const carried = await carryOut(newRun(ctx, journal), [
    inOrder(
      step({ do: 'set-read-only', node }, LIMITS.readOnlyMs),
      step({ do: 'kill-clients', node }, LIMITS.killMs, false),
    ),
  ]);
  if (!carried.ok) return journal.end('failed', `${carried.step}: ${carried.error}`, false);
  return journal.end('done', `${node} is read-only; ${primary} takes the writes`, false);
}

/** The known writer came back read-only, or was chosen in a cluster without one: it takes writes, if nobody else does. */
export async function reinstateGalera(ctx: RecoveryContext): Promise<RecoveryRecord> {
  const node = ctx.view().primary;
  const journal = new Journal(ctx, 'reinstate', node, node);
  if (node === null) return journal.refuse('refused: no writer is known', false);
  return guarded(journal, async () => {
    const view = await lookAtAll(ctx, journal);
    const refusal = notToReinstate(view, node, ctx.clock.nowMs());
    if (refusal !== null) {
      journal.note('check', refusal);
      return journal.refuse(`refused: ${refusal}`, false);
    }
    journal.begin();
    const run = newRun(ctx, journal);
    const before = await carryOut(run, [
      inOrder(
        step({ do: 'close-gate', reason: 'failover' }, LIMITS.gateMs),
        step({ do: 'sync-with-cluster', node }, SYNC_MS),
        step({ do: 'set-writable', node }, LIMITS.writableMs),
      ),
    ]);
    if (!before.ok && !(await promotedAnyway(run, node))) {
      return journal.end('failed', `${before.step}: ${before.error}`, true);
    }
    return opened(run, node, node, `${node} is in its cluster and has all of it`);
  });
}

function notToReinstate(view: ClusterView, node: NodeAddress, nowMs: number): string | null {
  const own = view.nodes.find((one) => one.node === node);
  const why = own === undefined ? 'is not known' : unfit(own, nowMs);
  if (why !== null) return `${node} ${why}`;
  const writer = view.nodes.find(
    (one) => one.observation.reach.state === 'up' && one.observation.facts?.readOnly === false,
  );
  return writer === undefined ? null : `${writer.node} is writable`;
}
