// A statement's way through the data plane, top to bottom, one step a method:
//   route (of `route: auto` perhaps aside, to a replica) → hold if the way is closed → link (take a server connection, or a share of one) → bring up (its session state)
//   → send → forward the answer → learn from it → finish (give the connection back).
// `lost` decides what happens when the server goes away at any of these steps.
import type { HoldReason, NodeAddress } from '../messages/index.ts';
import { asPacket, Command, commandPacket, type ErrPacket, encodeErr, frame, type Packet } from '../wire/index.ts';
import { defers, fromAftermath, keepsWarningsOf } from './answered-here.ts';
import { addQuestion, addWait, asksAhead, asksPrimary, endsAside, replicaFor, type Wait } from './aside.ts';
import type { BringUp } from './bring-up.ts';
import type { Client } from './client.ts';
import { passedRequest, type ServerRequest } from './command.ts';
import { gatewayError } from './errors.ts';
import { isShutdown } from './evidence.ts';
import { type Course, Flight, INTERRUPTED, type Passenger, TOO_MANY_PREPARED, type Unfit } from './flight.ts';
import type { Waiter } from './hold.ts';
import { CHOOSES_GTID, endOf, type Guarded, mayWrite } from './in-flight/index.ts';
import type { Inbox } from './inbox.ts';
import { killVictim } from './kill.ts';
import { killThread } from './kill-thread.ts';
import { changed, type LinkState } from './link-state.ts';
import { outcomeOfLoss } from './outcome.ts';
import type { Lane, LinkOwner, LinkRequest, NodePool } from './pool.ts';
import type { LinkStatement } from './prepared.ts';
import { type QuietResult, runQuietly } from './quiet.ts';
import type { Pick } from './routes.ts';
import { describeLoss, type Loss, type ServerConnection } from './server-connection.ts';
import { staysOnReplica, type Way } from './split.ts';
import { numberMayBeTaken } from './taken-number.ts';
import { NO_TERMS, type Terms, termsOf } from './terms.ts';

/** How often one statement is tried on servers that then turn out not to take it. The hold's time-out is the real bound. */
const MAX_TRIES = 20;
/** How often room is made for a statement to be prepared, and what the server is given for it, each time once more. */
const MAX_SHEDS = 4;
const ROOM_MS = 10;
/** How many replicas are tried for one read before it goes to the primary. */
const MAX_ASIDE = 3;
/** Longer statements share a server connection with nobody. */
const MAX_SHARED_BYTES = 16 * 1024;
/** Why a replica's connection is given up. */
const MOVES = 'the transaction moves to the primary';
/** How often a statement is stopped whose time is over. */
const OVERDUE_AGAIN_MS = 250;

function noCursor(id: number, end: string): ErrPacket {
  return { errno: 1421, sqlState: 'HY000', message: `The statement (${id}) has no open cursor${end}` };
}

type Step = 'new' | 'ending' | 'asking' | 'holding' | 'linking' | 'guarded' | 'bringing-up' | 'sent' | 'done';

export class Statement implements Waiter, LinkRequest, Passenger, Guarded {
  readonly client: Client;
  packet: Packet;
  request: ServerRequest;
  readonly arrivedMs: number;
  /** From its arrival, or the last loss in a transaction that is kept. */
  #waitsSinceMs: number;
  lane: Lane;
  shareable = false;
  way: Way = 'primary';
  #terms: Terms = NO_TERMS;
  #timer: NodeJS.Timeout | undefined;
  /** By a KILL that came before it was sent. */
  #stopped = false;
  /** KILLs of it that are on their way. */
  #kills = 0;
  /** It has had its answer, and waits for them. */
  #finishes = false;
  /** How often it was sent to a replica, and did not stay there. */
  #aside = 0;
  /** What it waits for on the replica that it is on. */
  #wait: Wait | null = null;
  /** The replica's that has. What others write meanwhile is no concern of this statement. */
  #awaited: NodePool | null = null;
  /** Nobody is to stand behind it on its connection: it waits there. */
  #alone = false;
  #step: Step = 'new';
  #tries = 0;
  #sheds = 0;
  #renumbered = false;
  #link: ServerConnection | null = null;
  #flight: Flight | null = null;
  #wasHeld = false;
  #quiet: ((err: ErrPacket | null) => void) | null = null;
  #quietError: ErrPacket | null = null;
  #failed = false;
  /** Nothing is sent ahead unseen any more: it failed once. */
  #careful = false;
  /** The transaction begins with it: BEGIN goes ahead of it. */
  begins = false;
  committed = false;

  constructor(client: Client, packet: Packet, request: ServerRequest) {
    this.client = client;
    this.packet = packet;
    this.request = request;
    this.arrivedMs = client.worker.nowMs();
    this.#waitsSinceMs = this.arrivedMs;
    this.lane = client.tether.lane as Lane;
  }

