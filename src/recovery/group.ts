// Group Replication. The group elects its primary: after a crash by itself, in a switchover when we ask it to. What is
// left to us is the clients: nobody writes while the primary moves, and writes go to the one that the group made primary.
import type { ClusterView, GroupFacts, NodeView } from '../cluster/types.ts';
import type { NodeAddress } from '../messages/index.ts';
import { carryOut, newRun, type Run } from './execute.ts';
import type { FailoverOptions } from './failover.ts';
import { guarded, Journal } from './journal.ts';
import { isReachable, lookAt } from './look.ts';
import { LIMITS, openConnections, type PlannedStep, step } from './plan.ts';
import { catchUp, LOOK_MAX_AGE_MS, lookAtAll } from './switchover.ts';
import type { RecoveryContext, RecoveryRecord } from './types.ts';

/** The group waits for transactions of the old primary and for the new one's backlog. */
const ELECT_MS = 10_000;
/** Until it is clear what became of an election of which we heard no end. */
const SETTLE_MS = 5_000;
const BETWEEN_LOOKS_MS = 20;
/** Joining means to catch up with what was missed; the group goes on meanwhile. */
const JOIN_MS = 60_000;

/** What a node says of its group; null where it is in none. */
export function groupOf(view: NodeView | undefined): GroupFacts | null {
  const own = view?.observation.facts?.topology ?? null;
  return own?.kind === 'group' ? own : null;
}

type Choice = { ok: true; to: NodeAddress; member: string; reason: string } | { ok: false; refusals: string[] };

/** Whether the group can be asked to move its primary, and to whom. Pure. */
export function chooseMember(
  view: ClusterView,
  from: NodeAddress,
  named: NodeAddress | undefined,
  nowMs: number,
): Choice {
  const refuse = (text: string): Choice => ({ ok: false, refusals: [text] });
  if (named === from) return refuse(`${from} is the primary already`);
  const primary = view.nodes.find((one) => one.node === from);
  const own = groupOf(primary);
  if (primary === undefined || own === null || !isReachable(primary, nowMs, LOOK_MAX_AGE_MS)) {
    return refuse(`the primary ${from} does not answer: the group elects another by itself`);
  }
  if (!own.singlePrimary)
    return refuse('the group has no single primary: group_replication_switch_to_single_primary_mode()');
  if (own.state !== 'ONLINE' || !own.majority || own.role !== 'primary') {
    return refuse(`${from} is ${own.state}, ${own.role}${own.majority ? '' : ', without a majority'}: no election now`);
  }
  const rejected: string[] = [];
  const fit: { node: NodeAddress; id: string; queue: number }[] = [];
  for (const one of view.nodes) {
    if (one.node === from || (named !== undefined && one.node !== named)) continue;
    const why = unfit(one, own, nowMs);
    const member = groupOf(one);
    if (why === null && member !== null) fit.push({ node: one.node, id: member.self, queue: member.queue });
    else rejected.push(`${one.node} ${why}`);
  }
  // Sorting is stable: an equal backlog leaves the seeds' order.
  const [best] = fit.sort((a, b) => a.queue - b.queue);
  if (best !== undefined) {
    const reason =
      named === undefined ? `the member with the least to apply of ${fit.length}` : 'named by the operator';
    return { ok: true, to: best.node, member: best.id, reason };
  }
  if (named !== undefined && rejected.length === 0) {
    return refuse(`${named} is not a node of this cluster (${view.nodes.map(({ node }) => node).join(', ')})`);
  }
  return refuse(
    named === undefined ? `no member can take over: ${rejected.join('; ') || 'there is none'}` : rejected.join('; '),
  );
}

function unfit(view: NodeView, primary: GroupFacts, nowMs: number): string | null {
  const { reach } = view.observation;
  if (!isReachable(view, nowMs, LOOK_MAX_AGE_MS)) {
    return `cannot be reached (${reach.state === 'up' ? 'not looked at' : reach.error})`;
  }
  const own = groupOf(view);
  if (own === null || own.group !== primary.group) return 'is no member of the group';
  return own.state === 'ONLINE' ? null : `is ${own.state} in its group`;
}

