// Building a node anew from another one: one with errant transactions, which cannot follow, or a server that is to
// join the cluster. What the node had is gone from the first moment of the clone on; what its own transactions were is in the
// record before that. Runs for as long as the data takes, beside whatever else happens to the cluster.

import type { CloneProgress, Credentials, ErrantReport, NodeRebuilder } from '../cluster/index.ts';
import { gtidSubtract } from '../cluster/index.ts';
import type { NodeFacts, NodeView } from '../cluster/types.ts';
import type { NodeAddress } from '../messages/index.ts';
import { errorText, guarded, Journal } from './journal.ts';
import { LIMITS } from './plan.ts';
import { mariadbProcedure } from './procedure.ts';
import { makeReadOnly } from './rejoin.ts';
import type { RecoveryContext, RecoveryRecord } from './types.ts';

export interface RebuildOptions {
  node: NodeAddress;
  rebuilder: NodeRebuilder;
  /** Where the data comes from; else a sound replica, else the primary. */
  donor?: NodeAddress;
  /** Also a node without errant transactions. */
  force?: boolean;
  /**
   * A server that is new here, and how to log in to it before it has the cluster's accounts. `keepData`: it has the
   * cluster's data already, from a backup, and only joins.
   */
  added?: { credentials: Credentials | null; keepData: boolean };
  /** How long the server may take to come back after the clone. */
  returnWaitMs: number;
}

/** How the others come by a new member. */
const ownWay = {
  group: 'a group brings a member up to date by itself: START GROUP_REPLICATION on it (distributed recovery)',
  galera: 'a Galera cluster brings a node up to date by itself: start its server (state transfer)',
  aurora: 'the platform adds and replaces its instances itself',
  rds: 'the platform adds and replaces its instances itself',
} as const;

const CLONE_MS = 7 * 86_400_000;
const LOG_READ_MS = 300_000;
const RETURN_POLL_MS = 500;
/** A server that was to restart and is not there after this long may need a hand. */
const RETURN_HINT_MS = 15_000;
/** Nobody waits for it, and a server that has just started and replicates is slow. */
const READ_ONLY_MS = 30_000;
const FOLLOW_MS = 30_000;
const CATCH_UP_MS = 60_000;
/** Progress is told at each stage and at steps of this size. */
const PROGRESS_PERCENT = 10;
const MAX_SUMMARY_CHARS = 4000;

/** Never rejects: a refusal is outcome `failed` with a reason that starts with `refused: `, and nothing was touched. */
export async function runRebuild(ctx: RecoveryContext, options: RebuildOptions): Promise<RecoveryRecord> {
  const { node } = options;
  const { primary } = ctx.view();
  const journal = new Journal(ctx, options.added === undefined ? 'rebuild' : 'add-node', primary, node);
  const topology = ctx.view().topology ?? 'replication';
  if (topology !== 'replication') return journal.refuse(`refused: ${ownWay[topology]}`, false);
  if (primary === null) return journal.refuse('refused: no primary is known that it could follow', false);
  if (primary === node) return journal.refuse(`refused: ${node} is the primary: move it away first`, false);
  return guarded(journal, () => rebuild(ctx, journal, primary, options));
}

async function rebuild(
  ctx: RecoveryContext,
  journal: Journal,
  primary: NodeAddress,
  options: RebuildOptions,
): Promise<RecoveryRecord> {
  const { node, rebuilder } = options;
  if (options.added?.keepData === true) return joinWithData(ctx, journal, node, primary);
  const donor = options.donor ?? donorOf(ctx, node, primary);
  if (donor === node) return journal.refuse('refused: a node cannot be built from itself', false);
  if (ctx.view().flavor === 'mariadb') {
    const { user } = ctx.config.admin;
    const added = options.added !== undefined;
    const lines = mariadbProcedure({ node, donor, donorIsPrimary: donor === primary, user, added });
    return journal.refuse(`refused: ${lines.join('\n')}`, false);
  }
  if (options.added !== undefined) {
    const refusal = await unfitNewcomer(ctx, journal, options.added.credentials, options);
    if (refusal !== null) return journal.refuse(`refused: ${refusal}`, false);
  } else {
    const report = await errantTransactions(ctx, journal, node, primary, rebuilder);
    if (report.count === 0 && options.force !== true) {
      return journal.refuse(
        `refused: ${node} has no errant transactions; to build it anew all the same: --force`,
        false,
      );
    }
  }
  journal.record.from = donor;
  journal.begin();
  const progress = new Progress(journal);
  const end = await journal.step(
    `clone ${donor} onto ${node}`,
    CLONE_MS,
    () => rebuilder.clone(node, donor, options.added?.credentials ?? null, (now) => progress.tell(now)),
    (how) =>
      how === 'restarts' ? 'all data is there, the server restarts' : 'all data is there, the server has stopped',
  );
  if (end === 'stopped') askForStart(journal, node);
  await journal.step(`wait for ${node}`, options.returnWaitMs, () => returned(ctx, journal, options, end));
  return join(ctx, journal, node, donor);
}

