// Following a change of primary that someone else made: by hand, or by another tool. Nothing is promoted; clients
// are held, the old primary is made read-only if it still takes writes and we may, and writes go to the new one.
import { asksForSemiSync, leftBehind } from '../cluster/index.ts';
import type { NodeFacts, NodeView } from '../cluster/types.ts';
import type { NodeAddress } from '../messages/index.ts';
import {
  fenceOfPromised,
  makeReadOnly,
  type PromisedFence,
  type RecoveryContext,
  type RecoveryRecord,
  type RecoveryStep,
  repointToPromised,
  standingOfPromised,
} from '../recovery/index.ts';
import { errorText } from './ports.ts';

const lookTimeoutMs = 1000;
const writableTimeoutMs = 3000;
/** Writes to the old primary fail already: there is little to wait for. */
const drainMs = 500;

export interface FollowOptions {
  from: NodeAddress | null;
  to: NodeAddress;
  epoch: number;
  reason: string;
  /** It may be read-only: it was promoted by a recovery that came to no end, and is made writable. */
  promote?: boolean;
  /** An operator chose it, whatever the old primary may have acknowledged or may acknowledge still. */
  accepted?: boolean;
  /** False with `recovery: observe`: then nothing is changed on any node. */
  mayFence: boolean;
}

/** Begins the reason of one that ended with the old primary taking writes again. */
export const FORSAKEN = 'not followed after all: ';

type Step = (name: string, work: () => Promise<string>) => Promise<void>;

/** Resolves with the record, however it ended. */
export async function runFollow(context: RecoveryContext, options: FollowOptions): Promise<RecoveryRecord> {
  const { clock, gate, nodes, store } = context;
  const began = clock.nowMs();
  const wall = new Date(clock.wallMs());
  const random = Math.floor((context.random ?? Math.random)() * 0x10000);
  const record: RecoveryRecord = {
    id: `${wall.toISOString().replace(/[-:.]/g, '')}-${random.toString(16).padStart(4, '0')}`,
    kind: 'follow',
    cluster: context.cluster,
    from: options.from,
    to: options.to,
    epoch: options.epoch,
    outcome: 'failed',
    ...(context.analysis === undefined ? {} : { analysis: context.analysis }),
    reason: options.reason,
    startedAt: wall.toISOString(),
    durationMs: 0,
    longestStallMs: 0,
    clientErrors: 0,
    steps: [],
  };
  context.onProgress?.(record, null);

  const step: Step = async (name, work) => {
    const startedMs = tenths(clock.nowMs() - began);
    const entry: RecoveryStep = { name, startedMs, durationMs: 0, detail: '' };
    record.steps.push(entry);
    try {
      entry.detail = await work();
    } catch (error) {
      entry.detail = errorText(error);
      throw error;
    } finally {
      entry.durationMs = tenths(clock.nowMs() - began - startedMs);
      context.onProgress?.(record, entry);
    }
  };

  try {
    await step('hold', async () => {
      await gate.close('switchover', record.id);
      return 'statements are held';
    });
    let facts: NodeFacts | null = null;
    await step('look at the new primary', async () => {
      facts = await nodes.look(options.to, lookTimeoutMs);
      if (facts.readOnly && options.promote !== true) throw new Error(`${options.to} does not take writes`);
      return facts.readOnly ? `${options.to} was promoted, and came back read-only` : `${options.to} takes writes`;
    });
    const from = context.view().nodes.find(({ node }) => node === options.from);
    const group = behindIts(facts, from);
    // What is in flight to a node that its group has left behind ends in nothing.
    const waitMs = group === null && from?.observation.reach.state === 'up' ? drainMs : 0;
    await step('end what is in flight', async () => `${await gate.drain(waitMs)} transactions ended`);
    let lasts: PromisedFence['lasts'] = () => true;
    if (options.from !== null)
      await step('old primary read-only', async () => {
        if (group !== null) return group;
        const fenced = await fence(context, options);
        lasts = fenced.lasts ?? lasts;
        return fenced.text;
      });
    if (options.promote === true) {
      const { from: old, to } = options;
      if (old !== null) await step('compare', () => compare(context, old, options));
      await step('semi-sync source', () => becomeSource(context, to));
      if (old !== null) await step('repoint', () => repoint(context, old, to, lasts));
      await step('writable', () => becomeWritable(context, to));
    }
    await step('open', async () => {
      record.epoch = await gate.open(options.to, record.id);
      return `epoch ${record.epoch}`;
    });
    record.outcome = 'done';
  } catch (error) {
    context.log.warn({ recovery: record.id, error: errorText(error) }, 'a change of primary could not be followed');
    if (error instanceof Forsaken && (await goBack(context, options, step, record.id))) {
      record.reason = `${FORSAKEN}${errorText(error)}`;
      record.outcome = 'rolled-back';
    } else if (error instanceof NotFenced || (options.promote === true && options.mayFence)) {
      // Whom a recovery of ours had promoted is followed at the next try: what the old primary acknowledged until then would be lost.
      record.reason = `${options.reason}; not followed: ${errorText(error)}`;
    } else {
      await gate.reopen(record.id).catch(() => undefined);
      record.outcome = 'rolled-back';
    }
  }
  const impact = await gate.impact(record.id).catch(() => null);
  record.longestStallMs = tenths(impact?.longestStallMs ?? 0);
  record.clientErrors = impact?.clientErrors ?? 0;
  record.durationMs = tenths(clock.nowMs() - began);
  store.saveRecovery(record);
  return record;
}

