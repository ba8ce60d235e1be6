// One sending of a statement on one server connection: its answer is forwarded to the client, and learnt from. A
// statement that is sent again has another flight; one whose answer nobody wants any more is dropped, and reads on.
import {
  type AnswerShape,
  Command,
  type ErrPacket,
  type OkPacket,
  type Packet,
  type PacketSpan,
  ServerStatus,
  type SessionChange,
} from '../wire/index.ts';
import { foundRows, isQuery, keepsWarnings, leavesWarnings } from './aftermath.ts';
import type { Client } from './client.ts';
import { executes, type ServerRequest } from './command.ts';
import { isReadOnlyNode, isShutdown } from './evidence.ts';
import { bulkExecutePacket, executePacket, patchStatementId } from './execute-packet.ts';
import type { AnswerMark } from './in-flight/index.ts';
import { changesThatStay, learnFromFailure, learnFromText } from './learn.ts';
import { withHidden } from './link-state.ts';
import type { LinkStatement } from './prepared.ts';
import type { Exchange, Loss, ServerConnection } from './server-connection.ts';
import type { Way } from './split.ts';

/** ER_QUERY_INTERRUPTED, as both families say it. */
export const INTERRUPTED: ErrPacket = {
  errno: 1317,
  sqlState: '70100',
  message: 'Query execution was interrupted',
};

/** ER_MAX_PREPARED_STMT_COUNT_REACHED: of all connections to the server together. */
export const TOO_MANY_PREPARED = 1461;

/** ER_QUERY_TIMEOUT, ER_STATEMENT_TIMEOUT: it would take as long again. */
const TIMED_OUT = new Set([3024, 1969]);

/** An error that says that the node is unfit, or that was meant for somebody else; the client has not seen it. */
export interface Unfit {
  kind: 'read-only' | 'shutdown' | 'interrupted' | 'no-room-to-prepare' | 'aside' | 'number-taken';
  err: ErrPacket;
}

export type Course =
  | 'plain'
  /** An autocommit write in a transaction of its own: its answer is the client's once that is committed. */
  | 'own'
  /** In a transaction that is recorded. */
  | 'recorded';

/** Whose flight it is. */
export interface Passenger {
  readonly client: Client;
  readonly packet: Packet;
  readonly request: ServerRequest;
  readonly shareable: boolean;
  /** Where it runs: of `route: auto`, perhaps on a replica. */
  readonly way: Way;
  /** The answer is not the client's. */
  readonly silent: boolean;
  /** Whether it is part of what can be run again: see in-flight/. */
  readonly course: Course;
  /** BEGIN goes ahead of it. */
  readonly begins: boolean;
  /** It may be sent again elsewhere. */
  readonly mayRetry: boolean;
  readonly expectedUs: number;
  /** True once: another number may be free for it (taken-number.ts). */
  takesAnotherNumber(err: ErrPacket): boolean;
  landed(flight: Flight): void;
  turnedAway(unfit: Unfit): void;
  lost(loss: Loss, sent: boolean): void;
  divert(): void;
}

/**
 * MariaDB tells the schema, which is the same, and that something changed, when it opens a view or runs a trigger of another schema
 * and comes back. What a function there may have changed is told no otherwise.
 */
function cameBack(changes: readonly SessionChange[], schema: string | null): boolean {
  return changes.some((change) => change.kind === 'schema' && change.schema === (schema ?? ''));
}

const CHANGES_ACCOUNTS =
  /^\s*(grant|revoke|(create|alter|drop|rename)\s+(user|role)|set\s+(password|default\s+role)|flush\s+privileges)\b/i;
const CHANGES_PASSWORD = /^\s*(set\s+password|alter\s+user)/i;
const NOTHING_HELD: Buffer[] = [];
const NO_MARK: AnswerMark = Object.freeze({ digest: 0, affectedRows: 0n, insertId: 0n, errno: 0 });