/** A server that holds somebody's data is not cloned over, whatever its address. */
async function unfitNewcomer(
  ctx: RecoveryContext,
  journal: Journal,
  credentials: Credentials | null,
  { node, rebuilder }: RebuildOptions,
): Promise<string | null> {
  const server = await journal.step(
    `look ${node}`,
    LOG_READ_MS,
    () => rebuilder.inspect(node, credentials),
    ({ version, serverId }) => `${version}, server_id ${serverId}`,
  );
  if (server.flavor !== ctx.view().flavor) return `${node} is ${server.flavor}, the cluster is ${ctx.view().flavor}`;
  if (server.databases.length > 0) {
    return `${node} is not empty: it has ${server.databases.slice(0, 10).join(', ')}. Drop them first if nobody needs them`;
  }
  const twin = ctx.view().nodes.find(({ observation }) => observation.facts?.serverId === server.serverId);
  return twin === undefined ? null : sameServerId(node, server.serverId, twin.node);
}

/** Nothing is copied: what it has must be a part of what the primary has. */
async function joinWithData(
  ctx: RecoveryContext,
  journal: Journal,
  node: NodeAddress,
  primary: NodeAddress,
): Promise<RecoveryRecord> {
  const lookMs = LIMITS.lookMs * 4;
  const own = await journal.step(`look ${node}`, lookMs, () => ctx.nodes.look(node, lookMs));
  const theirs = await journal.step(`look ${primary}`, lookMs, () => ctx.nodes.look(primary, lookMs));
  const twin = ctx.view().nodes.find(({ observation }) => observation.facts?.serverId === own.serverId);
  const refusal =
    own.flavor !== theirs.flavor
      ? `${node} is ${own.flavor}, the cluster is ${theirs.flavor}`
      : twin !== undefined
        ? sameServerId(node, own.serverId, twin.node)
        : unrelated(node, own, theirs);
  if (refusal !== null) return journal.refuse(`refused: ${refusal}`, false);
  journal.begin();
  return join(ctx, journal, node, null);
}

function unrelated(node: NodeAddress, own: NodeFacts, theirs: NodeFacts): string | null {
  if (own.gtidExecuted === '') return `${node} has no transactions at all, so it does not hold the cluster's data`;
  const errant = gtidSubtract(own.flavor, own.gtidExecuted, theirs.gtidExecuted);
  return errant === '' ? null : `${node} has transactions that the primary has not: ${errant.slice(0, 300)}`;
}

function sameServerId(node: NodeAddress, serverId: number, twin: NodeAddress): string {
  return `${node} has the server_id ${serverId} of ${twin}: give it another one in its option file`;
}

/** Reads and records what will be gone. */
async function errantTransactions(
  ctx: RecoveryContext,
  journal: Journal,
  node: NodeAddress,
  primary: NodeAddress,
  rebuilder: NodeRebuilder,
): Promise<ErrantReport> {
  // The node first and the primary after it, or what is replicated between the two would look errant.
  const look = (from: NodeAddress) =>
    journal.step(`look ${from}`, LIMITS.lookMs * 4, () => ctx.nodes.look(from, LIMITS.lookMs * 4));
  const own = await look(node);
  const theirs = await look(primary);
  return journal.step('errant transactions', LOG_READ_MS, () => rebuilder.errant(node, own, theirs), summaryOf);
}

/** For the record: short, and nothing that is not in the log. */
function summaryOf(report: ErrantReport): string {
  if (report.count === 0) return 'none';
  const each = report.transactions.map(({ gtid, tables, statements }) => {
    const what = [...tables.map(({ table, did }) => `${did.join('/')} ${table}`), ...statements];
    return `${gtid} (${what.join('; ')})`;
  });
  const text = [`${report.count}: ${report.gtids}`, ...each, report.note].filter((part) => part !== '').join('\n');
  return text.length > MAX_SUMMARY_CHARS ? `${text.slice(0, MAX_SUMMARY_CHARS)}…` : text;
}

