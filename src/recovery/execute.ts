// Carries plans out: the only place where recovery touches nodes and clients. What a step finds (a position, the
// epoch, whether everything received is applied) is kept in the Run, for the steps and decisions after it.
import type { ClusterView } from '../cluster/types.ts';
import type { NodeAddress } from '../messages/index.ts';
import { errorText, type Journal, StepError } from './journal.ts';
import { lookAt } from './look.ts';
import { LIMITS, type PlannedStep, type Stage } from './plan.ts';
import type { RecoveryContext } from './types.ts';

/** How often the opening of the gate, or an undo, is tried: what stands on it are all clients. */
const ATTEMPTS = 3;
const BETWEEN_ATTEMPTS_MS = 100;

/** One recovery under way. */
export interface Run {
  readonly ctx: RecoveryContext;
  readonly journal: Journal;
  readonly attempted: PlannedStep[];
  /** As the cluster was before anything was done to it. */
  readonly before: ClusterView;
  /** Where the old primary ended. */
  position: string | null;
  /** Nodes that have applied all that they received, with their receiver stopped. */
  readonly applied: Set<NodeAddress>;
  /** Nodes that took a set-read-only. */
  readonly fenced: Set<NodeAddress>;
  /** Nodes in which the order to be read-only waits, and whose clients were ended. */
  readonly ordered: Set<NodeAddress>;
  readonly ended: Set<NodeAddress>;
  /** Nodes that were repointed, and to whom. */
  readonly following: Map<NodeAddress, NodeAddress>;
  gateTouched: boolean;
}

export function newRun(ctx: RecoveryContext, journal: Journal): Run {
  const none = () => new Set<NodeAddress>();
  const found = { position: null, applied: none(), fenced: none(), ordered: none(), ended: none() };
  return { ctx, journal, attempted: [], before: ctx.view(), ...found, following: new Map(), gateTouched: false };
}

export type Carried = { ok: true } | { ok: false; step: string; error: string };

/** Runs the stages in order, up to the first whose required step failed. All lanes of that one have ended then. */
export async function carryOut(run: Run, stages: readonly Stage[]): Promise<Carried> {
  for (const stage of stages) {
    const ends = await Promise.all(stage.lanes.map((lane) => carryOutLane(run, lane)));
    const failure = ends.find((end) => !end.ok);
    if (failure !== undefined) return failure;
  }
  return { ok: true };
}

async function carryOutLane(run: Run, lane: readonly PlannedStep[]): Promise<Carried> {
  for (const planned of lane) {
    try {
      await carryOutStep(run, planned);
    } catch (error) {
      if (planned.required) {
        return { ok: false, step: planned.name, error: error instanceof StepError ? error.message : errorText(error) };
      }
    }
  }
  return { ok: true };
}

async function carryOutStep(run: Run, planned: PlannedStep): Promise<void> {
  const { ctx, journal } = run;
  const { action, timeoutMs, name } = planned;
  const { nodes, gate } = ctx;
  run.attempted.push(planned);
  switch (action.do) {
    case 'close-gate':
      run.gateTouched = true;
      return journal.step(name, timeoutMs, () => gate.close(action.reason, journal.id));
    case 'open-connections':
      await journal.step(name, timeoutMs, () => gate.openAhead(action.node, action.waitMs), openConnections);
      return;
    case 'drain':
      await journal.step(name, timeoutMs, () => gate.drain(action.drainMs), endedTransactions);
      return;
    case 'open-gate':
      run.gateTouched = true;
      return repeated(run, async () => {
        journal.record.epoch = await journal.step(
          name,
          timeoutMs,
          () => gate.open(action.node, journal.id),
          (epoch) => `epoch ${epoch}`,
        );
      });
    case 'reopen-gate':
      return repeated(run, () => journal.step(name, timeoutMs, () => gate.reopen(journal.id)));
    case 'set-read-only':
      await journal.step(name, timeoutMs, () => nodes.setReadOnly(action.node, timeoutMs));
      run.fenced.add(action.node);
      return;
    case 'order-read-only':
      return orderReadOnly(run, name, action.node, timeoutMs);
    case 'set-writable':
      return journal.step(name, timeoutMs, () => nodes.setWritable(action.node, timeoutMs));
    case 'restore-writable':
      return restoreWritable(run, name, action.node, timeoutMs);
    case 'kill-clients':
      await journal.step(name, timeoutMs, () => nodes.killClients(action.node, timeoutMs), endedConnections);
      run.ended.add(action.node);
      return;
    case 'note-position':
      return notePosition(run, name, action.node, timeoutMs);
    case 'wait-for-position':
      return waitForPosition(run, name, action.node, timeoutMs);
    case 'apply-received':
      await journal.step(name, timeoutMs, async () => {
        if (!(await nodes.applyAllReceived(action.node, timeoutMs))) {
          throw new Error(`not all that was received is applied after ${timeoutMs} ms`);
        }
      });
      run.applied.add(action.node);
      return;
    case 'rotate-binlog':
      return journal.step(name, timeoutMs, () => nodes.rotateBinlog(action.node, timeoutMs));
    case 'detach':
      return journal.step(name, timeoutMs, () => nodes.detachFromSource(action.node, timeoutMs));
    case 'semi-sync-role':
      return journal.step(name, timeoutMs, () =>
        nodes.setSemiSyncRole(action.node, action.role, timeoutMs, action.primary),
      );
    case 'elect-member':
      return journal.step(name, timeoutMs, () => nodes.electMember(action.node, action.member, timeoutMs));
    case 'join-group':
      return journal.step(name, timeoutMs, () => nodes.joinGroup(action.node, timeoutMs));
    case 'sync-with-cluster':
      return journal.step(name, timeoutMs, () => nodes.syncWithCluster(action.node, timeoutMs));
    case 'follow':
      if (run.following.get(action.node) === action.source) return;
      await journal.step(
        name,
        timeoutMs,
        () => nodes.follow(action.node, action.source, timeoutMs),
        () => `follows ${action.source}`,
      );
      run.following.set(action.node, action.source);
      return;
  }
}