export class Flight implements Exchange {
  readonly shape: AnswerShape;
  readonly clientCapabilities: number;
  readonly status: number;
  readonly expectedUs: number;
  readonly costSlot: number;
  readonly link: ServerConnection;
  /** A transaction was open, or begins with it. */
  readonly inTransaction: boolean;
  /** Something of the answer reached the client. */
  shown = false;
  failed = false;
  serverError: ErrPacket | null = null;
  file: 'none' | 'sending' | 'sent' = 'none';
  /** A KILL QUERY is meant for it. */
  killed = false;
  /** Nobody wants the answer: it is read and dropped. */
  dropped = false;
  over = false;
  readonly digests: boolean;
  readonly hidesTransaction: boolean;
  opensCursor = false;
  /** The answer that the client gets later. */
  readonly held: Buffer[];
  /** Of an answer that is recorded, so far. */
  readonly mark: AnswerMark;
  /** The server's error number; 0 where there is none. */
  errno = 0;
  /** The server says that its transaction has written. */
  wrote = false;
  /** When it was sent, milliseconds since 1970. */
  sentAtMs = 0;
  #passenger: Passenger;
  #unfit: Unfit | null = null;
  #warnings = 0;
  #flags = 0;
  /** Of the last result. */
  #endsRows = false;
  #affectedRows = 0n;
  #changedState = false;
  #explained = false;
  #set = false;
  /** The server connection's state is not what we take it for. */
  #strange = false;
  /** The server was in another schema meanwhile, for an object of that one, and did there what it did. */
  #wasElsewhere = false;
  #generation: number;

  constructor(passenger: Passenger, link: ServerConnection) {
    const { client, request } = passenger;
    const { session } = client;
    this.#passenger = passenger;
    this.link = link;
    this.shape = request.shape;
    this.clientCapabilities = client.capabilities;
    this.status = session.status;
    this.expectedUs = Math.max(0, passenger.expectedUs);
    this.costSlot = request.costSlot;
    this.digests = passenger.course === 'recorded';
    this.hidesTransaction = passenger.course === 'own';
    // Reads, which are most, make no object for it.
    this.held = this.hidesTransaction ? [] : NOTHING_HELD;
    this.mark = this.digests ? { digest: 0, affectedRows: 0n, insertId: 0n, errno: 0 } : NO_MARK;
    this.inTransaction = session.inTransaction || passenger.begins;
    this.#generation = link.prepared.generation;
  }

  // ---- send -----------------------------------------------------------------------------------------------------

  send(prepared: LinkStatement | null): void {
    const { client, packet, request } = this.#passenger;
    const { link } = this;
    const { session } = client;
    const { statement, command } = request;
    if (this.digests) this.sentAtMs = Date.now();
    session.foundRowsThere &&=
      command === Command.STMT_PREPARE && link.lastSession === session && session.lastOn === link;
    session.lastAnsweredHere = false;
    // A COM_STMT_PREPARE leaves ROW_COUNT() and the like as they are: a stranger's, where they were.
    const leaves = command === Command.STMT_PREPARE && (link.lastSession !== session || session.lastOn !== link);
    link.lastSession = leaves ? null : session;
    session.lastOn = link;
    if (!request.sql.rerunnable) {
      session.wroteOn = link;
      link.lastWriter = session;
    }
    if (statement === null || prepared === null) return link.send(packet.raw, this);
    if (!executes(command)) return link.send(patchStatementId(packet.raw, prepared.id), this);
    for (const chunk of statement.longData ?? []) link.send(patchStatementId(chunk, prepared.id), null);
    if (command === Command.STMT_BULK_EXECUTE) return link.send(bulkExecutePacket(packet, statement, prepared), this);
    const { raw, opensCursor } = executePacket(packet, statement, prepared, this.clientCapabilities);
    this.opensCursor = opensCursor;
    if (opensCursor) session.pin('cursor', String(statement.id));
    link.send(raw, this);
  }

  // ---- forward --------------------------------------------------------------------------------------------------

  forward(piece: Buffer): void {
    const { client, silent, shareable } = this.#passenger;
    if (silent || this.dropped) return;
    if (this.hidesTransaction) {
      this.held.push(Buffer.from(piece));
      return;
    }
    this.shown = true;
    if (client.forward(piece, this.link)) return;
    this.link.pause();
    if (shareable) client.worker.pool(client.cluster, this.link.node).leaveAlone(this.link);
    client.onceDrained(() => this.link.resume());
  }

