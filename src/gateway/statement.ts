// A statement's way through the data plane, top to bottom, one step a method:
//   route → hold if the way is closed → link (take a server connection, or a share of one) → bring up (its session state)
//   → send → forward the answer → learn from it → finish (give the connection back).
// `lost` decides what happens when the server goes away at any of these steps.
import type { HoldReason } from '../messages/index.ts';
import {
  type AnswerShape,
  asPacket,
  Command,
  commandPacket,
  type ErrPacket,
  encodeErr,
  frame,
  type OkPacket,
  type Packet,
  ServerStatus,
  type SessionChange,
} from '../wire/index.ts';
import type { BringUp } from './bring-up.ts';
import type { Client } from './client.ts';
import { executes, passedRequest, type ServerRequest } from './command.ts';
import { gatewayError } from './errors.ts';
import { isReadOnlyNode, isShutdown } from './evidence.ts';
import { bulkExecutePacket, executePacket, patchStatementId } from './execute-packet.ts';
import type { Waiter } from './hold.ts';
import { learnFromFailure, learnFromText } from './learn.ts';
import { changed, type LinkState } from './link-state.ts';
import { outcomeOfLoss } from './outcome.ts';
import type { Lane, LinkOwner, LinkRequest } from './pool.ts';
import type { LinkStatement } from './prepared.ts';
import { type QuietResult, runQuietly } from './quiet.ts';
import { describeLoss, type Exchange, type Loss, type ServerConnection } from './server-connection.ts';
import type { SessionState } from './session.ts';

/** How often one statement is tried on servers that then turn out not to take it. The hold's time-out is the real bound. */
const MAX_TRIES = 20;
/** Longer statements share a server connection with nobody. */
const MAX_SHARED_BYTES = 16 * 1024;
const PLAIN_BEGIN = /^\s*(begin(\s+work)?|start\s+transaction)\s*;?\s*$/i;
/** ER_QUERY_INTERRUPTED, as both families say it. */
const INTERRUPTED = { errno: 1317, sqlState: '70100', message: 'Query execution was interrupted' };

type Step =
  | 'new'
  | 'holding'
  | 'linking'
  | 'bringing-up'
  | 'sent'
  | 'done'
  /** Sent, and nobody wants the answer: it is read and dropped. */
  | 'dropped';

export class Statement implements Waiter, Exchange, LinkRequest {
  readonly shape: AnswerShape;
  readonly clientCapabilities: number;
  readonly arrivedMs: number;
  readonly costSlot: number;
  lane: Lane;
  shareable = false;
  #client: Client;
  #packet: Packet;
  #request: ServerRequest;
  #step: Step = 'new';
  #tries = 0;
  #link: ServerConnection | null = null;
  #wasInTransaction = false;
  #wasHeld = false;
  #failed = false;
  /** Something of the answer reached the client. */
  #shown = false;
  #quiet: ((err: ErrPacket | null) => void) | null = null;
  /** An error that says that the node is unfit, or meant for somebody else; the client has not seen it. */
  #unfit: { kind: 'read-only' | 'shutdown' | 'interrupted'; err: ErrPacket } | null = null;
  #file: 'none' | 'sending' | 'sent' = 'none';
  #quietError: ErrPacket | null = null;
  #warnings = 0;
  #status = 0;
  #changedState = false;
  #explained = false;
  /** Nothing is sent ahead unseen any more: it failed once. */
  #careful = false;
  #killed = false;
  #sentState: LinkState | null = null;
  #generation = 0;
  /** The transaction begins with it: BEGIN goes ahead of it. */
  #begins = false;

  constructor(client: Client, packet: Packet, request: ServerRequest) {
    this.#client = client;
    this.#packet = packet;
    this.#request = request;
    this.shape = request.shape;
    this.costSlot = request.costSlot;
    this.clientCapabilities = client.capabilities;
    this.arrivedMs = client.worker.nowMs();
    this.lane = client.lane as Lane;
  }

