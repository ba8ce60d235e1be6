// A statement's way through the data plane, top to bottom, one step a method:
//   route → hold if the way is closed → link (take a server connection) → restore (bring its session state up to
//   date) → send → forward the answer → learn from it → finish (give the connection back).
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
import type { Client } from './client.ts';
import { executes, passedRequest, type ServerRequest } from './command.ts';
import { gatewayError } from './errors.ts';
import { isReadOnlyNode, isShutdown } from './evidence.ts';
import { bulkExecutePacket, executePacket, patchStatementId } from './execute-packet.ts';
import type { Waiter } from './hold.ts';
import { learnFromText } from './learn.ts';
import { outcomeOfLoss } from './outcome.ts';
import type { LinkRequest } from './pool.ts';
import { runQuietly } from './quiet.ts';
import {
  describeLoss,
  type Exchange,
  type LoginProfile,
  type Loss,
  type ServerConnection,
} from './server-connection.ts';
import type { PreparedStatement } from './session.ts';

/** How often one statement is tried on servers that then turn out not to take it. The hold's time-out is the real bound. */
const MAX_TRIES = 20;

type Step = 'new' | 'holding' | 'linking' | 'restoring' | 'sent' | 'done';

export class Statement implements Waiter, Exchange {
  readonly shape: AnswerShape;
  readonly clientCapabilities: number;
  readonly arrivedMs: number;
  #client: Client;
  #packet: Packet;
  #request: ServerRequest;
  #step: Step = 'new';
  #tries = 0;
  #link: ServerConnection | null = null;
  #linkRequest: LinkRequest | null = null;
  #wasInTransaction = false;
  #wasHeld = false;
  #failed = false;
  /** Something of the answer reached the client. */
  #shown = false;
  #quiet: ((err: ErrPacket | null) => void) | null = null;
  /** An error that says that the node is unfit; the client has not seen it. */
  #unfit: { kind: 'read-only' | 'shutdown'; err: ErrPacket } | null = null;
  #file: 'none' | 'sending' | 'sent' = 'none';
  #quietError: ErrPacket | null = null;
  #lastOk: OkPacket | null = null;
  #changedState = false;
  #explained = false;

  constructor(client: Client, packet: Packet, request: ServerRequest) {
    this.#client = client;
    this.#packet = packet;
    this.#request = request;
    this.shape = request.shape;
    this.clientCapabilities = client.capabilities;
    this.arrivedMs = client.worker.nowMs();
  }

  get bytes(): number {
    return this.#packet.raw.length;
  }

  get status(): number {
    return this.#client.session.status;
  }

  get rerunnable(): boolean {
    return this.#request.sql.rerunnable;
  }

  get takesFile(): boolean {
    return this.#file === 'sending';
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
      session.foundRows = false;
    }
    this.#route();
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
    if (link !== null && gate.admits(link.node)) return this.#linked(link);
    this.#client.dropLink('the route changed');
    // What was pinned to the dropped connection is gone; that is said before anything runs without it.
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
    this.#step = 'linking';
    const { worker, gate, profileKey } = this.#client;
    const profile = this.#client.profile as LoginProfile;
    const request: LinkRequest = {
      profile,
      key: profileKey,
      withoutSchema: this.#client.session.schema === null,
      owner: this.#client,
      deadlineMs: this.arrivedMs + worker.settings.hold.timeoutMs,
      onLink: (link) => {
        this.#linkRequest = null;
        // The way may have been closed, or lead elsewhere, since the connection was asked for.
        if (this.#step === 'done' || 'closed' in gate.pick() || !gate.admits(link.node)) {
          worker.pool(this.#client.cluster, link.node).release(link, true);
          return this.#step === 'done' ? undefined : this.#again();
        }
        this.#client.takeLink(link);
        this.#linked(link);
      },
      onLoss: (loss) => this.#notLinked(node, loss),
      onTimeout: (error) => this.#fail(error),
    };
    this.#linkRequest = request;
    worker.pool(this.#client.cluster, node).acquire(request);
  }

  #notLinked(node: string, loss: Loss): void {
    this.#linkRequest = null;
    if (this.#step === 'done') return;
    switch (loss.kind) {
      case 'refused':
        return this.#fail(loss.err);
      case 'protocol':
        return this.#fail(gatewayError('server-protocol', loss.detail));
      case 'connect-failed':
      case 'connection-lost':
        this.#client.suspect(node, 'connect-failed', loss.detail);
        return this.#again();
      case 'shutdown':
        this.#client.suspect(node, 'shutdown', loss.detail);
        return this.#again();
      case 'closed':
        return this.#again();
    }
  }

  // ---- restore --------------------------------------------------------------------------------------------------

  #linked(link: ServerConnection): void {
    this.#link = link;
    this.#client.useLink();
    if (this.#client.linkIsCurrent) return this.#prepare(link);
    this.#step = 'restoring';
    this.#client.restoreLink((problem) => {
      if (this.#step !== 'restoring') return;
      if (problem === null) return this.#prepare(link);
      this.#unsent(problem);
    });
  }