  get bytes(): number {
    return this.packet.raw.length;
  }

  get rerunnable(): boolean {
    return this.request.sql.rerunnable;
  }

  get takesFile(): boolean {
    return this.#step === 'sent' && this.#flight?.file === 'sending';
  }

  get silent(): boolean {
    return this.#quiet !== null;
  }

  get course(): Course {
    return this.client.tether.guard?.courseOf(this.shareable) ?? 'plain';
  }

  get over(): boolean {
    return this.#step === 'done';
  }

  get mayRetry(): boolean {
    return this.#tries < MAX_TRIES;
  }

  /** The server connection that it is on, its own or shared. */
  get link(): ServerConnection | null {
    return this.#link;
  }

  // ---- as the pool sees it --------------------------------------------------------------------------------------

  get wanted(): LinkState {
    const { state } = this.client.session;
    const { command } = this.request;
    return command === Command.INIT_DB ? changed(state, { schema: this.packet.payload.toString('utf8', 1) }) : state;
  }

  get expectedUs(): number {
    const { costSlot } = this.request;
    if (this.#alone) return -1;
    return costSlot < 0 ? -1 : this.client.worker.costs.expectedUs(costSlot);
  }

  get prefer(): ServerConnection | null {
    const { tether, session } = this.client;
    return this.request.sql.flags.asksConnection ? (session.wroteOn as ServerConnection | null) : tether.lastLink;
  }

  get group(): string {
    return this.client.group;
  }

  get deadlineMs(): number {
    return this.#waitsSinceMs + this.client.worker.settings.hold.timeoutMs;
  }

  get owner(): LinkOwner {
    return this.client.tether;
  }

  /** COM_INIT_DB as part of a login: its answer is not the client's. */
  static selectSchema(client: Client, schema: string, callback: (err: ErrPacket | null) => void): Statement {
    const statement = Statement.passThrough(client, asPacket(commandPacket(Command.INIT_DB, schema)));
    statement.#quiet = callback;
    return statement;
  }

  /** Sent as it came, without a look at its text. */
  static passThrough(client: Client, packet: Packet): Statement {
    return new Statement(client, packet, passedRequest(packet.payload[0] as number));
  }

  start(): void {
    if (!this.client.tether.waitsToGiveWay(() => this.#begin())) this.#begin();
  }

  #begin(): void {
    if (this.#step === 'done') return; // its client left
    if (this.#endsAside()) return;
    const { session, tether, gate, rules } = this.client;
    const lost = tether.takeLostState(this.request.sql.kind);
    if (lost !== null) return 'rolledBack' in lost ? this.#answerOk() : this.#fail(lost.error);
    if (this.#askedBefore()) return;
    if (this.client.tether.guard?.forgoes(this.request) === true) return this.#answerOk();
    const { sql, command } = this.request;
    if (!sql.flags.asksPrevious && command !== Command.STMT_FETCH) {
      session.diagnostics &&= keepsWarningsOf(this.client, this.request);
      session.calcFoundRows &&= command === Command.STMT_PREPARE; // which may be to ask for it
    }
    if (gate.split !== null || rules !== null) {
      this.#terms = termsOf(this.client, this.request, this.packet);
      const { limitMs, refusal } = this.#terms;
      if (refusal !== null) return this.#fail(refusal);
      if (limitMs !== null) this.#timer = setTimeout(() => this.#overdue(), limitMs);
    }
    if (defers(this.client, this.request)) return this.#finish();
    // What a COMMIT makes permanent was noted when it was written.
    session.causality?.begins(sql.kind !== 'commit' && mayWrite(this.request));
    if (!this.#asksAhead()) this.#route();
  }

  /** True: it asks for what the statement before has left on a connection that is gone, and was told. */
  #askedBefore(): boolean {
    const { aftermath } = this.client.tether;
    const answered = aftermath === null ? null : fromAftermath(this.client, this.request, aftermath);
    if (answered === null) return false;
    if ('error' in answered) this.#fail(answered.error);
    else this.#finish();
    return true;
  }

  #asksAhead(): boolean {
    if (this.client.gate.split?.causal !== 'global' || this.#terms.route === 'primary') return false;
    const asks = asksAhead(this.client, this.request, () => {
      if (this.#step === 'asking') this.#route();
    });
    if (asks) this.#step = 'asking';
    return asks;
  }

  /** True: the transaction that is read on a replica ends first; then this one begins. */
  #endsAside(): boolean {
    if (this.client.tether.way !== 'replica') return false;
    const ends = endsAside(this.client, this.request, (became) => {
      if (this.#step !== 'ending') return; // its client left
      if (became !== null) Object.assign(this, became);
      this.#step = 'new';
      this.#begin();
    });
    if (ends) this.#step = 'ending';
    return ends;
  }

  /** Where nothing of it was sent. True: its client has been told that it is stopped. */
  #stopsWaiting(): boolean {
    const { gate, tether } = this.client;
    switch (this.#step) {
      case 'holding':
        this.client.held(false);
        gate.hold.abandon(this);
        break;
      case 'linking':
        tether.cancel(this);
        break;
      case 'asking':
        break;
      default:
        return false;
    }
    this.#fail(INTERRUPTED);
    return true;
  }

  /** A rule's time for it is over. */
  #overdue(): void {
    if (this.#stopsWaiting()) return;
    if (this.#step === 'sent' && !this.#finishes) killVictim(this.client.worker, this.client, true, this.client);
    // Until it has ended: it may be sent again meanwhile.
    if (!this.over) this.#timer = setTimeout(() => this.#overdue(), OVERDUE_AGAIN_MS);
  }

  // ---- route ----------------------------------------------------------------------------------------------------

  #route(): void {
    const { link, session, gate, tether } = this.client;
    // An open transaction stays where it is; a switchover lets it come to its end.
    if (link !== null && session.inTransaction) {
      this.way = tether.way;
      if (this.way === 'primary' || staysOnReplica(this.request)) return this.#linked(link);
      // Not for a replica: the transaction is run again on the primary, and goes on there.
      link.lose({ kind: 'closed', detail: MOVES });
    }
    if (this.#goesAside()) return;
    if (!gate.hold.passes) return this.#hold();
    this.release();
  }

  /** Of `route: auto`: what may leave the primary goes to a replica, also while the way to the primary is closed. */
  #goesAside(): boolean {
    this.way = 'primary';
    const node = this.#replica();
    if (node === null) return false;
    const { link, tether } = this.client;
    this.way = 'replica';
    if (link !== null) {
      if (link.node === node) {
        this.#linked(link);
        return true;
      }
      tether.dropLink('elsewhere', true);
    }
    this.#acquire(node);
    return true;
  }

  #replica(): NodeAddress | null {
    const { gate } = this.client;
    if (gate.split === null || this.#quiet !== null || this.#aside >= MAX_ASIDE) return null;
    const { route } = this.#terms;
    if (route === 'primary') return null;
    return replicaFor(this.client, this.request, gate.staysUnlessRuled && route === null);
  }

  /** What the replica must have executed before it runs this; null where it is known to have, or where it does not matter. */
  #missing(pool: NodePool | null): string | null {
    const { causality, inTransaction } = this.client.session;
    if (this.way === 'primary' || causality === null || pool === null || inTransaction) return null;
    return pool === this.#awaited ? null : causality.missing(pool);
  }

  // ---- hold -----------------------------------------------------------------------------------------------------

  #hold(): void {
    this.#step = 'holding';
    this.#wasHeld = true;
    this.#link = null;
    this.#detach();
    this.client.held(true);
    const { gate, worker } = this.client;
    gate.hold.enter(this, this.#waitsSinceMs, worker.nowMs());
  }

  /** A statement that waits must not keep the 64 KiB alive that it arrived in. */
  #detach(): void {
    const { raw } = this.packet;
    if (raw.buffer.byteLength <= 2 * raw.length) return;
    const copy = Buffer.allocUnsafeSlow(raw.length);
    raw.copy(copy);
    const payload = this.packet.payload.length + 4 === raw.length ? copy.subarray(4) : this.packet.payload;
    this.packet = { ...this.packet, raw: copy, payload };
  }

  release(): void {
    if (this.#step === 'holding') {
      this.client.held(false);
      if (this.#goesAside()) return;
    }
    const { gate } = this.client;
    const last = this.client.tether.lastLink?.node ?? null;
    let pick = gate.pick(last);
    // One that refuses the account is asked again where no other is there.
    if ('node' in pick && !gate.wantsPrimary && !this.#takesAccount(pick.node)) {
      const other = this.#pickAnother(last);
      if ('node' in other) pick = other;
    }
    if ('closed' in pick) {
      gate.hold.close(pick.closed, this.client.worker.nowMs());
      return this.#hold();
    }
    const { link } = this.client;
    if (link !== null) {
      const { way } = this.client.tether;
      if (way === 'primary' && gate.admits(link.node, way)) return this.#linked(link);
      this.client.tether.dropLink('the route changed', way === 'replica');
      if (this.#askedBefore()) return;
    }
    // What was pinned to a connection that is gone is gone; that is said before anything runs without it, or with the next statement.
    if (!this.committed && this.client.tether.guard?.inDoubt !== true) {
      const lost = this.client.tether.takeLostState(this.request.sql.kind);
      if (lost !== null) return 'rolledBack' in lost ? this.#answerOk() : this.#fail(lost.error);
    }
    this.#acquire(pick.node);
  }

  refuse(exit: 'timed-out' | 'evicted-count' | 'evicted-bytes', reason: HoldReason, waitedMs: number): void {
    this.client.held(false);
    this.client.worker.impact(this.client.gate).stalled(waitedMs);
    const code = exit === 'timed-out' ? 'hold-timeout' : 'hold-full';
    const bound = exit === 'evicted-count' ? ', hold.maxStatements' : exit === 'evicted-bytes' ? ', hold.maxBytes' : '';
    this.#fail(gatewayError(code, `${reason} for ${Math.round(waitedMs)} ms${bound}`));
  }

  // ---- link -----------------------------------------------------------------------------------------------------

  #acquire(node: string): void {
    const pool = this.client.tether.poolOf(node);
    this.lane = this.client.tether.lane as Lane;
    this.shareable = this.#mayShare();
    this.#alone = this.#missing(pool) !== null;
    const link = pool.take(this);
    if (link !== null) return this.#taken(link);
    this.#step = 'linking';
    pool.wait(this);
  }

  /** A read that neither its order nor its connection matters to. */
  #mayShare(): boolean {
    const { session, link, worker } = this.client;
    const { sql, command, executesPlainly } = this.request;
    if (
      !sql.rerunnable ||
      sql.flags.calcFoundRows ||
      link !== null ||
      !worker.settings.pool.pipelining ||
      this.#quiet !== null
    )
      return false;
    if (session.begun && command !== Command.STMT_PREPARE) return false;
    if (session.hold !== null || !session.autocommit || this.packet.raw.length > MAX_SHARED_BYTES) return false;
    if (command === Command.STMT_EXECUTE) return executesPlainly;
    return command === Command.QUERY || command === Command.STMT_PREPARE;
  }

  /** The pool found one, after a wait. */
  onLink(link: ServerConnection): void {
    const { gate, worker } = this.client;
    // The way may have been closed, or lead elsewhere, since the connection was asked for.
    const open = this.way === 'replica' || !('closed' in gate.pick());
    if (this.#step === 'linking' && open && gate.admits(link.node, this.way)) return this.#taken(link);
    worker.pool(this.client.cluster, link.node).release(link, true);
    if (this.#step === 'linking') this.#again();
  }

  #taken(link: ServerConnection): void {
    if (!this.shareable) this.client.tether.take(link, this.way);
    this.#linked(link);
  }

  onTimeout(error: ErrPacket): void {
    if (!this.#leavesAside(false)) this.#fail(error);
  }

  /**
   * The replica does not take it, for a reason that need not be the primary's. True: it is on its way there. `lasting`: it
   * would take no read of this account soon.
   */
  #leavesAside(lasting = true): boolean {
    const { tether, session } = this.client;
    if (this.way === 'primary' || session.inTransaction) return false;
    if (lasting) tether.refusedBy(tether.poolNode);
    this.#aside = MAX_ASIDE;
    this.#goesOn();
    return true;
  }

  onLoss(loss: Loss): void {
    if (this.#step !== 'linking') return;
    if ((loss.kind === 'refused' || loss.kind === 'protocol') && this.#leavesAside()) return;
    switch (loss.kind) {
      case 'refused':
        return this.#refused(loss.err);
      case 'protocol':
        return this.#fail(gatewayError('server-protocol', loss.detail));
      case 'connect-failed':
      case 'connection-lost':
        this.client.suspect(this.client.tether.poolNode, 'connect-failed', loss.detail);
        return this.#again();
      case 'shutdown':
        this.client.suspect(this.client.tether.poolNode, 'shutdown', loss.detail);
        return this.#again();
      case 'closed':
        return this.#again();
    }
  }

  /** Of replicas, or fixed members, another one may take the account. */
  #refused(err: ErrPacket): void {
    const { gate, tether } = this.client;
    if (gate.wantsPrimary) return this.#fail(err);
    tether.refusedBy(tether.poolNode);
    if ('closed' in this.#pickAnother(null)) return this.#fail(err);
    this.#again();
  }

  #takesAccount(node: NodeAddress): boolean {
    const { cluster, profileKey, worker } = this.client;
    return worker.pool(cluster, node).takes(profileKey, worker.nowMs());
  }

  #pickAnother(last: NodeAddress | null): Pick {
    return this.client.gate.pick(last, (node) => this.#takesAccount(node));
  }

  // ---- bring up -------------------------------------------------------------------------------------------------

  #linked(link: ServerConnection): void {
    this.#link = link;
    const { guard } = this.client.tether;
    if (guard !== null && !this.shareable && !this.silent && guard.concerns(this.request)) guard.linked(link, this);
    else this.proceed(link);
  }

  proceed(link: ServerConnection): void {
    this.#link = link;
    this.#wait = null;
    const { session, tether } = this.client;
    const { guard } = tether;
    const { statement, plain, command } = this.request;
    const prepared = statement === null ? null : link.prepared.get(statement.logical);
    if (prepared === undefined && this.request.command === Command.STMT_RESET) {
      this.client.answerOk();
      return this.#finish();
    }
    if (command === Command.STMT_FETCH && (prepared === undefined || !this.#hasCursor)) {
      // In the server's words: a cursor that is open keeps its connection.
      const end = this.client.worker.flavor(this.client.cluster) === 'mysql' ? '.' : '';
      return this.#fail(noCursor(statement?.id ?? 0, end));
    }
    // The usual case: the connection is as the session wants it.
    const opens = guard !== null && guard.opening.length > 0;
    const waits = this.#asks || this.#missing(this.client.tether.pool) !== null;
    if (plain && link.state === session.state && prepared !== undefined && !opens && !waits) {
      const rescue =
        !this.shareable && link.insertIdOf !== null && (link.insertIdOf !== session || session.insertIdBefore !== null);
      const oneShot = session.oneShot !== null && session.oneShotOn !== link;
      if (!rescue && !oneShot && (!session.begun || command === Command.STMT_PREPARE))
        return this.#send(link, prepared);
    }
    this.#bringUp(link);
  }

  /** Of its own: others may have left one open on the same connection. */
  get #hasCursor(): boolean {
    const names = this.client.session.namesOf('cursor');
    return names.has(String(this.request.statement?.id)) || names.has('*');
  }

  #bringUp(link: ServerConnection): void {
    const ahead = this.client.tether.bringUp(link, this.request, this.shareable);
    if ('fetchFrom' in ahead) return this.#fetchInsertId(link, ahead.fetchFrom);
    if ('unreachable' in ahead) {
      this.client.tether.giveUp(link);
      return this.#again();
    }
    if ('error' in ahead) return this.#fail(ahead.error);
    if (ahead.packet !== null) this.packet = ahead.packet;
    this.begins ||= ahead.begins;
    const { statement } = this.request;
    const wait = this.#addCausality(link, ahead);
    this.#wait = wait;
    const sure = !this.#careful && (ahead.sure || (this.rerunnable && ahead.sureForReads));
    if (sure) {
      if (ahead.commands.length > 0) runQuietly(link, ahead.commands, (result) => this.#afterSure(link, result, wait));
      return this.#send(link, statement === null ? null : (link.prepared.get(statement.logical) as LinkStatement));
    }
    this.#step = 'bringing-up';
    runQuietly(link, ahead.commands, (result) => this.#broughtUp(link, ahead, result, wait));
  }

  get #asks(): boolean {
    return this.way === 'primary' && asksPrimary(this.client, this.request);
  }

  /** What goes right ahead of a read, so that it is not older than it may be. */
  #addCausality(link: ServerConnection, ahead: BringUp): Wait | null {
    const { client, shareable } = this;
    const { causality } = client.session;
    const { pool } = client.tether;
    if (causality === null || pool === null) return null;
    if (this.#asks) addQuestion(link, ahead, causality);
    const missing = this.#missing(pool);
    if (missing === null) return null;
    const onReached = (): void => void (this.#awaited = pool);
    return addWait(link, ahead, { client, pool, causality, missing, shareable, onReached });
  }

  /** The replica has not come as far in time: what it says is not shown. */
  #leavesReplica(): void {
    if (this.#flight !== null && this.#step === 'sent') this.#flight.dropped = true;
    this.#goesOn();
  }

  /** To another replica, or to the primary. */
  #goesOn(): void {
    this.#aside++;
    this.#tries++;
    this.#link = null;
    this.#awaited = null;
    this.#wait = null;
    // It is nobody's transaction yet, and what it has is not needed elsewhere.
    if (this.client.link !== null) this.client.tether.dropLink('elsewhere', true);
    this.#route();
  }

  /** What was sent ahead of the statement has been answered; the statement is on its way. */
  #afterSure(link: ServerConnection, result: QuietResult, wait: Wait | null): void {
    // Sent elsewhere since, it has nothing to do with this any more.
    if (wait?.behind === true && wait === this.#wait && this.#step === 'sent') return this.#leavesReplica();
    if (result.kind !== 'error') return; // lost: the statement hears of it itself
    this.#careful = true;
    this.client.tether.guard?.refused(result.what, result.err);
    // Everything behind it on this connection ran, or will run, with a state that is not the one it should be.
    link.lose({ kind: 'closed', detail: `${result.what}: ${result.err.errno} ${result.err.message}` });
  }

  #broughtUp(link: ServerConnection, ahead: BringUp, result: QuietResult, wait: Wait | null): void {
    const { statement } = this.request;
    if (result.kind === 'done' && statement !== null && ahead.prepares === link.prepared.generation) {
      this.client.tether.addPrepared(link, statement.logical, result.statementId);
    }
    if (this.#step !== 'bringing-up') return; // its client left
    if (this.#stopped) {
      // A transaction of its own may have begun ahead of it.
      if (result.kind === 'error' || this.course === 'own') this.client.tether.giveUp(link);
      return this.#fail(INTERRUPTED);
    }
    if (result.kind === 'done' && wait?.behind === true) return this.#leavesReplica();
    if (result.kind === 'done') return this.#linked(link); // once more: a stranger's statement may have come in between
    this.#unsent(link, result);
  }

  /** LAST_INSERT_ID() is on another connection, and nobody has read it yet. */
  #fetchInsertId(link: ServerConnection, from: ServerConnection): void {
    this.#step = 'bringing-up';
    this.client.tether.fetchInsertId(from, () => {
      if (this.#step !== 'bringing-up') return;
      if (this.#stopped) this.#fail(INTERRUPTED);
      else this.#linked(link);
    });
  }

  /** The way broke before the statement was sent. */
  #unsent(link: ServerConnection, problem: Exclude<QuietResult, { kind: 'done' }>): void {
    if (problem.kind === 'lost') {
      const { loss } = problem;
      if ((loss.kind === 'refused' || loss.kind === 'protocol') && this.#leavesAside()) return;
      if (loss.kind === 'refused') return this.#fail(loss.err);
      if (loss.kind === 'protocol') return this.#fail(gatewayError('server-protocol', loss.detail));
      this.#blame(loss);
      return this.#again();
    }
    const { err, what } = problem;
    const room = what === 'prepare' && err.errno === TOO_MANY_PREPARED && this.#makeRoomToPrepare(link);
    this.client.tether.guard?.refused(what, err);
    this.client.tether.giveUp(link);
    if (this.#leavesAside(what !== 'prepare')) return;
    if (room) return this.#again();
    if (isShutdown(err)) {
      this.#blame({ kind: 'shutdown', detail: err.message });
      return this.#again();
    }
    if (what === CHOOSES_GTID) return this.#again();
    // The server's own words where the statement itself could not be prepared any more.
    if (what === 'prepare') return this.#fail(err);
    if (this.client.tether.couldNotRestore(what, err) && this.#tries < MAX_TRIES) return this.#again();
    this.#fail(gatewayError('restore-failed', `${what}: ${err.errno} ${err.message}`));
  }

  /** What is kept prepared for later is closed. Where that was done already, the server may still be about it. */
  #makeRoomToPrepare(link: ServerConnection): boolean {
    const closed = this.client.tether.shedPrepared(link);
    if (!closed && this.#sheds === 0) return false;
    return ++this.#sheds <= MAX_SHEDS;
  }

  // ---- send, forward the answer and learn from it: see flight.ts -------------------------------------------------

  #send(link: ServerConnection, prepared: LinkStatement | null): void {
    this.#step = 'sent';
    this.#flight = new Flight(this, link);
    this.#flight.send(prepared);
  }

  /** A piece of the client's file. */
  takeFile(inbox: Inbox): boolean {
    const flight = this.#flight;
    const span = flight === null ? null : inbox.nextSpan(() => flight.link.scanner.nextFileNumber());
    if (span !== null) flight?.fileSpan(span);
    return span !== null;
  }

  // ---- finish ---------------------------------------------------------------------------------------------------

  landed(flight: Flight): void {
    this.#quietError = flight.serverError;
    if (this.client.tether.guard?.landed(flight, this) !== true) this.#finish();
  }

  #finish(): void {
    if (this.#kills > 0) {
      this.#finishes = true;
      return;
    }
    this.#step = 'done';
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    const { statement, command } = this.request;
    // Executed, failed or reset: the next execution starts without this one's long data.
    if (statement !== null && command !== Command.STMT_FETCH) {
      statement.longData = null;
      statement.longDataBytes = 0;
    }
    if (this.#wasHeld) {
      const { gate, worker } = this.client;
      worker.impact(gate).stalled(worker.nowMs() - this.arrivedMs);
      gate.hold.settled(this);
    }
    this.client.tether.guard?.settled();
    const { session } = this.client;
    if (this.client.gate.split !== null && this.request.reads) this.client.worker.count('auto_reads', this.way);
    const failed = this.#failed || this.#flight?.failed === true;
    session.causality?.ends(!failed && !session.inTransaction);
    const { digests } = this.client.worker;
    digests.note(this.client, this.request, this.client.worker.nowMs() - this.arrivedMs, failed);
    this.client.finished(this);
    this.#quiet?.(this.#quietError);
  }

  // ---- lost -----------------------------------------------------------------------------------------------------

  /** The server is there, but read-only or on its way out, or it took this for another. It did not execute the statement. */
  turnedAway({ kind, err }: Unfit): void {
    const { node } = this.#link as ServerConnection;
    switch (kind) {
      case 'interrupted':
        return this.#again();
      case 'aside':
        this.#aside = MAX_ASIDE;
        // A transaction goes along: it is run again on the primary.
        if (this.client.session.inTransaction) this.#link?.lose({ kind: 'closed', detail: MOVES });
        return this.#goesOn();
      case 'no-room-to-prepare':
        if (!this.#makeRoomToPrepare(this.#link as ServerConnection)) return this.#fail(err);
        // Closings on other connections have no answer that could be waited for.
        this.#step = 'bringing-up';
        setTimeout(() => {
          if (this.#step === 'bringing-up') this.#route();
        }, ROOM_MS * this.#sheds);
        return;
      case 'number-taken':
        return this.#takeAnother(this.#link as ServerConnection);
      case 'shutdown':
        this.client.tether.dropLink('the server shuts down');
        return this.lost({ kind: 'shutdown', detail: err.message }, true);
      case 'read-only':
        this.client.suspect(node, 'read-only', err.message);
        if (this.client.tether.guard?.lost({ kind: 'closed', detail: err.message }, false, this, false) === true)
          return;
        if (this.#flight?.inTransaction !== true || this.begins) return this.#again();
        this.client.tether.dropLink('the node became read-only');
        this.client.session.transactionEnded();
        this.client.tether.forgetLostTransaction();
        this.#fail(gatewayError('transaction-lost', `${node} became read-only`));
    }
  }

  takesAnotherNumber(err: ErrPacket): boolean {
    const { gate, tether, worker } = this.client;
    const { primarySinceMs } = gate.cluster;
    const since = { primarySinceMs, nowMs: worker.nowMs() };
    if (this.#renumbered || !numberMayBeTaken(err, this.request, since)) return false;
    this.#renumbered = tether.guard?.startsOver === true;
    if (this.#renumbered) worker.count('numbers_taken', '');
    return this.#renumbered;
  }

  /** The transaction is open, but for what failed; one that it was to begin begins anew. */
  #takeAnother(link: ServerConnection): void {
    if (this.begins) this.lost({ kind: 'closed', detail: 'its number was taken' }, true);
    else this.proceed(link);
  }

  lost(loss: Loss, sent: boolean): void {
    const flight = this.#flight;
    if (this.#step === 'done') return;
    const { session } = this.client;
    if (
      !this.shareable &&
      flight?.file !== 'sending' &&
      this.client.tether.guard?.lost(loss, flight?.shown ?? false, this, sent && this.#step === 'sent')
    )
      return;
    this.#blame(loss);
    if (flight === null || this.#step !== 'sent' || !(sent || flight.inTransaction)) return this.#again();
    const { shown, inTransaction } = flight;
    const { sql } = this.request;
    // The transaction's first statement: it begins anew elsewhere.
    const restarts = this.begins && !shown && !sql.flags.implicitCommit && flight.file === 'none';
    if (restarts && (sql.kind === 'read' || sql.kind === 'locking-read' || sql.kind === 'write')) return this.#again();
    const fileUnfinished = flight.file === 'sending';
    const { autocommit, begun } = session;
    const outcome = outcomeOfLoss({ sql, inTransaction, autocommit, shown, fileUnfinished });
    session.transactionEnded();
    // What is prepared between BEGIN and the transaction's first statement loses no transaction: that one is still to begin.
    session.begun = begun && !inTransaction;
    this.client.tether.forgetLostTransaction(); // said by this statement's own answer
    const detail = describeLoss(loss);
    switch (outcome.kind) {
      case 'again':
        return this.#again();
      case 'rolled-back':
        return this.#answerOk();
      case 'error':
        this.#fail(gatewayError(loss.kind === 'protocol' && !inTransaction ? 'server-protocol' : outcome.code, detail));
    }
  }

  #blame(loss: Loss): void {
    const { node } = this.#link as ServerConnection;
    if (loss.kind === 'connection-lost' || loss.kind === 'connect-failed' || loss.kind === 'shutdown') {
      this.client.suspect(node, loss.kind, loss.detail);
    }
  }

  // ---- what its guard decides: see in-flight/guard.ts ------------------------------------------------------------

  busy(): void {
    this.#step = 'guarded';
  }

  again(loss: Loss | null): void {
    if (loss !== null) {
      this.#blame(loss);
      // What has run for long is given as much time as any to be found out.
      this.#waitsSinceMs = this.client.worker.nowMs();
    }
    // What is open on it is not for others.
    this.client.tether.link?.lose({ kind: 'closed', detail: 'given up' });
    this.#again();
  }

  succeed(warnings = 0): void {
    const { session, tether } = this.client;
    session.rowCount = 0n;
    session.lastAnsweredHere = true;
    session.savepoint = false;
    if (!keepsWarningsOf(this.client, this.request)) tether.rememberWarned(null);
    this.client.answerOk(warnings);
    this.#finish();
  }

  answer(pieces: readonly Buffer[]): void {
    for (const piece of pieces) this.client.write(piece);
    this.#finish();
  }

  fail(err: ErrPacket): void {
    this.#step = 'guarded';
    this.#fail(err);
  }

  /** Not executed: it waits for a node that takes it. */
  #again(): void {
    this.#link = null;
    if (this.way === 'replica' && this.mayRetry) return this.#goesOn();
    if (this.begins) {
      this.begins = false;
      this.client.session.begun = true;
    }
    if (++this.#tries > MAX_TRIES * 50) {
      return this.#fail(gatewayError('hold-timeout', 'every try failed'));
    }
    this.#hold();
  }

  #answerOk(): void {
    const { session } = this.client;
    session.transactionEnded();
    session.begun = endOf(this.request, session).chain;
    if (this.#quiet === null) this.client.answerOk();
    this.#finish();
  }

  #fail(cause: ErrPacket): void {
    this.#failed = true;
    const err = this.client.tether.guard?.verdict(cause) ?? cause;
    if (this.#quiet !== null) {
      this.#quietError = err;
      return this.#finish();
    }
    const flight = this.#step === 'sent' ? this.#flight : null;
    const shown = flight?.shown ?? false;
    const scanner = this.#link?.scanner;
    this.client.ownError(err);
    this.client.session.rowCount = -1n;
    this.client.session.lastAnsweredHere = true;
    // Whatever we wrote would be taken for the rest of a row.
    if (shown && scanner?.midPacket) return this.client.close();
    const sequence = shown && scanner !== undefined ? scanner.lastSequence + 1 : 1;
    // The client goes on sending its file; the error is for its end.
    if (flight?.file === 'sending') this.client.swallowFile(encodeErr(err));
    else this.client.write(frame(encodeErr(err), sequence));
    this.#finish();
  }

  // ---- elsewhere, or nowhere ------------------------------------------------------------------------------------

  /** It waits behind a slow statement of a stranger: it goes elsewhere, and the answer that comes here is dropped. */
  divert(): void {
    const flight = this.#flight;
    // Alone, it stands behind nothing but its own wait.
    if (flight === null || this.#step !== 'sent' || !this.shareable || this.#alone || flight.shown) return;
    flight.dropped = true;
    this.client.worker.count('diverted', '');
    this.#tries++;
    this.#link = null;
    this.#route();
  }

  /**
   * KILL QUERY of it. True: nothing of it was sent, or it is a read that waits behind strangers' on the server: the client has been told;
   * false: the server is to be asked, now. A stranger's read that is hit instead runs again.
   */
  interrupt(): boolean {
    const flight = this.#flight;
    if (this.#stopsWaiting()) return true;
    this.#stopped ||= this.#step === 'bringing-up';
    if (flight === null || this.#step !== 'sent') return false;
    flight.killed = true;
    const link = this.#link;
    if (link === null || !this.shareable) return false;
    const heads = link.head === flight;
    if (link.depth > 1 && !flight.shown) {
      flight.dropped = true;
      this.client.write(frame(encodeErr(INTERRUPTED), 1));
      this.#finish();
    }
    if (heads) this.#clearForKill(link);
    else this.#stopOnceItRuns(link, flight);
    return !heads;
  }

  /** Nobody else is to be where it hits. */
  #clearForKill(link: ServerConnection): void {
    this.client.worker.pool(this.client.cluster, link.node).leaveAlone(link);
  }

  /** Nobody wants its answer any more, and the server is still to begin with it. */
  #stopOnceItRuns(link: ServerConnection, flight: Flight): void {
    setTimeout(() => {
      if (flight.over || !link.ready) return;
      if (link.head === flight) {
        this.#clearForKill(link);
        killThread(this.client.worker, this.client, link, true, () => {});
      }
      this.#stopOnceItRuns(link, flight);
    }, OVERDUE_AGAIN_MS);
  }

  /**
   * A KILL is on its way to its server. Until that has been told its connection is for nobody else, whose statement the KILL would
   * stop; of a connection that is shared, strangers' reads are run again. Call what is returned then.
   */
  awaitsKill(): () => void {
    if (this.shareable || this.#step !== 'sent') return () => {};
    this.#kills++;
    return () => {
      if (--this.#kills === 0 && this.#finishes && !this.over) this.#finish();
    };
  }

  /** The client left. True: the server connection is not in the middle of anything of this statement's. */
  abandon(): boolean {
    const step = this.#step;
    const { gate } = this.client;
    clearTimeout(this.#timer);
    gate.hold.abandon(this);
    if (step === 'holding') this.client.held(false);
    if (step === 'linking') this.client.tether.cancel(this);
    this.#step = 'done';
    if (this.#flight !== null) this.#flight.dropped = true;
    // Nobody reads its answer any more, and nobody stands behind it: the server is to stop, as it would without us.
    const alone = step === 'sent' && this.shareable && this.#link?.depth === 1;
    if (alone) this.#link?.lose({ kind: 'closed', detail: 'its client left' });
    return step !== 'sent' && step !== 'bringing-up' && step !== 'guarded';
  }
}