  ok(ok: OkPacket, changes: readonly SessionChange[]): void {
    if (this.dropped) return;
    const { client, shareable } = this.#passenger;
    const { session } = client;
    this.#endsRows = ok.endsRows === true;
    this.#affectedRows = ok.affectedRows;
    const { flags, kind } = this.#passenger.request.sql;
    // What comes last of several statements may be the question for the warnings of those before it, or keep them.
    const keeps = kind === 'multi' && (flags.asksDiagnostics || client.worker.flavor(client.cluster) === 'mariadb');
    this.#warnings = keeps ? Math.max(this.#warnings, ok.warnings) : ok.warnings;
    this.#flags = ok.status;
    if (shareable) {
      // A read that may share changes nothing: what is told here is a stranger's doing, told late.
      session.status = ok.status & ~(ServerStatus.IN_TRANS | ServerStatus.IN_TRANS_READONLY);
      if (cameBack(changes, session.state.schema)) this.#wasElsewhere = true;
      else this.#strange ||= changes.some(({ kind }) => kind === 'schema' || kind === 'state');
      return;
    }
    this.#wasElsewhere ||= cameBack(changes, session.state.schema);
    session.learn(ok, flags.setsUnreported ? changesThatStay(this.#passenger.request, changes) : changes);
    if (this.digests) {
      this.mark.affectedRows += ok.affectedRows;
      this.mark.insertId = ok.insertId;
    }
    if (!this.#keepsRowCount) session.rowCount = ok.endsRows === true ? -1n : ok.affectedRows;
    if (ok.insertId !== 0n) session.insertIdIsOn(this.link, ok.insertId);
    for (const change of changes) {
      if (change.kind === 'state') this.#changedState = true;
      else if (change.kind === 'variable' || change.kind === 'schema') this.#explained = true;
      else if (change.kind === 'transaction-state') this.wrote ||= /w/i.test(change.state);
      // With every write MariaDB tells its GTID as a variable.
      if (change.kind === 'variable' && change.name !== 'last_gtid') this.#set = true;
    }
  }

  error(err: ErrPacket, first: boolean): boolean {
    if (this.dropped) return false;
    const { client, shareable, silent, mayRetry, way } = this.#passenger;
    this.failed = true;
    this.errno = err.errno;
    if (this.shape === 'prepare') client.session.lastPrepared = null;
    if (first && isShutdown(err)) this.#unfit = { kind: 'shutdown', err };
    else if (first && mayRetry && client.gate.wantsPrimary && way === 'primary' && isReadOnlyNode(err)) {
      this.#unfit = { kind: 'read-only', err };
    }
    // A KILL QUERY that was meant for a stranger's read on the same connection.
    else if (first && mayRetry && shareable && err.errno === INTERRUPTED.errno && !this.killed) {
      this.#unfit = { kind: 'interrupted', err };
    } else if (first && way === 'replica' && this.#mayGoElsewhere && !this.#isStopped(err.errno)) {
      // What the primary says counts: the two may differ in what they have, or allow.
      this.#unfit = { kind: 'aside', err };
    } else if (mayRetry && this.shape === 'prepare' && err.errno === TOO_MANY_PREPARED) {
      this.#unfit = { kind: 'no-room-to-prepare', err };
    } else if (first && this.#passenger.course === 'recorded' && this.#passenger.takesAnotherNumber(err)) {
      this.#unfit = { kind: 'number-taken', err };
    }
    if (this.#unfit !== null) return false;
    this.serverError = err;
    if (silent) return false;
    // A deadlock's victim has lost its whole transaction, and an ERR packet carries no status flags.
    if (err.errno === 1213) client.session.transactionEnded();
    client.worker.count('server_errors', String(err.errno));
    return true;
  }

  /** By itself, or with the transaction that it is in, which can be run again. */
  get #mayGoElsewhere(): boolean {
    return !this.inTransaction || this.#passenger.course === 'recorded';
  }

  /** It was stopped, by its client or since it took too long. */
  #isStopped(errno: number): boolean {
    return TIMED_OUT.has(errno) || (this.killed && errno === INTERRUPTED.errno);
  }

  localInfile(): void {
    this.file = 'sending';
    this.#passenger.client.worker.count('local_infile', '');
  }

  /** A piece of the client's file, its packets numbered by the scanner. */
  fileSpan({ raw, ended }: PacketSpan): void {
    const { client } = this.#passenger;
    const { link } = this;
    const more = link.pass(raw);
    if (ended) {
      this.file = 'sent';
      link.scanner.infileSent();
    } else if (!more) {
      client.setReading(false);
      link.onceDrained(() => client.setReading(true));
    }
  }

  prepared(statementId: number, parameters: number, columns: number, warnings: number): number {
    const { client, packet, request } = this.#passenger;
    const { link } = this;
    this.#warnings = warnings;
    if (this.dropped) {
      link.closeStatement(statementId);
      return statementId;
    }
    const seesUserVariables = request.sql.flags.usesUserVariable;
    const shape = { parameters, columns, options: request.options, seesUserVariables };
    const logical = client.tether.logical(packet.raw, request.text as Buffer, shape);
    // A stranger may have had the connection reset behind it.
    if (this.#generation === link.prepared.generation) client.tether.addPrepared(link, logical, statementId);
    return client.session.addStatement(logical).id;
  }

  // ---- learn ----------------------------------------------------------------------------------------------------

  end(): void {
    this.over = true;
    if (this.dropped) return;
    if (this.#unfit !== null) {
      this.link.hasDiagnostics = true;
      return this.#passenger.turnedAway(this.#unfit);
    }
    const { client, packet, request, shareable } = this.#passenger;
    const { session } = client;
    const { sql, command } = request;
    const { link } = this;
    // Whoever left that open is gone: nobody is to write in it.
    if (shareable && link.scanner.inTransaction) {
      setImmediate(() => link.lose({ kind: 'closed', detail: 'a transaction was left open on it' }));
    }
    if (this.digests) {
      this.mark.digest = link.scanner.digest;
      this.mark.errno = this.errno;
    }
    if (this.failed) learnFromFailure(session, request, shareable, this.errno);
    else this.#learn();
    if (session.inTransaction && sql.flags.release) session.transactionEnded();
    const diagnostics = this.failed || this.#warnings > 0;
    const { tether } = client;
    const flavor = client.worker.flavor(client.cluster);
    const left = !diagnostics && (link.hasDiagnostics || tether.mayRunAgain) && keepsWarnings(request, flavor);
    link.hasDiagnostics = diagnostics || (link.hasDiagnostics && left);
    const asks = flavor === 'mysql' ? leavesWarnings(request) : sql.flags.asksPrevious;
    if (!asks && !left) {
      const repeats = command === Command.QUERY || command === Command.STMT_PREPARE;
      const again = repeats ? packet.raw : 'on-its-connection';
      tether.rememberWarned(diagnostics && shareable ? again : null);
    }
    if (!shareable) {
      // A schema that could not be chosen leaves the one that was there.
      if (!(this.failed && command === Command.INIT_DB)) link.state = session.state;
    } else if (this.#strange) link.lose({ kind: 'closed', detail: 'its state is not known any more' });
    else if (this.#wasElsewhere) link.state = withHidden(link.state);
    // The link has another: it is chosen ahead of the next statement.
    if (session.schemaAfterPassword !== null && !this.failed && CHANGES_PASSWORD.test(String(request.text))) {
      session.chooseSchema(session.schemaAfterPassword);
      session.schemaAfterPassword = null;
    }
    this.#passenger.landed(this);
  }

  /** GET DIAGNOSTICS leaves it as it is. */
  get #keepsRowCount(): boolean {
    return !this.#endsRows && leavesWarnings(this.#passenger.request);
  }

  #learn(): void {
    const { client, packet, request, shareable } = this.#passenger;
    const { session } = client;
    const { command, reads, sql } = request;
    if (reads && this.#endsRows) session.rowCount = -1n;
    const found = foundRows(request, this.link.scanner.rows, this.#endsRows ? null : Number(this.#affectedRows));
    if (found !== null) session.foundRows = found;
    // Of others it is not sure that they set it.
    if (command !== Command.STMT_PREPARE) session.foundRowsThere = reads && (found !== -1 || isQuery(request.text));
    if (this.#keepsRowCount) this.link.lastSession = null; // it may still be a stranger's
    if (sql.flags.globalScope && session.replaced !== null) {
      client.worker.defaultsReplaced(client.cluster, this.link.node, session.replaced);
      session.replaced = null;
    }
    if (
      sql.flags.implicitCommit &&
      request.text !== null &&
      CHANGES_ACCOUNTS.test(request.text.toString('latin1', 0, 64))
    ) {
      client.worker.accountsChanged(client.cluster);
    }
    if (command === Command.SET_OPTION) session.setMultiStatements(packet.payload.readUInt16LE(1));
    this.#learnCursor(request);
    // COM_INIT_DB is told by servers that track the schema; USE of the same schema is not.
    if (command === Command.INIT_DB) session.chooseSchema(packet.payload.toString('utf8', 1));
    if (command !== Command.QUERY && !executes(command)) return;
    learnFromText(session, request, {
      warnings: this.#warnings,
      shared: shareable,
      link: this.link,
      changed: this.#changedState,
      explained: this.#explained,
      set: this.#set,
      elsewhere: this.#wasElsewhere,
    });
  }

  /** Whether the statement's cursor is still open, or was opened at all. */
  #learnCursor({ command, statement }: ServerRequest): void {
    if (statement === null) return;
    const ended = command === Command.STMT_RESET || (this.#flags & ServerStatus.LAST_ROW_SENT) !== 0;
    const none = this.opensCursor && (this.failed || (this.#flags & ServerStatus.CURSOR_EXISTS) === 0);
    if (ended || none) this.#passenger.client.session.unpin('cursor', String(statement.id));
  }

  lost(loss: Loss, sent: boolean): void {
    if (!this.dropped) this.#passenger.lost(loss, sent);
  }

  divert(): void {
    if (!this.dropped) this.#passenger.divert();
  }
}
