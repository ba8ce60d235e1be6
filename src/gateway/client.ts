// A client's connection: its socket, its session, its place in the order of commands. One command at a time; the next
// is read when the last is answered. The connection outlives any number of server connections.
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { EndpointSettings, EvidenceKind, NodeAddress } from '../messages/index.ts';
import {
  type ErrPacket,
  encodeEarlyErr,
  encodeErr,
  frame,
  type Packet,
  parseChangeUser,
  plainOk,
} from '../wire/index.ts';
import {
  findStatement,
  keepLongData,
  maySetUnseen,
  readRequest,
  type ServerRequest,
  withConnectionId,
  withSessionScope,
} from './command.ts';
import { gatewayError } from './errors.ts';
import { mustChangePassword } from './evidence.ts';
import type { GatewayWorker } from './gateway.ts';
import { Inbox } from './inbox.ts';
import { killOther, killSelf, PROXY_ID_BASE } from './kill.ts';
import { type LoggedIn, Login } from './login.ts';
import { Outbox } from './outbox.ts';
import { readIntoShared } from './read-buffer.ts';
import type { Gate } from './routes.ts';
import type { ClientRules } from './rules.ts';
import type { LoginProfile, ServerConnection } from './server-connection.ts';
import { SessionState } from './session.ts';
import { Statement } from './statement.ts';
import { Tether } from './tether.ts';

/** A half command, or an answer that nobody reads, for longer than this ends the connection (servers: net_*_timeout). */
const NET_TIMEOUT_MS = 30_000;
const STALLED_TIMEOUT_MS = 60_000;
/** Commands sent ahead are read no further than this while one is being answered. */
const READ_AHEAD_BYTES = 1 << 20;
const NO_BYTES = Buffer.alloc(0);

/** What an endpoint counts, one worker's share. */
export interface EndpointCounts {
  clients: number;
  held: number;
  statements: number;
  errors: number;
}

export class Client {
  readonly worker: GatewayWorker;
  readonly endpoint: EndpointSettings;
  readonly gate: Gate;
  readonly connectionId: number;
  readonly counters: EndpointCounts;
  capabilities = 0;
  session = new SessionState(0);
  profile: LoginProfile | null = null;
  profileKey = '';
  /** Those of the configuration that may fit its statements. */
  rules: ClientRules | null = null;
  readonly tether: Tether;
  #socket: Socket;
  #inbox: Inbox;
  #login: Login | null;
  #nonce: Buffer = Buffer.alloc(0);
  #statement: Statement | null = null;
  /** The error that a client gets at the end of the file that it is still sending. */
  #swallowing: Buffer | null = null;
  #outbox: Outbox;
  /** Another worker is asked something; the next command waits. */
  #waiting = false;
  #group = '';
  #lean = false;
  #closing = false;
  #closed = false;
  #lastReadMs: number;

  constructor(
    worker: GatewayWorker,
    endpoint: EndpointSettings,
    gate: Gate,
    counters: EndpointCounts,
    socket: Socket,
    connectionId: number,
  ) {
    this.counters = counters;
    this.tether = new Tether(this);
    this.worker = worker;
    this.endpoint = endpoint;
    this.gate = gate;
    this.connectionId = connectionId;
    this.#socket = socket;
    this.#outbox = new Outbox(socket, worker.settings.limits.clientBufferBytes, worker.clock);
    this.#lastReadMs = worker.nowMs();
    this.#inbox = new Inbox(worker.settings.limits.maxPacketBytes);
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
    return (this.session.inTransaction && this.link !== null) || (this.activeLink?.busy ?? false);
  }

  /** The server connection that its session holds. */
  get link(): ServerConnection | null {
    return this.tether.link;
  }

  /** The server connection that its statement is on. */
  get activeLink(): ServerConnection | null {
    return this.tether.link ?? this.#statement?.link ?? null;
  }

  /** Whose statements take turns with whose where they wait for a server connection. */
  get group(): string {
    return this.#group;
  }

  // ---- socket ---------------------------------------------------------------------------------------------------

  #attach(socket: Socket): void {
    socket.on('data', this.#onData);
    const close = (): void => this.close();
    socket.on('error', close).on('close', close);
  }