/** The least busy of those who have everything: a sound replica in service with the least lag; else the primary. */
function donorOf(ctx: RecoveryContext, node: NodeAddress, primary: NodeAddress): NodeAddress {
  const out = ctx.outOfService?.() ?? new Set<NodeAddress>();
  const lag = ({ lagMs }: NodeView): number => lagMs ?? Number.POSITIVE_INFINITY;
  const replicas = ctx
    .view()
    .nodes.filter((each) => each.role === 'replica' && each.state === 'ok' && each.node !== node);
  const inService = replicas.filter((each) => !out.has(each.node));
  return (inService.toSorted((a, b) => lag(a) - lag(b))[0] ?? replicas[0])?.node ?? primary;
}

function askForStart(journal: Journal, node: NodeAddress): void {
  journal.note('start the server', `nothing restarts the server of ${node} by itself: start it now`);
}

async function returned(
  ctx: RecoveryContext,
  journal: Journal,
  { node, rebuilder, returnWaitMs }: RebuildOptions,
  end: 'restarts' | 'stopped',
): Promise<void> {
  const began = ctx.clock.nowMs();
  let hinted = end === 'stopped';
  for (;;) {
    const error = await rebuilder.cloneError(node).catch(() => 'away');
    if (error === null) return;
    if (error.startsWith('Failed')) throw new Error(`the clone failed: ${error}`);
    const waitedMs = ctx.clock.nowMs() - began;
    if (waitedMs > returnWaitMs)
      throw new Error(`${node} did not come back: start its server, then: rejoin goes by itself`);
    if (!hinted && waitedMs > RETURN_HINT_MS) {
      hinted = true;
      askForStart(journal, node);
    }
    await ctx.clock.sleep(RETURN_POLL_MS);
  }
}

/** Makes it follow whoever is the primary by now. With its donor's data came its replication: it may be busy with that. */
async function join(
  ctx: RecoveryContext,
  journal: Journal,
  node: NodeAddress,
  donor: NodeAddress | null,
): Promise<RecoveryRecord> {
  await journal.step(`set-read-only ${node}`, READ_ONLY_MS, () => makeReadOnly(ctx, node, READ_ONLY_MS));
  const { primary } = ctx.view();
  if (primary === null || primary === node)
    return journal.end('failed', `${node} is built, but there is no primary to follow`, false);
  const lookMs = LIMITS.lookMs * 4;
  const own = await journal.step(`look ${node}`, lookMs, () => ctx.nodes.look(node, lookMs));
  const theirs = await journal.step(`look ${primary}`, lookMs, () => ctx.nodes.look(primary, lookMs));
  const errant = gtidSubtract(own.flavor, own.gtidExecuted, theirs.gtidExecuted);
  if (errant !== '')
    return journal.end('failed', `${donor ?? node} itself has transactions that ${primary} has not: ${errant}`, false);
  await journal.step(
    `follow ${node}`,
    FOLLOW_MS,
    () => ctx.nodes.follow(node, primary, FOLLOW_MS),
    () => `follows ${primary}`,
  );
  const caughtUp = await journal.step(
    `catch up ${node}`,
    CATCH_UP_MS,
    () => ctx.nodes.waitForGtid(node, theirs.gtidPosition, CATCH_UP_MS).catch((error: unknown) => errorText(error)),
    (reached) => (reached === true ? 'has all that the primary had' : `still behind (${String(reached)})`),
  );
  const lag = caughtUp === true ? '' : ', and is still behind';
  return journal.end(
    'done',
    `${node} ${donor === null ? 'joins' : `is built anew from ${donor}`} and follows ${primary}${lag}`,
    false,
  );
}

class Progress {
  readonly #journal: Journal;
  #stage = '';
  #percent = 0;

  constructor(journal: Journal) {
    this.#journal = journal;
  }

  tell({ stage, percent, bytes }: CloneProgress): void {
    if (stage === this.#stage && (percent ?? 0) < this.#percent + PROGRESS_PERCENT) return;
    this.#stage = stage;
    this.#percent = percent ?? 0;
    const share = percent === null ? '' : `, ${percent} %`;
    this.#journal.note('clone', `${stage}${share}, ${Math.round(bytes / 1024 / 1024)} MiB`);
  }
}