  get bytes(): number {
    return this.#packet.raw.length;
  }

  get status(): number {
    return this.#client.session.status;
  }

  get session(): SessionState {
    return this.#client.session;
  }

  get request(): ServerRequest {
    return this.#request;
  }

  get rerunnable(): boolean {
    return this.#request.sql.rerunnable;
  }

  get takesFile(): boolean {
    return this.#file === 'sending';
  }

  /** The server connection that it is on, its own or shared. */
  get link(): ServerConnection | null {
    return this.#link;
  }

  // ---- as the pool sees it --------------------------------------------------------------------------------------

  get wanted(): LinkState {
    const { state } = this.#client.session;
    const { command } = this.#request;
    return command === Command.INIT_DB ? changed(state, { schema: this.#packet.payload.toString('utf8', 1) }) : state;
  }

  get expectedUs(): number {
    return this.costSlot < 0 ? -1 : this.#client.worker.costs.expectedUs(this.costSlot);
  }

  get prefer(): ServerConnection | null {
    return this.#client.lastLink;
  }

  get group(): string {
    return this.#client.group;
  }

  get deadlineMs(): number {
    return this.arrivedMs + this.#client.worker.settings.hold.timeoutMs;
  }

  get owner(): LinkOwner {
    return this.#client;
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
    const { session } = this.#client;
    const lost = this.#client.takeLostState(this.#request.sql.kind);
    if (lost !== null) return 'rolledBack' in lost ? this.#answerOk() : this.#fail(lost.error);
    if (!this.#request.sql.flags.asksPrevious && this.#request.command !== Command.STMT_FETCH) {
      session.diagnostics = false;
      session.calcFoundRows = false;
    }
    if (this.#defers()) return;
    this.#route();
  }

  /**
   * A plain BEGIN does nothing before the transaction's first statement, so it is sent with that: one round trip less,
   * and no server connection meanwhile. True: it was answered.
   */
  #defers(): boolean {
    const { session, link } = this.#client;
    const { sql, text } = this.#request;
    if (session.begun && sql.flags.implicitCommit === false && (sql.kind === 'commit' || sql.kind === 'rollback')) {
      if (sql.flags.chain || sql.flags.release) return false;
      session.begun = false; // nothing was begun on any server
    } else {
      if (sql.kind !== 'begin' || session.inTransaction || link !== null || session.hold !== null) return false;
      if (text === null || !PLAIN_BEGIN.test(text.toString('latin1', 0, 40))) return false;
      session.begun = true;
    }
    session.rowCount = 0n;
    session.lastAnsweredHere = true;
    this.#client.answerOk();
    this.#finish();
    return true;
  }

  // ---- route ----------------------------------------------------------------------------------------------------

  #route(): void {
    const { link, session, gate } = this.#client;
    // An open transaction stays where it is; a switchover lets it come to its end.
    if (link !== null && session.inTransaction) return this.#linked(link);
    if (!gate.hold.passes) return this.#hold();
    this.release();
  }

  // ---- hold -----------------------------------------------------------------------------------------------------

  #hold(): void {
    this.#step = 'holding';
    this.#wasHeld = true;
    this.#link = null;
    this.#detach();
    this.#client.held(true);
    const { gate, worker } = this.#client;
    gate.hold.enter(this, this.arrivedMs, worker.nowMs());
  }

