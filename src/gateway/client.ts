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
import {
  type BringUp,
  type BringUpOptions,
  bringUp,
  type Obstacle,
  readBack,
  readInsertId,
  recycle,
} from './bring-up.ts';
import { findStatement, readRequest, type ServerRequest, withConnectionId } from './command.ts';
import { gatewayError } from './errors.ts';
import type { GatewayWorker } from './gateway.ts';
import { Inbox } from './inbox.ts';
import { killError, PROXY_ID_BASE } from './kill.ts';
import { type LoggedIn, Login } from './login.ts';
import { Outbox } from './outbox.ts';
import type { Lane, LinkOwner, NodePool } from './pool.ts';
import type { LogicalStatement, StatementShape } from './prepared.ts';
import { runQuietly } from './quiet.ts';
import type { Gate } from './routes.ts';
import { describeLoss, type LoginProfile, type Loss, type ServerConnection } from './server-connection.ts';
import { type Hold, SessionState } from './session.ts';
import { Statement } from './statement.ts';

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

export type LostState = { error: ErrPacket } | { rolledBack: true };

export class Client implements LinkOwner {
  readonly worker: GatewayWorker;
  readonly endpoint: EndpointSettings;
  readonly gate: Gate;
  readonly connectionId: number;
  readonly counters: EndpointCounts;
  capabilities = 0;
  session = new SessionState(0);
  profile: LoginProfile | null = null;
  profileKey = '';
  /** The server connection that the session holds; null between transactions. */
  link: ServerConnection | null = null;
  /** The one that it held or shared last. */
  lastLink: ServerConnection | null = null;
  lane: Lane | null = null;
  #pool: NodePool | null = null;
  #readingBack = false;
  /** The last read, where it left warnings behind on a connection that others have used since. */
  #warned: Buffer | null = null;
  #socket: Socket;
  #inbox: Inbox;
  #login: Login | null;
  #nonce: Buffer = Buffer.alloc(0);
  #statement: Statement | null = null;
  #transactionLost: string | null = null;
  #lostPins: Hold[] = [];
  /** The error that a client gets at the end of the file that it is still sending. */
  #swallowing: Buffer | null = null;
  #outbox: Outbox;
  /** Another worker is asked something; the next command waits. */
  #waiting = false;
  #group = '';
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
    return this.session.inTransaction || (this.activeLink?.busy ?? false);
  }

  /** The server connection that its statement is on. */
  get activeLink(): ServerConnection | null {
    return this.link ?? this.#statement?.link ?? null;
  }

  /** Whose statements take turns with whose where they wait for a server connection. */
  get group(): string {
    return this.#group;
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
    const between = statement?.abandon() ?? true;
    this.session.insertIdOn = null;
    const { link } = this;
    if (link !== null) {
      this.link = null;
      this.#giveBack(link, between && !this.#readingBack);
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
    this.#group = `${this.endpoint.name}\0${result.profile.user}`;
    this.lane = null;
    this.#pool = null;
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
        return this.#longData(packet, request.statementId);
      case 'close-statement':
        return this.#closeStatement(request.statementId);
      case 'unknown-statement':
        return this.answerError(gatewayError('unknown-statement', `id ${request.statementId}`));
      case 'refused':
        return this.answerError(gatewayError('unknown-command', request.name));
    }
  }

  #run(packet: Packet, request: ServerRequest): void {
    if (request.sql.flags.connectionId) {
      const named = withConnectionId(packet, request, this.connectionId);
      this.#statement = new Statement(this, named.packet, named.request);
    } else this.#statement = new Statement(this, packet, request);
    this.#statement.start();
  }

  answerOk(): void {
    this.write(frame(plainOk(this.session.lastingStatus, this.capabilities), 1));
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
    const { link } = statement;
    if (link !== null) this.lastLink = link;
    if (this.link !== null) this.#settle(this.link);
    this.worker.statementFinished();
    if (this.#socket.isPaused()) this.#socket.resume();
    if (this.#inbox.bufferedBytes > 0) this.#readOn();
  }

  /** Between statements: the server connection is given back, if nothing holds it. */
  #settle(link: ServerConnection): void {
    const { session } = this;
    if (this.#readingBack) return;
    if (session.needsReadBack) {
      this.#readingBack = true;
      return readBack(link, session, (read) => {
        if (this.link !== link) return; // lost, and told
        this.#readingBack = false;
        if (!read) session.giveUpReadingBack();
        if (this.#statement === null) this.#settle(link);
      });
    }
    if (session.hold !== null || !link.ready) return;
    this.link = null;
    this.worker.pool(this.cluster, link.node).release(link, true);
  }

  /** COM_RESET_CONNECTION: the state is as after login; the server connection is as good as any other. */
  forget(): void {
    this.dropLink('the session was reset', true);
    this.session.reset();
    this.#transactionLost = null;
    this.#lostPins = [];
    this.#warned = null;
  }

  #changeUser(packet: Packet): void {
    const request = parseChangeUser(packet.payload, this.capabilities);
    this.forget();
    this.session.insertIdOn = null;
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
    statement.longData ??= [];
    statement.longDataBytes += packet.raw.length;
    if (statement.longDataBytes > this.worker.settings.limits.maxPacketBytes)
      return this.end(gatewayError('packet-too-large'));
    statement.longData.push(Buffer.from(packet.raw));
  }

  /** Others may have it too: server connections close what was not used for longest (prepared.ts). */
  #closeStatement(statementId: number): void {
    const statement = findStatement(this.session, statementId);
    if (statement === undefined) return;
    this.session.closeStatement(statement.id);
    this.session.unpin('cursor');
    if (this.link !== null && this.#statement === null) this.#settle(this.link);
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
  }

  /** The pool of a node, and in it this client's lane. */
  poolOf(node: NodeAddress): NodePool {
    const pool = this.#pool;
    if (pool !== null && pool.node === node && this.lane?.gone === false) return pool;
    const found = this.worker.pool(this.cluster, node);
    this.#pool = found;
    this.lane = found.lane(this.profile as LoginProfile, this.profileKey);
    return found;
  }

  /** The node that a connection was asked for last. */
  get poolNode(): NodeAddress {
    return this.#pool?.node ?? '';
  }

  cancelRequest(statement: Statement): void {
    this.#pool?.cancel(statement);
  }

  bringUp(link: ServerConnection, request: ServerRequest, shareable: boolean): BringUp | Obstacle {
    const { session } = this;
    return bringUp(link, { session, request, shareable, rerunForDiagnostics: this.#warned }, this.#bringUpOptions);
  }

  get #bringUpOptions(): BringUpOptions {
    return this.worker.bringUpOptions(this.cluster);
  }

  /** A statement that is ours was prepared on the link. */
  addPrepared(link: ServerConnection, logical: LogicalStatement, id: number): void {
    const { maxPreparedPerConnection } = this.worker.settings.pool;
    for (const old of link.prepared.add(logical, id, maxPreparedPerConnection)) link.closeStatement(old);
  }

  /** What the client prepares. */
  logical(packet: Buffer, text: Buffer, shape: StatementShape): LogicalStatement {
    return this.worker.statements.find(packet, text, this.session.state, shape);
  }

  /** Its warnings can be had again by running it again. Null: there are none any more. */
  rememberWarned(packet: Buffer | null): void {
    this.#warned = packet;
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
    if (this.link === link) this.dropLink('its state could not be restored');
    else link.lose({ kind: 'closed', detail: 'its state could not be restored' });
  }

  /** What the server did not take of the session's state. True: the session has been changed, another try may do. */
  couldNotRestore(what: string, err: ErrPacket): boolean {
    // The schema was dropped: to its session it is as if none were chosen.
    if (what.startsWith('default schema') && err.errno === 1049) {
      this.session.chooseSchema(null);
      return true;
    }
    const variables = /^session variables (.+)$/.exec(what)?.[1];
    if (variables === undefined) return false;
    for (const name of variables.split(', ')) this.#bringUpOptions.accepted.withoutDefault.add(name);
    return true;
  }

  /** The statement goes on as another one. */
  replace(old: Statement, by: Statement): void {
    if (this.#statement === old) this.#statement = by;
  }

  /** The other way round. */
  get statement(): Statement | null {
    return this.#statement;
  }

  /** `clean`: it has the state that it says it has. */
  #giveBack(link: ServerConnection, between: boolean): void {
    const pool = this.worker.pool(this.cluster, link.node);
    const { hold } = this.session;
    if (between && !link.busy && (hold === null || hold === 'diagnostics' || hold === 'counts')) {
      return pool.release(link, true);
    }
    if (!between || link.busy || !link.ready) return pool.release(link, false);
    recycle(link, this.#bringUpOptions, () => pool.release(link, true));
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
    else this.worker.pool(this.cluster, link.node).release(link, false);
    this.#unlink(reason);
  }

  #unlink(reason: string): void {
    this.link = null;
    this.#readingBack = false;
    const { session } = this;
    if (session.inTransaction) {
      this.#transactionLost = reason;
      session.transactionEnded();
    }
    if (session.dirtyVariables.size > 0) session.pin('user-variable');
    this.#lostPins.push(...session.pins);
    session.clearPins();
    session.uncertain = false;
    session.oneShotOn = null;
    if (session.oneShotDoubtful) {
      session.oneShot = null;
      session.oneShotDoubtful = false;
      this.#lostPins.push('one-shot-transaction');
    }
    session.diagnostics = false;
    session.calcFoundRows = false;
  }

  linkLost(connection: ServerConnection, loss: Loss): void {
    if (this.link === connection) this.#unlink(describeLoss(loss));
  }

  /** The node is no longer the one to talk to. */
  leaveNode(reason: string): void {
    const link = this.activeLink;
    if (link === null) return;
    if (link.busy) link.lose({ kind: 'closed', detail: reason });
    else this.dropLink(reason);
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
    return { error: gatewayError('state-lost', what) };
  }

  suspect(node: NodeAddress, kind: EvidenceKind, detail: string): void {
    this.gate.cluster.suspect(node, kind, detail, this.worker.nowMs());
  }

  held(waiting: boolean): void {
    this.counters.held += waiting ? 1 : -1;
  }
}
