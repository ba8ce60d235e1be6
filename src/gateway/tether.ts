// What ties a session to server connections: the one that it holds, the one that it used last, what it lost with one.
// It brings a connection up to what the session has built up, and gives it back when nothing holds it any more.
import type { NodeAddress } from '../messages/index.ts';
import type { StatementKind } from '../sql/index.ts';
import { Command, commandPacket, type ErrPacket } from '../wire/index.ts';
import { type Aftermath, readAftermath } from './aftermath.ts';
import {
  type BringUp,
  type BringUpOptions,
  bringUp,
  type Obstacle,
  readBack,
  readInsertId,
  recycle,
  type Warned,
} from './bring-up.ts';
import type { Client } from './client.ts';
import type { ServerRequest } from './command.ts';
import type { DigestGroup } from './digests.ts';
import { gatewayError } from './errors.ts';
import type { GatewayWorker } from './gateway.ts';
import { Guard, verb } from './in-flight/index.ts';
import type { Lane, LinkOwner, LinkRequest, NodePool } from './pool.ts';
import type { LogicalStatement, StatementShape } from './prepared.ts';
import { runQuietly } from './quiet.ts';
import { describeLoss, type LoginProfile, type Loss, type ServerConnection } from './server-connection.ts';
import type { Hold, PreparedStatement, SessionState } from './session.ts';
import type { Way } from './split.ts';

/** What the next statement is told. `rolledBack`: it asked for just that. */
export type LostState = { error: ErrPacket } | { rolledBack: true };

/** How long after a statement its warnings stand at the server for sure: most who ask for them ask at once. */
const GRACE_MS = 200;
const NOTHING: readonly [] = [];

export class Tether implements LinkOwner {
  /** The server connection that the session holds; null between transactions. */
  link: ServerConnection | null = null;
  /** Where it is. */
  way: Way = 'primary';
  /** The one that it held or shared last. */
  lastLink: ServerConnection | null = null;
  lane: Lane | null = null;
  /** Null where writes in flight are not kept: see in-flight/. */
  guard: Guard | null = null;
  /** What the last statement left on a connection that the session has not any more. */
  aftermath: Aftermath | null = null;
  /** Where its statements are counted. */
  digests: DigestGroup | null = null;
  #client: Client;
  #pool: NodePool | null = null;
  #readingBack = false;
  /** A statement that waits until what is read back is known. */
  #onceRead: (() => void) | null = null;
  #transactionLost: string | null = null;
  #lostPins: Hold[] = [];
  /** The last read, where it left warnings behind on a connection that others have used since. */
  #warned: Warned = null;
  /** Since when the session does nothing with the connection that it holds. */
  #idleSinceMs = 0;
  /** What the connection is given up for is being read; a statement that came meanwhile goes on behind it. */
  #givingWay: { next: (() => void) | null } | null = null;

  constructor(client: Client) {
    this.#client = client;
  }

  get session(): SessionState {
    return this.#client.session;
  }

  get worker(): GatewayWorker {
    return this.#client.worker;
  }

  // ---- taking one -----------------------------------------------------------------------------------------------

  take(link: ServerConnection, way: Way): void {
    this.link = link;
    this.way = way;
  }