/** Why an old primary needs no fence of ours; null where it does. */
function behindIts(facts: NodeFacts | null, from: NodeView | undefined): string | null {
  if (facts?.topology?.kind === 'aurora') return 'one instance can write at a time: the platform sees to it';
  const own = facts?.topology?.kind === 'group' ? facts.topology : null;
  if (own === null || from === undefined || !leftBehind(own, from.node, from.observation.facts?.identity ?? null))
    return null;
  return `the group of the new primary has left ${from.node} behind: it can confirm no writes`;
}

async function becomeSource({ config, nodes }: RecoveryContext, node: NodeAddress): Promise<string> {
  if (!asksForSemiSync(config)) return 'durability: none';
  await nodes.setSemiSyncRole(node, 'source', writableTimeoutMs);
  return 'ok';
}

async function becomeWritable({ nodes }: RecoveryContext, node: NodeAddress): Promise<string> {
  await nodes.setWritable(node, writableTimeoutMs);
  return `${node} takes writes`;
}

/** Rejects where a replica that was not repointed, and restarts, would let the old primary acknowledge again. */
async function repoint(
  context: RecoveryContext,
  from: NodeAddress,
  to: NodeAddress,
  lasts: PromisedFence['lasts'],
): Promise<string> {
  const repointed = await repointToPromised(context, from, to);
  const text = repointed.length === 0 ? `nobody follows ${to} yet` : `${repointed.join(', ')} follow ${to}`;
  if (!lasts(repointed)) throw new NotFenced(`${text}: ${from} can acknowledge to another replica when that restarts`);
  return text;
}

/** Clients stay held: what is acknowledged at the old primary would be lost, and so would what the new one has. */
class NotFenced extends Error {}

/** Clients go on at the old primary, which has what the promised node lacks. */
class Forsaken extends Error {}

/** Rejects where clients must not be let to the promised node: the old primary, fenced by now, may have acknowledged more. */
async function compare(
  context: RecoveryContext,
  from: NodeAddress,
  { accepted, mayFence, to }: FollowOptions,
): Promise<string> {
  const standing = await standingOfPromised(context, from, to);
  if (standing.stands === 'promised') return `${to} lacks nothing that may have been acknowledged at ${from}`;
  if (accepted === true) return `accepted by the operator: ${standing.why}`;
  if (standing.stands === 'old' && mayFence) throw new Forsaken(standing.why);
  const choose = `to go on at ${to}: failover --to ${to} --force; to go on at ${from}: stop the server of ${to}`;
  throw new NotFenced(`${standing.why}. Look at both, then choose: ${choose}`);
}

/** False where that failed: then nobody takes writes, and all of it is tried again. */
async function goBack(context: RecoveryContext, { from, to }: FollowOptions, step: Step, id: string): Promise<boolean> {
  if (from === null) return false;
  try {
    await step(`${to} read-only`, async () => {
      await makeReadOnly(context, to);
      return 'ok';
    });
    await step(`${from} writable`, async () => {
      await becomeSource(context, from);
      return becomeWritable(context, from);
    });
    await step('open', async () => {
      await context.gate.reopen(id);
      return `clients go on at ${from}`;
    });
    return true;
  } catch {
    return false; // the step says why
  }
}

/** Rejects where the old primary still takes writes: then two would, and we must not choose. */
async function fence(
  context: RecoveryContext,
  options: FollowOptions,
): Promise<{ text: string; lasts?: PromisedFence['lasts'] }> {
  const from = options.from;
  if (from === null) return { text: 'there is none' };
  let facts: NodeFacts;
  try {
    facts = await context.nodes.look(from, lookTimeoutMs);
  } catch (error) {
    const away = `${from} is not reachable: ${errorText(error)}`;
    // Whom somebody else promoted is followed: whether it may be was his to ask.
    if (options.promote !== true) return { text: away };
    const { fence: found, lasts } = await fenceOfPromised(context, from, options.to);
    const text = `${away}; ${found.text}`;
    if (options.accepted === true || context.config.failover.unfenced === 'promote') return { text };
    if (found.fenced) return { text, lasts };
    throw new NotFenced(`${found.text}. Stop its server, or accept it: failover --to ${options.to} --force`);
  }
  if (facts.readOnly) return { text: `${from} is read-only` };
  if (facts.topology?.kind === 'rds')
    throw new Error(`${from} still takes writes, and its platform keeps us from changing it`);
  if (!options.mayFence) throw new Error(`${from} still takes writes, and observing we change nothing`);
  await makeReadOnly(context, from);
  return { text: `${from} made read-only` };
}

function tenths(ms: number): number {
  return Math.round(ms * 10) / 10;
}