const openConnections = (count: number) => `${count} connections open`;
const endedTransactions = (count: number) => `${count} transactions ended`;
const endedConnections = (count: number) => `${count} connections ended`;

/** The order is left to wait in the server: given up, it would let new writes begin. */
async function orderReadOnly(run: Run, name: string, node: NodeAddress, timeoutMs: number): Promise<void> {
  const { clock, nodes } = run.ctx;
  const done = nodes.setReadOnly(node, LIMITS.readOnlyWaitsMs).then(() => 'read-only' as const);
  done.catch(() => undefined);
  const enough = new AbortController();
  const waits = clock.sleep(timeoutMs, enough.signal).then(
    () => 'waits' as const,
    () => 'waits' as const,
  );
  const work = () => Promise.race([done, waits]).finally(() => enough.abort());
  const state = await run.journal.step(name, timeoutMs, work, (found) =>
    found === 'waits' ? 'waits for commits that hang; no new write begins meanwhile' : 'ok',
  );
  (state === 'waits' ? run.ordered : run.fenced).add(node);
}

async function notePosition(run: Run, name: string, node: NodeAddress, timeoutMs: number): Promise<void> {
  const facts = await run.journal.step(
    name,
    timeoutMs,
    async () => {
      const seen = await run.ctx.nodes.look(node, timeoutMs);
      if (!seen.readOnly) throw new Error(`${node} is writable again: someone else changed it`);
      return seen;
    },
    (seen) => seen.gtidPosition,
  );
  run.position = facts.gtidPosition;
}

async function waitForPosition(run: Run, name: string, node: NodeAddress, timeoutMs: number): Promise<void> {
  const { position } = run;
  if (position === null) throw new StepError(name, 'no position was read');
  await run.journal.step(name, timeoutMs, async () => {
    if (!(await run.ctx.nodes.waitForGtid(node, position, timeoutMs))) {
      throw new Error(`${node} has not applied ${position} after ${timeoutMs} ms`);
    }
  });
}

/** Tries a few times, since every client waits for it. */
async function repeated(run: Run, work: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (attempt >= ATTEMPTS) throw error;
      await run.ctx.clock.sleep(BETWEEN_ATTEMPTS_MS);
    }
  }
}

/** What became of a candidate whose set-writable did not succeed: it may have taken effect all the same. */
export type Promotion = 'promoted' | 'not-promoted' | 'out-of-reach';

/** Finds out, and makes it read-only again where it can. */
export async function settlePromotion(run: Run, node: NodeAddress): Promise<Promotion> {
  let answered = false;
  for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
    const look = await lookAt(run.ctx, node, LIMITS.lookMs);
    if ('facts' in look) {
      answered = true;
      if (!look.facts.readOnly) {
        run.journal.note(`settle ${node}`, 'it is writable after all: the promotion stands');
        return 'promoted';
      }
      // The order to be writable may still be under way on the server; this one comes after it.
      if (await succeeds(run, `keep-read-only ${node}`, () => run.ctx.nodes.setReadOnly(node, LIMITS.roleMs))) {
        return 'not-promoted';
      }
    } else if (look.reach.state === 'refused') break;
    await run.ctx.clock.sleep(BETWEEN_ATTEMPTS_MS);
  }
  run.journal.note(
    `settle ${node}`,
    answered
      ? 'it answers, but its being read-only could not be made sure of'
      : 'it does not answer; should it come back writable, it is made read-only at once',
  );
  return 'out-of-reach';
}

/** Makes a node writable again that was so before this recovery. Rejects where it is not known to be in the end. */
async function restoreWritable(run: Run, name: string, node: NodeAddress, timeoutMs: number): Promise<void> {
  await repeated(run, async () => {
    try {
      await run.journal.step(name, timeoutMs, () => run.ctx.nodes.setWritable(node, timeoutMs));
    } catch (error) {
      const look = await lookAt(run.ctx, node, LIMITS.lookMs);
      if ('reach' in look || look.facts.readOnly) throw error;
    }
  });
}

async function succeeds(run: Run, name: string, work: () => Promise<void>): Promise<boolean> {
  try {
    await run.journal.step(name, LIMITS.roleMs, work);
    return true;
  } catch {
    return false; // the step has recorded why
  }
}
