// A client's connection: its socket, its session, its place in the order of commands. One command at a time; the next
// is read when the last is answered. The connection outlives any number of server connections.
import type { Socket } from 'node:net';
import type { EndpointSettings, EvidenceKind, NodeAddress } from '../messages/index.ts';
import type { StatementKind } from '../sql/index.ts';
import {
  type ErrPacket,
  encodeEarlyErr,
  encodeErr,
  frame,
  type Packet,
  parseChangeUser,
  plainOk,
} from '../wire/index.ts';
import { findStatement, readRequest } from './command.ts';
import { gatewayError } from './errors.ts';
import type { GatewayWorker } from './gateway.ts';
import { Inbox } from './inbox.ts';
import { killError, PROXY_ID_BASE } from './kill.ts';
import { type LoggedIn, Login } from './login.ts';
import { Outbox } from './outbox.ts';
import type { LinkOwner } from './pool.ts';
import { type QuietResult, runQuietly } from './quiet.ts';
import type { Gate } from './routes.ts';
import {
  describeLoss,
  type LoginProfile,
  type Loss,
  loginSettings,
  type ServerConnection,
} from './server-connection.ts';
import { type Pin, SessionState } from './session.ts';
import { Statement } from './statement.ts';

/** A half command, or an answer that nobody reads, for longer than this ends the connection (servers: net_*_timeout). */
const NET_TIMEOUT_MS = 30_000;
const STALLED_TIMEOUT_MS = 60_000;
/** Commands sent ahead are read no further than this while one is being answered. */
const READ_AHEAD_BYTES = 1 << 20;
const NO_BYTES = Buffer.alloc(0);

export type LostState = { error: ErrPacket } | { rolledBack: true };

export class Client implements LinkOwner {
  readonly worker: GatewayWorker;
  readonly endpoint: EndpointSettings;
  readonly gate: Gate;
  readonly connectionId: number;
  capabilities = 0;
  session = new SessionState(0);
  profile: LoginProfile | null = null;
  profileKey = '';
  link: ServerConnection | null = null;
  /** The link has the session's state. */
  linkIsCurrent = false;
  #socket: Socket;
  #inbox: Inbox;
  #login: Login | null;
  #nonce: Buffer = Buffer.alloc(0);
  #statement: Statement | null = null;
  #transactionLost: string | null = null;
  #lostPins: Pin[] = [];
  /** The error that a client gets at the end of the file that it is still sending. */
  #swallowing: Buffer | null = null;
  #outbox: Outbox;
  /** Another worker is asked something; the next command waits. */
  #waiting = false;
  #closing = false;
  #closed = false;
  #lastReadMs: number;

  constructor(worker: GatewayWorker, endpoint: EndpointSettings, gate: Gate, socket: Socket, connectionId: number) {
    this.worker = worker;
    this.endpoint = endpoint;
    this.gate = gate;
    this.connectionId = connectionId;
    this.#socket = socket;
    this.#outbox = new Outbox(socket, worker.settings.limits.clientBufferBytes, () => worker.nowMs());
    this.#lastReadMs = worker.nowMs();
    this.#inbox = new Inbox(worker.settings.limits.maxPacketBytes, () => this.#onInflated());
    this.#attach(socket);
    this.#login = new Login(this, socket, (result) => this.#onLogin(result));
  }

  get cluster(): string {
    return this.endpoint.cluster;
  }

  get user(): string {
    return this.profile?.user ?? '';
  }

  get loggedIn(): boolean {
    return this.#login === null;
  }

  /** Something of this client's is on a server: a statement in flight, or an open transaction. */
  get atWork(): boolean {
    if (this.link === null) return false;
    return this.session.inTransaction || (this.#statement !== null && this.link.busy);
  }

  // ---- socket ---------------------------------------------------------------------------------------------------

  #attach(socket: Socket): void {
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('error', () => this.close());
    socket.on('close', () => this.close());
  }

  /** TLS stands: the same conversation goes on over `socket`. */
  adopt(socket: Socket): void {
    this.#outbox.adopt(socket);
    this.#socket = socket;
    this.#attach(socket);
  }