/** Has the group move its primary. A failure on the way leaves it to the group who is primary, and clients go there. */
export async function switchGroup(ctx: RecoveryContext, options: { to?: NodeAddress }): Promise<RecoveryRecord> {
  const from = ctx.view().primary;
  const journal = new Journal(ctx, 'switchover', from, options.to ?? null);
  if (from === null) return journal.refuse('refused: no primary is known, so there is nothing to move', false);
  return guarded(journal, async () => {
    const choice = chooseMember(await lookAtAll(ctx, journal), from, options.to, ctx.clock.nowMs());
    if (!choice.ok) {
      journal.note('check', choice.refusals.join('; '));
      return journal.refuse(`refused: ${choice.refusals.join('; ')}`, false);
    }
    journal.record.to = choice.to;
    journal.note('check', `${choice.to}: ${choice.reason}`);
    const late = await catchUp(ctx, journal, from, choice.to);
    if (late !== null) return journal.refuse(`refused: ${late}`, false);
    journal.begin();
    return move(newRun(ctx, journal), from, choice);
  });
}

async function move(run: Run, from: NodeAddress, choice: Extract<Choice, { ok: true }>): Promise<RecoveryRecord> {
  const { to, member, reason } = choice;
  const { journal } = run;
  const { drainTimeoutMs } = run.ctx.config.switchover;
  const before = await carryOut(run, [
    inOrder(
      openConnections(to),
      step({ do: 'close-gate', reason: 'switchover' }, LIMITS.gateMs),
      step({ do: 'drain', drainMs: drainTimeoutMs }, drainTimeoutMs + LIMITS.gateMs),
      step({ do: 'elect-member', node: from, member }, ELECT_MS),
    ),
  ]);
  const elected = await settled(run, from, to);
  if (elected === null) {
    const why = before.ok ? 'the election ended' : `${before.step}: ${before.error}`;
    return journal.end('failed', `${why}; no member takes writes yet: clients wait for the one that will`, true);
  }
  if (elected === from) {
    const back = await carryOut(run, [inOrder(step({ do: 'reopen-gate' }, LIMITS.gateMs))]);
    const why = before.ok ? `the group kept ${from}` : `${before.step}: ${before.error}`;
    return journal.end(
      back.ok ? 'rolled-back' : 'failed',
      back.ok ? why : `${why}; and ${back.step}: ${back.error}`,
      true,
    );
  }
  const after = await carryOut(run, [
    {
      lanes: [
        [step({ do: 'open-gate', node: to }, LIMITS.gateMs)],
        // Direct connections would go on reading an old primary as if it were the primary.
        [step({ do: 'kill-clients', node: from }, LIMITS.killMs, false)],
      ],
    },
  ]);
  if (!after.ok) return journal.end('failed', `${to} is primary, but clients were not let to it: ${after.error}`, true);
  return journal.end('done', reason, true);
}

const inOrder = (...steps: PlannedStep[]) => ({ lanes: [steps] });

/** Which of the two takes writes by the group's will; null where neither does in time. */
async function settled(run: Run, from: NodeAddress, to: NodeAddress): Promise<NodeAddress | null> {
  const { clock } = run.ctx;
  const until = clock.nowMs() + SETTLE_MS;
  do {
    for (const node of [to, from]) {
      const look = await lookAt(run.ctx, node, LIMITS.lookMs);
      const own = 'facts' in look && look.facts.topology?.kind === 'group' ? look.facts.topology : null;
      const takes = 'facts' in look && !look.facts.readOnly && own?.role === 'primary' && own.majority;
      if (!takes) continue;
      run.journal.note('settle', `${node} is primary and takes writes`);
      return node;
    }
    await clock.sleep(BETWEEN_LOOKS_MS);
  } while (clock.nowMs() < until);
  return null;
}

/** A failover of a group is the group's own. */
export function refuseGroupFailover(ctx: RecoveryContext, options: FailoverOptions): Promise<RecoveryRecord> {
  const journal = new Journal(ctx, 'failover', ctx.view().primary, options.to ?? null);
  return journal.refuse(
    'refused: the group elects its primary itself. Where it has lost its majority for good: group_replication_force_members;' +
      ' to move a primary that works: switchover',
    false,
  );
}

/** Has a member that was expelled, or that restarted outside, join its group again. */
export async function joinGroup(ctx: RecoveryContext, node: NodeAddress): Promise<RecoveryRecord> {
  const { primary } = ctx.view();
  const journal = new Journal(ctx, 'rejoin', primary, node);
  if (primary === null) return journal.refuse('refused: no primary is known whose group it could join', false);
  if (primary === node) return journal.refuse(`refused: ${node} is the primary`, false);
  journal.begin();
  const joined = await carryOut(newRun(ctx, journal), [inOrder(step({ do: 'join-group', node }, JOIN_MS))]);
  if (!joined.ok) return journal.end('failed', `${joined.step}: ${joined.error}`, false);
  return journal.end('done', `${node} is in its group again`, false);
}