  /** A statement that was prepared elsewhere is prepared here first. */
  #prepare(link: ServerConnection): void {
    const { statement, command } = this.#request;
    if (statement === null || link.prepared.has(statement)) return this.#send(link);
    if (command === Command.STMT_RESET) return this.#answerOk();
    if (command === Command.STMT_FETCH) {
      return this.#fail(gatewayError('state-lost', 'an open cursor'));
    }
    this.#step = 'restoring';
    const exchange = { shape: 'prepare' as const, status: this.status };
    runQuietly(link, [{ packet: statement.packet, ...exchange }], (result) => {
      if (this.#step !== 'restoring') return;
      if (result.kind !== 'done') return this.#unsent(result);
      link.prepared.set(statement, result.statementId);
      statement.typesSentOn = null;
      this.#send(link);
    });
  }

  /** The way broke before the statement was sent. */
  #unsent(problem: { kind: 'error'; err: ErrPacket; what: string } | { kind: 'lost'; loss: Loss }): void {
    if (problem.kind === 'error') {
      const { err, what } = problem;
      if (isShutdown(err)) return this.#unsent({ kind: 'lost', loss: { kind: 'shutdown', detail: err.message } });
      this.#client.dropLink('its state could not be restored');
      // The server's own words where the statement itself could not be prepared any more.
      if (what === 'prepare') return this.#fail(err);
      return this.#fail(gatewayError('restore-failed', `${what}: ${err.errno} ${err.message}`));
    }
    if (problem.loss.kind === 'refused') return this.#fail(problem.loss.err);
    if (problem.loss.kind === 'protocol') return this.#fail(gatewayError('server-protocol', problem.loss.detail));
    this.#blame(problem.loss);
    this.#again();
  }

  // ---- send -----------------------------------------------------------------------------------------------------

  #send(link: ServerConnection): void {
    const { session } = this.#client;
    this.#step = 'sent';
    this.#wasInTransaction = session.inTransaction;
    this.#failed = false;
    this.#shown = false;
    this.#unfit = null;
    this.#file = 'none';
    this.#changedState = false;
    this.#explained = false;
    const { statement, command } = this.#request;
    if (statement === null) return link.send(this.#packet.raw, this);
    const id = link.prepared.get(statement) as number;
    if (executes(command)) this.#sendExecute(link, statement, id);
    else link.send(patchStatementId(this.#packet.raw, id), this);
  }

  #sendExecute(link: ServerConnection, statement: PreparedStatement, id: number): void {
    for (const chunk of statement.longData) link.send(patchStatementId(chunk, id), null);
    const typesKnown = statement.typesSentOn === link;
    statement.typesSentOn = link;
    if (this.#request.command === Command.STMT_BULK_EXECUTE) {
      return link.send(bulkExecutePacket(this.#packet, statement, id, typesKnown), this);
    }
    const packet = executePacket(this.#packet, statement, id, typesKnown, this.clientCapabilities);
    if (packet.opensCursor) this.#client.session.pins.add('cursor');
    link.send(packet.raw, this);
  }

  // ---- forward --------------------------------------------------------------------------------------------------

  forward(piece: Buffer): void {
    if (this.#quiet !== null) return;
    this.#shown = true;
    if (this.#client.write(piece)) return;
    const link = this.#link as ServerConnection;
    link.pause();
    this.#client.onceDrained(() => link.resume());
  }

  ok(ok: OkPacket, changes: readonly SessionChange[]): void {
    this.#lastOk = ok;
    this.#client.session.learn(ok, changes);
    if (this.#client.session.schema !== null && this.#link !== null) this.#link.hasSchema = true;
    for (const change of changes) {
      if (change.kind === 'state') this.#changedState = true;
      else if (change.kind === 'variable' || change.kind === 'schema') this.#explained = true;
    }
  }

  error(err: ErrPacket, first: boolean): boolean {
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
    const text = this.#request.text as Buffer;
    const copy = Buffer.from(text);
    const packet = Buffer.from(this.#packet.raw);
    const statement = this.#client.session.addStatement(packet, copy, parameters, columns);
    (this.#link as ServerConnection).prepared.set(statement, statementId);
    return statement.id;
  }

  // ---- learn, finish --------------------------------------------------------------------------------------------

  end(): void {
    if (this.#unfit !== null) return this.#onUnfit(this.#unfit);
    if (!this.#failed) this.#learn();
    if (this.#client.session.inTransaction && this.#request.sql.flags.release) {
      this.#client.session.transactionEnded();
    }
    this.#finish();
  }

  #learn(): void {
    const { session } = this.#client;
    const { sql, command } = this.#request;
    if (command === Command.SET_OPTION) session.multiStatements = this.#packet.payload.readUInt16LE(1);
    if (command === Command.STMT_RESET || ((this.#lastOk?.status ?? 0) & ServerStatus.LAST_ROW_SENT) !== 0) {
      session.pins.delete('cursor');
    }
    // COM_INIT_DB is told by servers that track the schema; USE of the same schema is not.
    if (command === Command.INIT_DB) session.schema = this.#packet.payload.toString('utf8', 1);
    if (session.schema !== null && this.#link !== null) this.#link.hasSchema = true;
    if (command !== Command.QUERY && !executes(command)) return;
    learnFromText(session, sql, this.#request.text, {
      warnings: this.#lastOk?.warnings ?? 0,
      unexplainedChange: this.#changedState && !this.#explained,
    });
  }

  #finish(): void {
    this.#step = 'done';
    const { statement, command } = this.#request;
    // Executed, failed or reset: the next execution starts without this one's long data.
    if (statement !== null && command !== Command.STMT_FETCH) {
      statement.longData = [];
      statement.longDataBytes = 0;
    }
    const { gate, worker } = this.#client;
    if (this.#wasHeld) {
      worker.impact(gate).stalled(worker.nowMs() - this.arrivedMs);
      gate.hold.settled(this);
    }
    this.#client.finished(this);
    this.#quiet?.(this.#quietError);
  }

  // ---- lost -----------------------------------------------------------------------------------------------------

  /** The server is there, but read-only or on its way out. It did not execute the statement. */
  #onUnfit(unfit: { kind: 'read-only' | 'shutdown'; err: ErrPacket }): void {
    const { node } = this.#link as ServerConnection;
    if (unfit.kind === 'shutdown') {
      this.#client.dropLink('the server shuts down');
      return this.lost({ kind: 'shutdown', detail: unfit.err.message });
    }
    this.#client.suspect(node, 'read-only', unfit.err.message);
    if (!this.#wasInTransaction) return this.#again();
    this.#client.dropLink('the node became read-only');
    this.#client.session.transactionEnded();
    this.#fail(gatewayError('transaction-lost', `${node} became read-only`));
  }

  lost(loss: Loss): void {
    if (this.#step === 'done') return;
    const { session } = this.#client;
    this.#blame(loss);
    if (this.#step !== 'sent') return this.#again();
    const shown = this.#shown;
    const inTransaction = this.#wasInTransaction;
    const { autocommit } = session;
    const fileUnfinished = this.#file === 'sending';
    const outcome = outcomeOfLoss({ sql: this.#request.sql, inTransaction, autocommit, shown, fileUnfinished });
    session.transactionEnded();
    this.#client.takeLostState('rollback'); // said by this statement's own answer
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

  /** The client left. */
  abandon(): void {
    const step = this.#step;
    this.#step = 'done';
    const { gate, worker, cluster } = this.#client;
    gate.hold.abandon(this);
    if (step === 'holding') this.#client.held(false);
    if (this.#linkRequest !== null) {
      for (const pool of worker.pools(cluster)) pool.cancel(this.#linkRequest);
    }
  }
}