  /** An error of ours ends this one connection, never the worker. */
  #onData(chunk: Buffer): void {
    try {
      this.#take(chunk);
    } catch (error) {
      this.worker.log.error({ err: error, client: this.connectionId }, 'client closed by an internal error');
      this.worker.count('internal_errors', 'client');
      this.close();
    }
  }

  #take(chunk: Buffer): void {
    if (this.#closed) return;
    this.#lastReadMs = this.worker.nowMs();
    this.#inbox.push(chunk);
    this.#readOn();
  }

  #readOn(): void {
    while (!this.#closed && !this.#closing) {
      if (this.#busy) {
        if (this.#inbox.bufferedBytes > READ_AHEAD_BYTES) this.#socket.pause();
        return;
      }
      if (this.#login !== null) {
        const bytes = this.#inbox.nextBytes();
        if (bytes === null) break;
        this.#login.onData(bytes);
        continue;
      }
      const packet = this.#inbox.next();
      if (packet === null) break;
      this.#onPacket(packet);
    }
    const { fault } = this.#inbox;
    if (fault === 'packet-too-large') this.end(gatewayError('packet-too-large'));
    else if (fault === 'sequence') this.end(gatewayError('packets-out-of-order'));
    else if (fault === 'corrupt') this.end(gatewayError('malformed-packet'));
    else if (this.#inbox.inflating && this.#inbox.bufferedBytes > READ_AHEAD_BYTES) this.#socket.pause();
  }

  /** Commands are not read on. */
  get #busy(): boolean {
    if (this.#waiting) return true;
    // A file goes no faster than its server takes it.
    return this.#statement !== null && (!this.#statement.takesFile || this.#socket.isPaused());
  }

  /** A large frame was decompressed. */
  #onInflated(): void {
    if (!this.#busy) this.#socket.resume();
    this.#onData(NO_BYTES);
  }

  /** Writes to the client. False: it reads too slowly; wait for `onceDrained`. */
  write(piece: Buffer): boolean {
    return this.#closed || this.#outbox.write(piece);
  }

  onceDrained(callback: () => void): void {
    this.#outbox.onceDrained(callback);
  }

  setReading(reading: boolean): void {
    if (!reading) this.#socket.pause();
    else {
      this.#socket.resume();
      if (this.#inbox.bufferedBytes > 0) this.#onData(NO_BYTES);
    }
  }

  /** Says why, and closes once that is written. */
  end(err: ErrPacket, sequence = 1): void {
    if (this.#closing) return;
    this.#closing = true;
    if (sequence === 0) this.#inbox.restartNumbers();
    this.ownError(err);
    const who = { client: this.connectionId, address: this.worker.addressOf(this.#socket), user: this.user };
    this.worker.log.info({ ...who, errno: err.errno }, `client closed: ${err.message}`);
    this.#socket.resume(); // unread bytes would turn the close into a reset, and the error be lost
    this.#outbox.end(frame(encodeErr(err), sequence));
    setTimeout(() => this.close(), 1000).unref();
  }

  /** Instead of the greeting. */
  endEarly(err: ErrPacket): void {
    this.#closing = true;
    this.#outbox.end(frame(encodeEarlyErr(err), 0));
    setTimeout(() => this.close(), 1000).unref();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#closing = true;
    this.#login?.abandon();
    const statement = this.#statement;
    this.#statement = null;
    statement?.abandon();
    const { link } = this;
    if (link !== null) {
      this.link = null;
      const reusable = statement === null && this.session.multiStatements === null;
      this.worker.pool(this.cluster, link.node).release(link, reusable);
    }
    this.#socket.destroy();
    this.worker.gone(this);
  }

  /** Ends half commands and answers that nobody reads. */
  tick(nowMs: number): void {
    if (this.#login !== null) return;
    const halfRead = this.#statement === null && this.#inbox.bufferedBytes > 0;
    const waitsForFile = this.#statement?.takesFile ?? false;
    if ((halfRead || waitsForFile) && nowMs - this.#lastReadMs > NET_TIMEOUT_MS) {
      this.worker.log.info({ client: this.connectionId, reason: 'net-read-timeout' }, 'client closed: half a packet');
      this.close();
    } else if (this.#outbox.stalledSinceMs !== null && nowMs - this.#outbox.stalledSinceMs > STALLED_TIMEOUT_MS) {
      this.worker.log.info(
        { client: this.connectionId, reason: 'net-write-timeout' },
        'client closed: it does not read',
      );
      this.close();
    }
  }

  /** A plain read is in flight: it can be run again elsewhere. */
  get reading(): boolean {
    return this.#statement?.rerunnable ?? false;
  }

  /** KILL CONNECTION. */
  killed(): void {
    this.end({ errno: 1927, sqlState: '70100', message: 'Connection was killed' });
    this.close();
  }

  /** The worker is shutting down: between transactions the connection ends. True: it has. */
  retire(): boolean {
    if (this.#statement !== null || this.session.inTransaction) return false;
    if (this.#login === null) this.end(gatewayError('shutting-down'), 0);
    else this.close();
    return true;
  }

  // ---- login ----------------------------------------------------------------------------------------------------

  #onLogin(result: LoggedIn): void {
    this.#login = null;
    this.capabilities = result.capabilities;
    this.#nonce = result.nonce;
    this.#begin(result);
    this.worker.loggedIn(this);
    if (result.database === null) {
      this.write(frame(plainOk(this.session.status, this.capabilities), result.sequence));
      return this.#afterLogin(result);
    }
    this.#selectSchema(result.database, (err) => {
      if (err !== null) return this.end(err, result.sequence);
      this.write(frame(plainOk(this.session.status, this.capabilities), result.sequence));
      this.#afterLogin(result);
    });
  }

  #afterLogin({ compression, rest }: LoggedIn): void {
    if (compression !== null) {
      this.#outbox.compress(compression);
      this.#inbox.decompress(compression);
    }
    if (rest.length > 0) this.#inbox.push(rest);
    this.#readOn();
  }

  #begin(result: Pick<LoggedIn, 'profile' | 'profileKey'>): void {
    this.profile = result.profile;
    this.profileKey = result.profileKey;
    this.session = new SessionState(result.profile.collation);
  }

  /** Only the server knows whether the schema exists and this account may use it. */
  #selectSchema(schema: string, callback: (err: ErrPacket | null) => void): void {
    this.#statement = Statement.selectSchema(this, schema, callback);
    this.#statement.start();
  }

  // ---- commands -------------------------------------------------------------------------------------------------

  #onPacket(packet: Packet): void {
    if (this.#statement !== null) return this.#statement.filePacket(packet);
    if (this.#swallowing !== null) return this.#swallow(packet);
    if (packet.sequence !== 0) return this.end(gatewayError('packets-out-of-order'), packet.lastSequence + 1);
    let request: ReturnType<typeof readRequest>;
    try {
      request = readRequest(packet, this.session, this.worker.flavor(this.cluster), this.capabilities);
    } catch {
      return this.end(gatewayError('malformed-packet'));
    }
    switch (request.kind) {
      case 'server':
        this.worker.statementStarted(this);
        this.#statement = new Statement(this, packet, request);
        return this.#statement.start();
      case 'quit':
        this.#closing = true;
        return this.close();
      case 'ping':
        return this.answerOk();
      case 'reset':
        this.forget();
        return this.answerOk();
      case 'change-user':
        return this.#changeUser(packet);
      case 'kill':
        return this.#kill(packet, request.connectionId, request.queryOnly);
      case 'long-data':
        return this.#longData(packet, request.statementId);
      case 'close-statement':
        return this.#closeStatement(request.statementId);
      case 'unknown-statement':
        return this.answerError(gatewayError('unknown-statement', `id ${request.statementId}`));
      case 'refused':
        return this.answerError(gatewayError('unknown-command', request.name));
    }
  }

  answerOk(): void {
    this.write(frame(plainOk(this.session.status, this.capabilities), 1));
  }

  answerError(err: ErrPacket): void {
    this.ownError(err);
    this.write(frame(encodeErr(err), 1));
  }

  /** Counts an error that we made. A refused login is no failure of ours. */
  ownError(err: ErrPacket): void {
    const code = /\(Evenkeel: ([\w-]+)/.exec(err.message)?.[1] ?? String(err.errno);
    this.worker.count('client_errors', code);
    if (this.loggedIn) this.worker.errorFor(this);
  }

  /** A statement has had its answer. */
  finished(statement: Statement): void {
    if (this.#statement !== statement) return;
    this.#outbox.flush();
    this.#statement = null;
    const { link } = this;
    if (link !== null && this.linkIsCurrent && this.session.movable)
      this.worker.pool(this.cluster, link.node).setIdle(link);
    this.worker.statementFinished();
    if (this.#socket.isPaused()) this.#socket.resume();
    if (this.#inbox.bufferedBytes > 0) this.#readOn();
  }

  /** COM_RESET_CONNECTION: the state is as after login; the server connection is as good as any other. */
  forget(): void {
    const { schema } = this.session;
    this.session.pins.clear();
    this.dropLink('the session was reset');
    this.session.reset();
    this.session.schema = schema;
    this.#transactionLost = null;
    this.#lostPins = [];
  }

  #changeUser(packet: Packet): void {
    const request = parseChangeUser(packet.payload, this.capabilities);
    this.forget();
    this.session.schema = null;
    this.#login = Login.changeUser(this, this.#socket, request, this.#nonce, packet.lastSequence + 1, (result) => {
      this.#onLogin(result);
    });
  }

  #kill(packet: Packet, connectionId: number, queryOnly: boolean): void {
    if (connectionId < PROXY_ID_BASE) {
      // A server's own thread id: the server decides.
      this.#statement = Statement.passThrough(this, packet);
      return this.#statement.start();
    }
    this.#waiting = true;
    this.worker.kill(this, connectionId, queryOnly, (outcome) => {
      this.#waiting = false;
      if (outcome === 'done') this.answerOk();
      else this.answerError(killError(outcome, connectionId));
      this.#readOn();
    });
  }

  #longData(packet: Packet, statementId: number): void {
    const statement = findStatement(this.session, statementId);
    if (statement === undefined) return; // no answer to this command, not even an error
    statement.longDataBytes += packet.raw.length;
    if (statement.longDataBytes > this.worker.settings.limits.maxPacketBytes)
      return this.end(gatewayError('packet-too-large'));
    statement.longData.push(Buffer.from(packet.raw));
  }

  #closeStatement(statementId: number): void {
    const statement = findStatement(this.session, statementId);
    if (statement === undefined) return;
    this.session.statements.delete(statement.id);
    if (this.session.lastPrepared === statement) this.session.lastPrepared = null;
    const id = this.link?.prepared.get(statement);
    if (this.link === null || id === undefined) return;
    this.link.prepared.delete(statement);
    this.link.closeStatement(id);
  }

  // ---- a file that nobody wants any more ------------------------------------------------------------------------

  swallowFile(err: Buffer): void {
    this.#swallowing = err;
  }

  #swallow(packet: Packet): void {
    if (packet.payload.length > 0) return;
    const err = this.#swallowing as Buffer;
    this.#swallowing = null;
    this.write(frame(err, packet.lastSequence + 1));
  }

  // ---- the server connection ------------------------------------------------------------------------------------

  takeLink(link: ServerConnection): void {
    this.link = link;
    this.linkIsCurrent = false;
  }

  useLink(): void {
    const { link } = this;
    if (link !== null) this.worker.pool(this.cluster, link.node).setHeld(link);
  }

  /** Builds the session's state up on the link. */
  restoreLink(callback: (problem: Exclude<QuietResult, { kind: 'done' }> | null) => void): void {
    const link = this.link as ServerConnection;
    const { collation } = this.session;
    const afterReset = link.used;
    link.used = true;
    if (this.session.schema !== null) link.hasSchema = true;
    link.prepared.clear();
    const characterSet = this.worker.directory.characterSet(this.cluster, collation);
    const commands = this.session.restoreCommands(afterReset, loginSettings(link.profile, characterSet));
    if (!afterReset) this.worker.directory.askCharacterSet(this.cluster, collation, commands);
    runQuietly(link, commands, (result) => {
      if (result.kind !== 'done') return callback(result);
      if (this.link === link) this.linkIsCurrent = true;
      callback(null);
    });
  }

  /** Gives the link back; what was open or pinned on it is lost, and the next statement is told. */
  dropLink(reason: string): void {
    const { link } = this;
    if (link === null) return;
    const reusable = this.linkIsCurrent && this.session.movable && this.session.multiStatements === null;
    this.#unlink(reason);
    this.worker.pool(this.cluster, link.node).release(link, reusable);
  }

  #unlink(reason: string): void {
    this.link = null;
    this.linkIsCurrent = false;
    if (this.session.inTransaction) {
      this.#transactionLost = reason;
      this.session.transactionEnded();
    }
    this.#lostPins.push(...this.session.pins);
    this.session.pins.clear();
    this.session.diagnostics = false;
    this.session.foundRows = false;
  }

  linkTaken(): void {
    this.link = null;
    this.linkIsCurrent = false;
  }

  linkLost(_connection: ServerConnection, loss: Loss): void {
    this.#unlink(describeLoss(loss));
  }

  /** The node is no longer the one to talk to. */
  leaveNode(reason: string): void {
    const { link } = this;
    if (link === null) return;
    if (link.busy) link.lose({ kind: 'closed', detail: reason });
    else this.dropLink(reason);
  }

  /** What the session lost since its last statement, once. */
  takeLostState(next: StatementKind): LostState | null {
    const reason = this.#transactionLost;
    if (reason !== null) {
      this.#transactionLost = null;
      return next === 'rollback' ? { rolledBack: true } : { error: gatewayError('transaction-lost', reason) };
    }
    if (this.#lostPins.length === 0) return null;
    const what = [...new Set(this.#lostPins)].join(', ');
    this.#lostPins = [];
    return { error: gatewayError('state-lost', what) };
  }

  suspect(node: NodeAddress, kind: EvidenceKind, detail: string): void {
    this.gate.cluster.suspect(node, kind, detail, this.worker.nowMs());
  }

  held(waiting: boolean): void {
    this.worker.held(this, waiting);
  }
}