  /** TLS stands: the same conversation goes on over `socket`. */
  adopt(socket: Socket): void {
    this.#outbox.adopt(socket);
    this.#socket = socket;
    this.#attach(socket);
  }

  /** An error of ours ends this one connection, never the worker. */
  #onData = (chunk: Buffer): void => {
    try {
      this.#take(chunk);
    } catch (error) {
      this.worker.log.error({ err: error, client: this.connectionId }, 'client closed by an internal error');
      this.worker.count('internal_errors', 'client');
      this.close();
    }
  };

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
      if (!this.#takeNext()) break;
    }
    const { fault } = this.#inbox;
    if (fault === 'packet-too-large') this.end(gatewayError(fault));
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

  /** A piece of an answer, which is flushed when the read that it came in has been taken. False: as for `write`. */
  forward(piece: Buffer, from: ServerConnection): boolean {
    if (this.#closed) return true;
    from.flushAfterRead(this);
    return this.#outbox.gather(piece);
  }

  /** Hands what was written to the kernel. */
  flush(): void {
    this.#outbox.flush();
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

  /** Says why, and closes when that is written. */
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
    const between = statement?.abandon() ?? true;
    this.tether.leave(between);
    this.#outbox.hangUp();
    this.worker.gone(this);
  }

  /** Ends half commands and answers that nobody reads. */
  tick(nowMs: number): void {
    if (this.#login !== null) return;
    const waits = this.#statement?.takesFile ?? (this.#swallowing !== null || this.#inbox.bufferedBytes > 0);
    const stalledMs = nowMs - (this.#outbox.stalledSinceMs ?? nowMs);
    if (waits && nowMs - this.#lastReadMs > NET_TIMEOUT_MS) this.#closeFor('net-read-timeout', 'half a packet');
    else if (stalledMs > STALLED_TIMEOUT_MS) this.#closeFor('net-write-timeout', 'it does not read');
  }

  #closeFor(reason: string, text: string): void {
    this.worker.log.info({ client: this.connectionId, reason }, `client closed: ${text}`);
    this.close();
  }

  /** A plain read is in flight: it can be run again elsewhere. */
  get reading(): boolean {
    return this.#statement?.rerunnable ?? false;
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
      // An account with an expired password: the server lets it in, with the schema, and then takes nothing but SET PASSWORD.
      if (mustChangePassword(err)) this.session.schemaAfterPassword = result.database;
      else if (err !== null) return this.end(err, result.sequence);
      this.write(frame(plainOk(this.session.status, this.capabilities), result.sequence));
      this.#afterLogin(result);
    });
  }

  #afterLogin({ compression, rest }: LoggedIn): void {
    if (compression !== null) {
      this.#outbox.compress(compression);
      this.#inbox.decompress(compression, () => this.#onInflated());
    }
    if (rest.length > 0) this.#inbox.push(rest);
    this.#readLean();
    this.#readOn();
  }

  /** No TLS has come, nor can it any more: reads take no buffers of their own from now on. */
  #readLean(): void {
    const socket = this.#socket;
    if (this.#lean || socket instanceof TLSSocket || socket.isPaused()) return;
    this.#lean = readIntoShared(socket, this.#onData);
  }

  #begin(result: Pick<LoggedIn, 'profile' | 'profileKey'>): void {
    this.profile = result.profile;
    this.profileKey = result.profileKey;
    this.#group = `${this.endpoint.name}\0${result.profileKey}`;
    this.tether.changeLane();
    this.rules = this.worker.rules.of(this.endpoint.name, this.user);
    // COM_SET_OPTION's choice outlives COM_CHANGE_USER, as does what the client has seen of its own writes.
    const { multiStatements } = this.session.state;
    this.session = this.worker.beginSession(this, result.profile.collation);
    if (multiStatements !== null) this.session.setMultiStatements(multiStatements);
  }

  /** Only the server knows whether the schema exists and this account may use it. */
  #selectSchema(schema: string, callback: (err: ErrPacket | null) => void): void {
    this.#statement = Statement.selectSchema(this, schema, callback);
    this.#statement.start();
  }

  // ---- commands -------------------------------------------------------------------------------------------------

  #takeNext(): boolean {
    if (this.#statement !== null) return this.#statement.takeFile(this.#inbox);
    if (this.#swallowing !== null) return this.#swallow(this.#swallowing);
    const packet = this.#inbox.next();
    if (packet !== null) this.#onPacket(packet);
    return packet !== null;
  }

  #onPacket(packet: Packet): void {
    if (packet.sequence !== 0) return this.end(gatewayError('packets-out-of-order'), packet.lastSequence + 1);
    let request: ReturnType<typeof readRequest>;
    try {
      request = readRequest(packet, this.session, this.worker.flavor(this.cluster), this.capabilities);
    } catch {
      return this.end(gatewayError('malformed-packet'));
    }
    switch (request.kind) {
      case 'server':
        this.counters.statements++;
        return this.#run(packet, request);
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
        if (keepLongData(packet, request.statement, this.worker.settings.limits.maxPacketBytes)) return;
        return this.end(gatewayError('packet-too-large'));
      case 'close-statement':
        return this.#closeStatement(request.statementId);
      case 'unknown-statement':
        return this.answerError(gatewayError('unknown-statement', `id ${request.statementId}`));
      case 'malformed-execution':
        return this.answerError({ errno: 1835, sqlState: 'HY000', message: 'Malformed communication packet' });
      case 'refused':
        return this.answerError(gatewayError('unknown-command', request.name));
    }
  }

  #run(packet: Packet, request: ServerRequest): void {
    const { sql } = request;
    // Reads, which are most, have no such thing in them.
    let sent = { packet, request };
    if (sql.flags.connectionId) sent = withConnectionId(packet, request, this.connectionId);
    if ((!sql.rerunnable || request.shape === 'prepare') && maySetUnseen(request)) {
      sent = withSessionScope(sent.packet, sent.request);
    }
    this.#statement = new Statement(this, sent.packet, sent.request);
    this.#statement.start();
  }

  answerOk(warnings = 0): void {
    this.write(frame(plainOk(this.session.lastingStatus, this.capabilities, warnings), 1));
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
    if (statement.link !== null) this.tether.lastLink = statement.link;
    this.tether.settle();
    this.worker.statementFinished();
    if (this.#socket.isPaused()) this.#socket.resume();
    if (this.#inbox.bufferedBytes > 0) this.#readOn();
  }

  /** COM_RESET_CONNECTION: the state is as after login; the server connection is as good as any other. */
  forget(): void {
    this.tether.forget();
    this.session.reset(this.worker.directory.defaults(this.cluster));
  }

  #changeUser(packet: Packet): void {
    const request = parseChangeUser(packet.payload, this.capabilities);
    this.forget();
    this.session.loseInsertId();
    this.#login = Login.changeUser(this, this.#socket, request, this.#nonce, packet.lastSequence + 1, (result) => {
      this.#onLogin(result);
    });
  }

  #kill(packet: Packet, connectionId: number, queryOnly: boolean): void {
    if (killSelf(this, connectionId, queryOnly)) return;
    if (connectionId < PROXY_ID_BASE) {
      this.#statement = Statement.passThrough(this, packet);
      return this.#statement.start();
    }
    this.#waiting = true;
    killOther(this, connectionId, queryOnly, () => {
      this.#waiting = false;
      this.#readOn();
    });
  }

  /** Others may have it too: server connections close what was not used for longest (prepared.ts). */
  #closeStatement(statementId: number): void {
    const statement = findStatement(this.session, statementId);
    if (statement === undefined) return;
    this.session.closeStatement(statement.id);
    this.tether.closeCursor(statement);
    if (this.#statement === null) this.tether.settle();
  }

  #swallow(err: Buffer): boolean {
    const last = this.#inbox.dropFile();
    if (last === null) return false;
    this.#swallowing = null;
    this.write(frame(err, last + 1));
    return true;
  }

  // ---- what its statements ask for ------------------------------------------------------------------------------

  get statement(): Statement | null {
    return this.#statement;
  }

  /** Nobody wants the file any more: the error is for its end. */
  swallowFile(err: Buffer): void {
    this.#swallowing = err;
  }

  suspect(node: NodeAddress, kind: EvidenceKind, detail: string): void {
    this.gate.cluster.suspect(node, kind, detail, this.worker.nowMs());
  }

  held(waiting: boolean): void {
    this.counters.held += waiting ? 1 : -1;
  }
}