  /** A statement that waits must not keep the 64 KiB alive that it arrived in. */
  #detach(): void {
    const { raw } = this.#packet;
    if (raw.buffer.byteLength <= 2 * raw.length) return;
    const copy = Buffer.allocUnsafeSlow(raw.length);
    raw.copy(copy);
    const payload = this.#packet.payload.length + 4 === raw.length ? copy.subarray(4) : this.#packet.payload;
    this.#packet = { ...this.#packet, raw: copy, payload };
  }

  release(): void {
    if (this.#step === 'holding') this.#client.held(false);
    const { gate } = this.#client;
    const pick = gate.pick();
    if ('closed' in pick) {
      gate.hold.close(pick.closed, this.#client.worker.nowMs());
      return this.#hold();
    }
    const { link } = this.#client;
    if (link !== null) {
      if (gate.admits(link.node)) return this.#linked(link);
      this.#client.dropLink('the route changed');
    }
    // What was pinned to a connection that is gone is gone; that is said before anything runs without it.
    const lost = this.#client.takeLostState(this.#request.sql.kind);
    if (lost !== null) return 'rolledBack' in lost ? this.#answerOk() : this.#fail(lost.error);
    this.#acquire(pick.node);
  }

  refuse(exit: 'timed-out' | 'evicted-count' | 'evicted-bytes', reason: HoldReason, waitedMs: number): void {
    this.#client.held(false);
    this.#client.worker.impact(this.#client.gate).stalled(waitedMs);
    const code = exit === 'timed-out' ? 'hold-timeout' : 'hold-full';
    const bound = exit === 'evicted-count' ? ', hold.maxStatements' : exit === 'evicted-bytes' ? ', hold.maxBytes' : '';
    this.#fail(gatewayError(code, `${reason} for ${Math.round(waitedMs)} ms${bound}`));
  }

  // ---- link -----------------------------------------------------------------------------------------------------

  #acquire(node: string): void {
    const pool = this.#client.poolOf(node);
    this.lane = this.#client.lane as Lane;
    this.shareable = this.#mayShare();
    const link = pool.take(this);
    if (link !== null) return this.#taken(link);
    this.#step = 'linking';
    pool.wait(this);
  }

  /** A read that neither its order nor its connection matters to. */
  #mayShare(): boolean {
    const { session, link, worker } = this.#client;
    const { sql, command, executesPlainly } = this.#request;
    if (!sql.rerunnable || link !== null || !worker.settings.pool.pipelining || this.#quiet !== null) return false;
    if (session.begun && command !== Command.STMT_PREPARE) return false;
    if (session.hold !== null || !session.autocommit || this.#packet.raw.length > MAX_SHARED_BYTES) return false;
    if (command === Command.STMT_EXECUTE) return executesPlainly;
    return command === Command.QUERY || command === Command.STMT_PREPARE;
  }

  /** The pool found one, after a wait. */
  onLink(link: ServerConnection): void {
    const { gate, worker } = this.#client;
    // The way may have been closed, or lead elsewhere, since the connection was asked for.
    if (this.#step === 'linking' && !('closed' in gate.pick()) && gate.admits(link.node)) return this.#taken(link);
    worker.pool(this.#client.cluster, link.node).release(link, true);
    if (this.#step === 'linking') this.#again();
  }

  #taken(link: ServerConnection): void {
    if (!this.shareable) this.#client.takeLink(link);
    this.#linked(link);
  }

  onTimeout(error: ErrPacket): void {
    this.#fail(error);
  }

  onLoss(loss: Loss): void {
    if (this.#step !== 'linking') return;
    switch (loss.kind) {
      case 'refused':
        return this.#fail(loss.err);
      case 'protocol':
        return this.#fail(gatewayError('server-protocol', loss.detail));
      case 'connect-failed':
      case 'connection-lost':
        this.#client.suspect(this.#client.poolNode, 'connect-failed', loss.detail);
        return this.#again();
      case 'shutdown':
        this.#client.suspect(this.#client.poolNode, 'shutdown', loss.detail);
        return this.#again();
      case 'closed':
        return this.#again();
    }
  }

  // ---- bring up -------------------------------------------------------------------------------------------------

  #linked(link: ServerConnection): void {
    this.#link = link;
    const { session } = this.#client;
    const { statement, plain, command } = this.#request;
    const prepared = statement === null ? null : link.prepared.get(statement.logical);
    // The usual case: the connection is as the session wants it.
    if (plain && link.state === session.state && prepared !== undefined) {
      const rescue = !this.shareable && link.insertIdOf !== null && link.insertIdOf !== session;
      const oneShot = session.oneShot !== null && session.oneShotOn !== link;
      if (!rescue && !oneShot && (!session.begun || command === Command.STMT_PREPARE)) return this.#send(link, prepared);
    }
    if (prepared === undefined && this.#request.command === Command.STMT_RESET) return this.#answerOk();
    if (prepared === undefined && this.#request.command === Command.STMT_FETCH) {
      return this.#fail(gatewayError('state-lost', 'an open cursor'));
    }
    this.#bringUp(link);
  }

  #bringUp(link: ServerConnection): void {
    const ahead = this.#client.bringUp(link, this.#request, this.shareable);
    if ('fetchFrom' in ahead) return this.#fetchInsertId(link, ahead.fetchFrom);
    if ('unreachable' in ahead) {
      this.#client.giveUp(link);
      return this.#again();
    }
    if ('error' in ahead) return this.#fail(ahead.error);
    if (ahead.packet !== null) this.#packet = ahead.packet;
    this.#begins ||= ahead.begins;
    const { statement } = this.#request;
    const sure = !this.#careful && (ahead.sure || (this.rerunnable && ahead.sureForReads));
    if (sure) {
      if (ahead.commands.length > 0) runQuietly(link, ahead.commands, (result) => this.#afterSure(link, result));
      return this.#send(link, statement === null ? null : (link.prepared.get(statement.logical) as LinkStatement));
    }
    this.#step = 'bringing-up';
    runQuietly(link, ahead.commands, (result) => this.#broughtUp(link, ahead, result));
  }

  /** What was sent ahead of the statement has been answered; the statement is on its way. */
  #afterSure(link: ServerConnection, result: QuietResult): void {
    if (result.kind !== 'error') return; // lost: the statement hears of it itself
    this.#careful = true;
    // Everything behind it on this connection ran, or will run, with a state that is not the one it should be.
    link.lose({ kind: 'closed', detail: `${result.what}: ${result.err.errno} ${result.err.message}` });
  }

  #broughtUp(link: ServerConnection, ahead: BringUp, result: QuietResult): void {
    const { statement } = this.#request;
    if (result.kind === 'done' && statement !== null && ahead.prepares === link.prepared.generation) {
      this.#client.addPrepared(link, statement.logical, result.statementId);
    }
    if (this.#step !== 'bringing-up') return; // its client left
    if (result.kind === 'done') return this.#linked(link); // once more: a stranger's statement may have come in between
    this.#unsent(link, result);
  }

  /** LAST_INSERT_ID() is on another connection, and nobody has read it yet. */
  #fetchInsertId(link: ServerConnection, from: ServerConnection): void {
    this.#step = 'bringing-up';
    this.#client.fetchInsertId(from, () => {
      if (this.#step === 'bringing-up') this.#linked(link);
    });
  }

  /** The way broke before the statement was sent. */
  #unsent(link: ServerConnection, problem: Exclude<QuietResult, { kind: 'done' }>): void {
    if (problem.kind === 'lost') {
      const { loss } = problem;
      if (loss.kind === 'refused') return this.#fail(loss.err);
      if (loss.kind === 'protocol') return this.#fail(gatewayError('server-protocol', loss.detail));
      this.#blame(loss);
      return this.#again();
    }
    const { err, what } = problem;
    this.#client.giveUp(link);
    if (isShutdown(err)) {
      this.#blame({ kind: 'shutdown', detail: err.message });
      return this.#again();
    }
    // The server's own words where the statement itself could not be prepared any more.
    if (what === 'prepare') return this.#fail(err);
    if (this.#client.couldNotRestore(what, err) && this.#tries < MAX_TRIES) return this.#again();
    this.#fail(gatewayError('restore-failed', `${what}: ${err.errno} ${err.message}`));
  }

  // ---- send -----------------------------------------------------------------------------------------------------

  #send(link: ServerConnection, prepared: LinkStatement | null | undefined): void {
    const { session } = this.#client;
    const { statement, command } = this.#request;
    this.#step = 'sent';
    this.#wasInTransaction = session.inTransaction || this.#begins;
    session.lastAnsweredHere = false;
    this.#failed = false;
    this.#shown = false;
    this.#unfit = null;
    this.#file = 'none';
    this.#changedState = false;
    this.#explained = false;
    this.#warnings = 0;
    this.#sentState = session.state;
    this.#generation = link.prepared.generation;
    link.lastSession = session;
    if (statement === null || !prepared) return link.send(this.#packet.raw, this);
    if (!executes(command)) return link.send(patchStatementId(this.#packet.raw, prepared.id), this);
    for (const chunk of statement.longData ?? []) link.send(patchStatementId(chunk, prepared.id), null);
    if (command === Command.STMT_BULK_EXECUTE) {
      return link.send(bulkExecutePacket(this.#packet, statement, prepared), this);
    }
    const packet = executePacket(this.#packet, statement, prepared, this.clientCapabilities);
    if (packet.opensCursor) session.pin('cursor');
    link.send(packet.raw, this);
  }

  // ---- forward --------------------------------------------------------------------------------------------------

  forward(piece: Buffer): void {
    if (this.#quiet !== null || this.#step !== 'sent') return;
    this.#shown = true;
    if (this.#client.write(piece)) return;
    const link = this.#link as ServerConnection;
    link.pause();
    if (this.shareable) this.#client.worker.pool(this.#client.cluster, link.node).leaveAlone(link);
    this.#client.onceDrained(() => link.resume());
  }

  ok(ok: OkPacket, changes: readonly SessionChange[]): void {
    if (this.#step !== 'sent') return;
    const { session } = this.#client;
    const link = this.#link as ServerConnection;
    session.learn(ok, changes);
    this.#warnings = ok.warnings;
    this.#status = ok.status;
    if (this.shareable) return;
    session.rowCount = ok.affectedRows;
    if (ok.insertId !== 0n) session.insertIdIsOn(link);
    for (const change of changes) {
      if (change.kind === 'state') this.#changedState = true;
      else if (change.kind === 'variable' || change.kind === 'schema') this.#explained = true;
    }
  }

  error(err: ErrPacket, first: boolean): boolean {
    if (this.#step !== 'sent') return false;
    this.#failed = true;
    if (this.shape === 'prepare') this.#client.session.lastPrepared = null;
    if (isShutdown(err) && first) {
      this.#unfit = { kind: 'shutdown', err };
      return false;
    }
    if (first && this.#client.gate.wantsPrimary && isReadOnlyNode(err) && this.#tries < MAX_TRIES) {
      this.#unfit = { kind: 'read-only', err };
      return false;
    }
    // A KILL QUERY that was meant for a stranger's read on the same connection.
    if (first && this.shareable && err.errno === INTERRUPTED.errno && !this.#killed && this.#tries < MAX_TRIES) {
      this.#unfit = { kind: 'interrupted', err };
      return false;
    }
    if (this.#quiet !== null) {
      this.#quietError = err;
      return false;
    }
    // A deadlock's victim has lost its whole transaction, and an ERR packet carries no status flags.
    if (err.errno === 1213) this.#client.session.transactionEnded();
    this.#client.worker.count('server_errors', String(err.errno));
    return true;
  }

  localInfile(): void {
    this.#file = 'sending';
    this.#client.worker.count('local_infile', '');
  }

  /** A packet of the client's file; an empty one ends it. */
  filePacket(packet: Packet): void {
    const link = this.#link;
    if (link === null || this.#step !== 'sent') return;
    link.scanner.numberFile(packet.raw);
    const more = link.write(packet.raw);
    if (packet.payload.length === 0) {
      this.#file = 'sent';
      link.scanner.infileSent();
    } else if (!more) {
      this.#client.setReading(false);
      link.onceDrained(() => this.#client.setReading(true));
    }
  }

  prepared(statementId: number, parameters: number, columns: number): number {
    const link = this.#link as ServerConnection;
    if (this.#step !== 'sent') {
      link.closeStatement(statementId);
      return statementId;
    }
    const text = this.#request.text as Buffer;
    const seesUserVariables = this.#request.sql.flags.usesUserVariable;
    const logical = this.#client.logical(this.#packet.raw, text, { parameters, columns, seesUserVariables });
    // A stranger may have had the connection reset behind it.
    if (this.#generation === link.prepared.generation) this.#client.addPrepared(link, logical, statementId);
    return this.#client.session.addStatement(logical).id;
  }

  // ---- learn, finish --------------------------------------------------------------------------------------------

  end(): void {
    if (this.#step !== 'sent') return;
    if (this.#unfit !== null) return this.#onUnfit(this.#unfit);
    const link = this.#link as ServerConnection;
    const { session } = this.#client;
    const { sql, command } = this.#request;
    if (this.#failed) learnFromFailure(session, this.#request, this.shareable);
    else this.#learn(link);
    if (session.inTransaction && sql.flags.release) session.transactionEnded();
    const diagnostics = this.#failed || this.#warnings > 0;
    link.hasDiagnostics = diagnostics;
    if (!sql.flags.asksPrevious) {
      const again = diagnostics && this.shareable && command === Command.QUERY;
      this.#client.rememberWarned(again ? this.#packet.raw : null);
    }
    if (!this.shareable) {
      // A schema that could not be chosen leaves the one that was there.
      if (!(this.#failed && command === Command.INIT_DB)) link.state = session.state;
    }
    // No read that may share does this; if one did, nobody behind it knows what he runs with.
    else if (session.state !== this.#sentState) {
      link.lose({ kind: 'closed', detail: 'a shared read changed the session' });
    }
    this.#finish();
  }

  #learn(link: ServerConnection): void {
    const { session } = this.#client;
    const { command, reads } = this.#request;
    if (reads) {
      session.foundRows = link.scanner.rows;
      session.rowCount = -1n;
    }
    if (command === Command.SET_OPTION) session.setMultiStatements(this.#packet.payload.readUInt16LE(1));
    if (command === Command.STMT_RESET || (this.#status & ServerStatus.LAST_ROW_SENT) !== 0) session.unpin('cursor');
    // COM_INIT_DB is told by servers that track the schema; USE of the same schema is not.
    if (command === Command.INIT_DB) session.chooseSchema(this.#packet.payload.toString('utf8', 1));
    if (command !== Command.QUERY && !executes(command)) return;
    learnFromText(session, this.#request, {
      warnings: this.#warnings,
      shared: this.shareable,
      link,
      unexplainedChange: this.#changedState && !this.#explained,
    });
  }

  #finish(): void {
    this.#step = 'done';
    const { statement, command } = this.#request;
    // Executed, failed or reset: the next execution starts without this one's long data.
    if (statement !== null && command !== Command.STMT_FETCH) {
      statement.longData = null;
      statement.longDataBytes = 0;
    }
    if (this.#wasHeld) {
      const { gate, worker } = this.#client;
      worker.impact(gate).stalled(worker.nowMs() - this.arrivedMs);
      gate.hold.settled(this);
    }
    this.#client.finished(this);
    this.#quiet?.(this.#quietError);
  }

  // ---- lost -----------------------------------------------------------------------------------------------------

  /** The server is there, but read-only or on its way out. It did not execute the statement. */
  #onUnfit({ kind, err }: { kind: 'read-only' | 'shutdown' | 'interrupted'; err: ErrPacket }): void {
    const { node } = this.#link as ServerConnection;
    switch (kind) {
      case 'interrupted':
        return this.#again();
      case 'shutdown':
        this.#client.dropLink('the server shuts down');
        return this.lost({ kind: 'shutdown', detail: err.message }, true);
      case 'read-only':
        this.#client.suspect(node, 'read-only', err.message);
        if (!this.#wasInTransaction || this.#begins) return this.#again();
        this.#client.dropLink('the node became read-only');
        this.#client.session.transactionEnded();
        this.#client.forgetLostTransaction();
        this.#fail(gatewayError('transaction-lost', `${node} became read-only`));
    }
  }

  lost(loss: Loss, sent: boolean): void {
    if (this.#step === 'done' || this.#step === 'dropped') return;
    const { session } = this.#client;
    this.#blame(loss);
    if (this.#step !== 'sent' || !(sent || this.#wasInTransaction)) return this.#again();
    // The transaction's first statement: it begins anew elsewhere.
    const { kind, flags } = this.#request.sql;
    const restarts = this.#begins && !this.#shown && !flags.implicitCommit && this.#file === 'none';
    if (restarts && (kind === 'read' || kind === 'locking-read' || kind === 'write')) return this.#again();
    const shown = this.#shown;
    const inTransaction = this.#wasInTransaction;
    const { autocommit } = session;
    const fileUnfinished = this.#file === 'sending';
    const outcome = outcomeOfLoss({ sql: this.#request.sql, inTransaction, autocommit, shown, fileUnfinished });
    session.transactionEnded();
    this.#client.forgetLostTransaction(); // said by this statement's own answer
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
      this.#client.suspect(node, loss.kind, loss.detail);
    }
  }

  /** Not executed: it waits for a node that takes it. */
  #again(): void {
    this.#link = null;
    if (this.#begins) {
      this.#begins = false;
      this.#client.session.begun = true;
    }
    if (++this.#tries > MAX_TRIES * 50) {
      return this.#fail(gatewayError('hold-timeout', 'every try failed'));
    }
    this.#hold();
  }

  #answerOk(): void {
    this.#client.session.transactionEnded();
    if (this.#quiet === null) this.#client.answerOk();
    this.#finish();
  }

  #fail(err: ErrPacket): void {
    const sequence = this.#shown && this.#link !== null ? this.#link.scanner.lastSequence + 1 : 1;
    if (this.#quiet !== null) {
      this.#quietError = err;
      return this.#finish();
    }
    if (this.#shown && this.#link?.scanner.midPacket) {
      // Whatever we wrote would be taken for the rest of a row.
      this.#client.ownError(err);
      return this.#client.close();
    }
    // The client goes on sending its file; the error is for its end.
    if (this.#file === 'sending') this.#client.swallowFile(encodeErr(err));
    else this.#client.write(frame(encodeErr(err), sequence));
    this.#client.ownError(err);
    this.#finish();
  }

  // ---- elsewhere, or nowhere ------------------------------------------------------------------------------------

  /** It waits behind a slow statement of a stranger: a copy of it goes elsewhere, and the answer that comes here is dropped. */
  divert(): void {
    if (this.#step !== 'sent' || !this.shareable || this.#shown || this.#request.command === Command.STMT_PREPARE)
      return;
    this.#step = 'dropped';
    this.#client.worker.count('diverted', '');
    const copy = new Statement(this.#client, this.#packet, this.#request);
    copy.#tries = this.#tries + 1;
    this.#client.replace(this, copy);
    if (this.#wasHeld) this.#client.gate.hold.settled(this);
    copy.#route();
  }

  /**
   * KILL QUERY of a read that shares its connection. True: the client has been told, and strangers are left alone; false:
   * the server is to be asked.
   */
  interrupt(): boolean {
    if (!this.shareable || this.#step !== 'sent') return false;
    this.#killed = true;
    if (this.#link?.depth === 1 || this.#shown) return false;
    this.#client.write(frame(encodeErr(INTERRUPTED), 1));
    this.#finish();
    this.#step = 'dropped';
    return true;
  }

  /** The client left. True: the server connection is not in the middle of anything of this statement's. */
  abandon(): boolean {
    const step = this.#step;
    const { gate } = this.#client;
    gate.hold.abandon(this);
    if (step === 'holding') this.#client.held(false);
    if (step === 'linking') this.#client.cancelRequest(this);
    this.#step = step === 'sent' ? 'dropped' : 'done';
    return step !== 'sent' && step !== 'bringing-up';
  }
}