  /** The pool of a node, and in it this client's lane. */
  poolOf(node: NodeAddress): NodePool {
    const pool = this.#pool;
    if (pool !== null && pool.node === node && this.lane?.gone === false) return pool;
    const found = this.worker.pool(this.#client.cluster, node);
    this.#pool = found;
    this.lane = found.lane(this.#client.profile as LoginProfile, this.#client.profileKey);
    return found;
  }

  /** The pool that a connection was asked of last. */
  get pool(): NodePool | null {
    return this.#pool;
  }

  /** The node that a connection was asked for last. */
  get poolNode(): NodeAddress {
    return this.#pool?.node ?? '';
  }

  /** A replica does not take the account, or what its session has built up. */
  refusedBy(node: NodeAddress): void {
    this.worker.pool(this.#client.cluster, node).refuses(this.#client.profileKey, this.worker.nowMs());
  }

  cancel(request: LinkRequest): void {
    this.#pool?.cancel(request);
  }

  bringUp(link: ServerConnection, request: ServerRequest, shareable: boolean): BringUp | Obstacle {
    const { session } = this;
    const { guard } = this;
    const opening = guard?.opening ?? NOTHING;
    const ahead = bringUp(link, { session, request, shareable, warned: this.#warned, opening }, this.#options);
    if (opening.length > 0 && 'commands' in ahead) guard?.opened();
    return ahead;
  }

  get #options(): BringUpOptions {
    return this.worker.backend(this.#client.cluster).bringUp;
  }

  /** A statement that is ours was prepared on the link. */
  addPrepared(link: ServerConnection, logical: LogicalStatement, id: number): void {
    const { maxPreparedPerConnection } = this.worker.settings.pool;
    for (const old of link.prepared.add(logical, id, maxPreparedPerConnection)) link.closeStatement(old);
  }

  /** Of a statement that its client closes, and others go on with. */
  closeCursor({ id, logical }: PreparedStatement): void {
    const { link, session } = this;
    if (link === null || !session.namesOf('cursor').has(String(id))) return;
    session.unpin('cursor', String(id));
    const prepared = link.prepared.get(logical);
    if (prepared === undefined) return;
    const own = Buffer.alloc(4);
    own.writeUInt32LE(prepared.id);
    runQuietly(
      link,
      [{ packet: commandPacket(Command.STMT_RESET, own), what: 'a cursor', failed: () => {} }],
      () => {},
    );
  }

  /** The server has no room for another one. True: some were closed. */
  shedPrepared(link: ServerConnection): boolean {
    // An open cursor is its statement's.
    const kept = this.link === link && this.session.pins.has('cursor');
    const closed = this.worker.pool(this.#client.cluster, link.node).shedPrepared(kept ? null : link);
    if (closed > 0) this.worker.count('prepared_shed', '');
    return closed > 0;
  }

  /** What the client prepares. */
  logical(packet: Buffer, text: Buffer, shape: StatementShape): LogicalStatement {
    return this.worker.statements.find(packet, text, this.session.state, shape);
  }

  /** The last statement's warnings can be had by running it again. */
  get mayRunAgain(): boolean {
    return this.#warned !== null;
  }

  /** Its warnings can be had again by running it again. Null: there are none any more. */
  rememberWarned(warned: Warned): void {
    this.#warned = warned;
  }

  fetchInsertId(from: ServerConnection, callback: () => void): void {
    const { session } = this;
    runQuietly(from, [readInsertId(from, session)], (result) => {
      if (result.kind !== 'done' && session.insertIdOn === from) session.loseInsertId();
      from.lastSession = null;
      callback();
    });
  }

  /** The link will not do; a shared one is left to the strangers on it. */
  giveUp(link: ServerConnection): void {
    // What was set on it before that failed is not what it is taken to have.
    link.lose({ kind: 'closed', detail: 'its state could not be restored' });
  }

  /** What the server did not take of the session's state. True: the session has been changed, another try may do. */
  couldNotRestore(what: string, err: ErrPacket): boolean {
    // The schema was dropped: to its session it is as if none were chosen.
    if (what === `default schema ${this.session.state.schema}` && err.errno === 1049) {
      this.session.chooseSchema(null);
      return true;
    }
    const variables = /^session variables (.+)$/.exec(what)?.[1];
    if (variables === undefined) return false;
    for (const name of variables.split(', ')) this.#options.accepted.withoutDefault.add(name);
    return true;
  }

  // ---- giving it back -------------------------------------------------------------------------------------------

  /** Between statements: the server connection is given back, if nothing holds it. */
  settle(): void {
    const { session, link } = this;
    if (link === null) return;
    if (this.#readingBack) return;
    if (session.needsReadBack) {
      this.#readingBack = true;
      return readBack(link, session, (read) => {
        const next = this.#onceRead;
        this.#onceRead = null;
        if (this.link === link) {
          this.#readingBack = false;
          if (!read) session.giveUpReadingBack();
          if (this.#client.statement === null) this.settle();
        }
        next?.();
      });
    }
    if (session.hold !== null || !link.ready) {
      this.#idleSinceMs = this.worker.nowMs();
      return;
    }
    if (this.#owes(link)) {
      this.#readingBack = true;
      return this.#clean(link, () => {
        if (link.scanner.inTransaction) link.lose({ kind: 'closed', detail: 'a transaction stays open on it' });
        if (this.link !== link) return;
        this.#readingBack = false;
        if (this.#client.statement === null) this.settle();
      });
    }
    this.link = null;
    this.worker.pool(this.#client.cluster, link.node).release(link, true);
  }

  /** True: what the session has left on its connection is being read back, and `next` is called when that is known, or lost. */
  waitsToBeRead(next: () => void): boolean {
    if (!this.#readingBack || !this.session.unread) return false;
    this.#onceRead = next;
    return true;
  }

  /** It is not for others as it is: something is open on it, or may be. */
  #owes(link: ServerConnection): boolean {
    return this.session.halfBegun || this.guard?.owes(link) === true || link.scanner.inTransaction;
  }

  /** Nothing that anybody knows of is open on the link: then nothing shall be. */
  #clean(link: ServerConnection, callback: () => void): void {
    this.session.halfBegun = false;
    if (this.guard !== null) return this.guard.clean(link, callback);
    link.lastSession = null;
    runQuietly(link, [{ packet: link.query(verb('ROLLBACK')), what: 'rollback' }], (result) => {
      if (result.kind === 'error') link.lose({ kind: 'closed', detail: `rollback: ${result.err.message}` });
      callback();
    });
  }

  /**
   * Others wait for the connection. What the session keeps it for is read first where that can be had in other ways;
   * locks, transactions and their like cannot.
   */
  giveWay(nowMs: number): boolean {
    if (this.#givingWay !== null) return true;
    const { link, session } = this;
    if (link === null || this.#client.statement !== null || this.#readingBack || link.busy || !link.ready) return false;
    const { hold } = session;
    if ((hold !== 'diagnostics' && hold !== 'counts') || nowMs - this.#idleSinceMs < GRACE_MS) return false;
    this.worker.count('gave_way', hold);
    const giving = { next: null };
    this.#givingWay = giving;
    this.#readingBack = true;
    readAftermath(link, session, this.#client.capabilities, (aftermath) => this.#gaveWay(link, giving, aftermath));
    return true;
  }

  #gaveWay(link: ServerConnection, giving: { next: (() => void) | null }, aftermath: Aftermath | null): void {
    this.#givingWay = null;
    this.#readingBack = false;
    if (this.link === link && aftermath !== null) {
      this.session.diagnostics = false;
      this.session.calcFoundRows = false;
      this.aftermath = aftermath;
    }
    if (giving.next !== null) giving.next();
    else if (this.#client.statement === null) this.settle();
  }

  /** True: the connection is being given up, and `next` is called as soon as that is done. */
  waitsToGiveWay(next: () => void): boolean {
    if (this.#givingWay === null) return false;
    this.#givingWay.next = next;
    return true;
  }

  /** The client leaves; `between`: between statements. */
  leave(between: boolean): void {
    this.session.loseInsertId();
    this.guard?.forget();
    const { link } = this;
    if (link === null) return;
    this.link = null;
    this.#giveBack(link, between && !this.#readingBack);
  }

  /** The session begins anew: nothing of the old one is to be told. */
  forget(): void {
    this.guard?.forget();
    this.dropLink('the session was reset', true);
    this.#transactionLost = null;
    this.#lostPins = [];
    this.#warned = null;
    this.aftermath = null;
  }

  /** Another account, or the first: its lane is another one. */
  changeLane(): void {
    this.lane = null;
    this.#pool = null;
    const { endpoint, gate } = this.#client;
    this.guard = endpoint.inFlight === 'exactly-once' && gate.wantsPrimary ? new Guard(this.#client) : null;
  }

  #giveBack(link: ServerConnection, between: boolean): void {
    const pool = this.worker.pool(this.#client.cluster, link.node);
    const { hold } = this.session;
    const clean = !this.#owes(link) && (hold === null || hold === 'diagnostics' || hold === 'counts');
    if (between && !link.busy && clean && !this.session.unread) {
      return pool.release(link, true);
    }
    if (!between || link.busy || !link.ready) return pool.release(link, false);
    recycle(link, this.#options, () => pool.release(link, true));
  }

  /**
   * Gives the link back; what was open or pinned on it is lost, and the next statement is told, unless that is `wanted`.
   */
  dropLink(reason: string, wanted = false): void {
    const { link } = this;
    if (link === null) return;
    this.link = null;
    const fit = link.ready && (wanted || this.session.hold === null);
    if (fit) this.#giveBack(link, true);
    else this.worker.pool(this.#client.cluster, link.node).release(link, false);
    this.#unlink(reason);
  }

  #unlink(reason: string): void {
    this.link = null;
    this.#readingBack = false;
    const { session } = this;
    const kept = this.guard?.linkGone() ?? false;
    if (session.inTransaction && !kept) {
      // A branch may be prepared, and stay: what is lost is the connection.
      if (!session.pins.has('xa')) this.#transactionLost = reason;
      session.transactionEnded();
    }
    if (!kept) session.halfBegun = false;
    if (session.dirtyVariables.size > 0 && !kept) session.pin('user-variable');
    if (session.collationUnknown && !kept) session.pin('unknown-effect');
    session.collationUnknown = false;
    this.#lostPins.push(...session.pins);
    session.clearPins();
    session.uncertain = false;
    session.routineFailed = false;
    session.savepoint = false;
    session.oneShotOn = null;
    if (session.oneShotDoubtful) {
      session.oneShot = null;
      session.oneShotDoubtful = false;
      this.#lostPins.push('one-shot-transaction');
    }
    if (session.diagnostics) this.aftermath = { warnings: null };
    if (session.calcFoundRows) session.foundRows = -1;
    session.diagnostics = false;
    session.calcFoundRows = false;
  }

  linkLost(connection: ServerConnection, loss: Loss): void {
    if (this.link === connection) this.#unlink(describeLoss(loss));
  }

  /** The node is no longer the one to talk to. */
  leaveNode(reason: string): void {
    const link = this.#client.activeLink;
    if (link === null) return;
    if (link.busy) link.lose({ kind: 'closed', detail: reason });
    else this.dropLink(reason);
  }

  /** What user variables had become in a transaction went with its server. */
  loseVariables(): void {
    this.#lostPins.push('user-variable');
  }

  forgetLostTransaction(): void {
    this.#transactionLost = null;
  }

  /** What the session lost since its last statement, once. */
  takeLostState(next: StatementKind): LostState | null {
    const reason = this.#transactionLost;
    if (reason === null && this.#lostPins.length === 0) return null;
    if (reason !== null) {
      this.#transactionLost = null;
      return next === 'rollback' ? { rolledBack: true } : { error: gatewayError('transaction-lost', reason) };
    }
    const what = [...new Set(this.#lostPins)].join(', ');
    this.#lostPins = [];
    if (next === 'xa' && what === 'xa') return null;
    return { error: gatewayError('state-lost', what) };
  }
}
