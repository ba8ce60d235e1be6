// The way of a read of `route: auto` aside, to a replica: which one, what it must have executed before it is read from, and
// what goes right ahead of the read so that it is not older than it may be. split.ts says what may go, statement.ts goes.
import type { NodeAddress } from '../messages/index.ts';
import { asPacket, type Packet, queryPacket } from '../wire/index.ts';
import type { BringUp } from './bring-up.ts';
import { askPosition, type Causality, waitFor } from './causality.ts';
import type { Client } from './client.ts';
import { readRequest, type ServerRequest } from './command.ts';
import { READ_WRITE, verb } from './in-flight/index.ts';
import type { NodePool } from './pool.ts';
import { type QuietCommand, runQuietly } from './quiet.ts';
import type { ServerConnection } from './server-connection.ts';
import { leaves } from './split.ts';

/** A replica that was waited for in vain is not waited for again for this long. */
const BEHIND_MS = 100;

/** On one replica; the statement may have been sent elsewhere since. */
export interface Wait {
  /** It was in vain: what the replica says is older than it may be. */
  behind: boolean;
}

/** The replica that the statement goes to; null: it stays on the primary. */
export function replicaFor(client: Client, request: ServerRequest, followsOnly: boolean): NodeAddress | null {
  const { gate, session, tether, link, worker, profileKey } = client;
  // What it keeps on the primary is needed there.
  if (link !== null && tether.way === 'primary') return null;
  const how = leaves(request, session, tether.guard !== null);
  if (how === null || (followsOnly && how !== 'follow')) return null;
  const { causality } = session;
  causality?.enter(gate.cluster.route?.epoch ?? 0);
  if (causality?.dirty === true) return null;
  const poolOf = (node: NodeAddress): NodePool => worker.pool(client.cluster, node);
  if (how === 'follow') {
    const last = session.lastOn as ServerConnection | null;
    if (last === null || !last.ready || last.node === gate.cluster.route?.primary) return null;
    const waits = causality !== null && causality.missing(poolOf(last.node)) !== null;
    return waits ? null : gate.pickAside((node) => node === last.node);
  }
  const now = worker.nowMs();
  // Its warnings are there.
  const there = link !== null && session.hold !== null ? link.node : null;
  return gate.pickAside((node) => {
    if (there !== null && node !== there) return false;
    const pool = poolOf(node);
    if (!pool.takes(profileKey, now)) return false;
    return causality === null || pool.behindUntilMs <= now || causality.missing(pool) === null;
  });
}

/** Replicas can be waited for once the primary has said how far it has come: it is asked with the next such read there. */
export function asksPrimary({ gate, session, tether }: Client, request: ServerRequest): boolean {
  if (gate.split === null || session.causality?.dirty !== true) return false;
  const how = leaves(request, session, tether.guard !== null);
  return how === 'read' || how === 'transaction';
}

/**
 * Before a read that is to see what anybody has written (`causal: global`): the primary says how far it has come, and then the read may leave it.
 * True: `then` is called, later.
 */
export function asksAhead(client: Client, request: ServerRequest, then: () => void): boolean {
  const { cluster, gate, session, tether, worker, profile } = client;
  const { causality } = session;
  if (causality === null || profile === null) return false;
  const how = leaves(request, session, tether.guard !== null);
  if (how !== 'read' && how !== 'transaction') return false;
  causality.enter(gate.cluster.route?.epoch ?? 0);
  const pick = gate.pick();
  if ('closed' in pick) {
    causality.doubt();
    return false;
  }
  worker.backend(cluster).position.ask(causality.flavor, pick.node, profile, (position) => {
    if (position === null || !causality.resolve(position)) causality.doubt();
    then();
  });
  return true;
}

/** What a statement is put as instead. */
export interface Became {
  packet: Packet;
  request: ServerRequest;
}

/**
 * Where a transaction is read on a replica (the tether's way), and its client begins the next without a word of its end: that one is not to be read
 * where, or as of when, the last one was. True: the last one ends first, and `then` is called, later.
 */
export function endsAside(client: Client, request: ServerRequest, then: (became: Became | null) => void): boolean {
  const { link, session, tether } = client;
  const { flags, kind } = request.sql;
  if (link === null || !session.inTransaction) return false;
  if (kind !== 'begin' && !(flags.chain && (kind === 'commit' || kind === 'rollback'))) return false;
  link.lastSession = null;
  const ok: QuietCommand['ok'] = (answer, changes) => session.learn(answer, changes);
  runQuietly(link, [{ packet: link.query(verb('COMMIT')), what: 'commit', ok }], (result) => {
    if (result.kind === 'error') link.lose({ kind: 'closed', detail: result.err.message });
    session.transactionEnded();
    tether.guard?.forget();
    tether.forgetLostTransaction();
    const became = asBefore(client, request);
    tether.settle();
    if (!tether.waitsToBeRead(() => then(became))) then(became);
  });
  return true;
}

/** What is chained to a read-only transaction is read-only; to MySQL so is what begins behind one and does not say. Null: it says. */
function asBefore({ capabilities, cluster, session, worker }: Client, { sql, text }: ServerRequest): Became | null {
  const flavor = worker.flavor(cluster);
  const words = text?.toString('latin1') ?? '';
  if (sql.kind === 'begin' && (flavor === 'mariadb' || sql.flags.readOnly || READ_WRITE.test(words))) return null;
  const snapshot = sql.kind === 'begin' && /\bconsistent\b/i.test(words) ? ' WITH CONSISTENT SNAPSHOT,' : '';
  const packet = asPacket(queryPacket(`START TRANSACTION${snapshot} READ ONLY`, capabilities));
  return { packet, request: readRequest(packet, session, flavor, capabilities) as ServerRequest };
}

const ask = (link: ServerConnection, sql: string, take: (value: string) => void): QuietCommand => ({
  packet: link.query(sql),
  what: 'causal',
  row: (answer) => take(answer?.values[0] ?? ''),
  failed: () => take(''),
});

/** What a primary has come to. */
export function addQuestion(link: ServerConnection, { commands }: BringUp, causality: Causality): void {
  commands.push(ask(link, askPosition(causality.flavor), (text) => causality.resolve(text)));
}

export interface WaitFor {
  client: Client;
  pool: NodePool;
  causality: Causality;
  missing: string;
  /** It shares its connection. */
  shareable: boolean;
  onReached: () => void;
}

/** The wait for what is missing, as the last thing ahead of the read. */
export function addWait(link: ServerConnection, ahead: BringUp, { client, shareable, ...more }: WaitFor): Wait {
  const { pool, causality, missing, onReached } = more;
  const { worker, gate } = client;
  const { incarnation } = pool;
  const wait: Wait = { behind: false };
  // A read that shares its connection can be let go where it is; for all else the answer is awaited.
  ahead.sure &&= shareable;
  ahead.sureForReads &&= shareable;
  const sql = waitFor(causality.flavor, missing, gate.split?.causalTimeoutMs ?? 0);
  const take = (value: string): void => {
    wait.behind = value !== '0';
    worker.count('causal_waits', wait.behind ? 'behind' : 'reached');
    if (wait.behind) pool.behindUntilMs = worker.nowMs() + BEHIND_MS;
    else {
      causality.reached(pool, incarnation, missing);
      onReached();
    }
  };
  ahead.commands.push(ask(link, sql, take));
  return wait;
}
