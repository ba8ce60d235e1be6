// One connection to a server: the login, and after it a queue of exchanges (a command sent, its answer awaited).
// Commands may be sent while earlier answers are still due; answers come in order. What is sent during one turn of the
// event loop is written at its end. It knows nothing of clients.
import net from 'node:net';
import tls from 'node:tls';
import { type NodeAddress, type ServerTlsSettings, splitAddress } from '../messages/index.ts';
import {
  type AnswerShape,
  Capability,
  type ClientHead,
  Command,
  type Credential,
  commandPacket,
  type ErrPacket,
  encodeHandshakeResponse,
  encodeSslRequest,
  frame,
  type Greeting,
  MariadbCapability,
  type Packet,
  PacketReader,
  parseErr,
  parseGreeting,
  queryPacket,
  ResponseScanner,
  type ScannerSink,
  ServerLogin,
} from '../wire/index.ts';
import { gatewayError } from './errors.ts';
import { isShutdown } from './evidence.ts';
import type { Flushable, Flusher } from './flusher.ts';
import { AT_LOGIN, type LinkState } from './link-state.ts';
import type { Seat } from './pool.ts';
import { LinkStatements } from './prepared.ts';
import { ReadBuffer, release } from './read-buffer.ts';
import type { SessionState } from './session.ts';

/** Who logs in, and which of the client's capabilities change bytes or meaning. Connections are shared by it only. */
export interface LoginProfile {
  user: string;
  credential: Credential;
  /** The dialect bits that the client negotiated; see DIALECT. */
  dialect: number;
  /** The same of MariaDB's further capabilities; see EXTENDED. */
  extended: number;
  collation: number;
  /** The client speaks TLS. */
  tls: boolean;
}

/** Capabilities of a client that its server connection must have alike. */
export const DIALECT =
  Capability.FOUND_ROWS |
  Capability.IGNORE_SPACE |
  Capability.MULTI_STATEMENTS |
  Capability.MULTI_RESULTS |
  Capability.PS_MULTI_RESULTS |
  Capability.LOCAL_FILES |
  Capability.INTERACTIVE |
  Capability.ODBC |
  Capability.CAN_HANDLE_EXPIRED_PASSWORDS |
  Capability.QUERY_ATTRIBUTES |
  Capability.LONG_FLAG;

/**
 * Of MariaDB's further capabilities, those that a server connection must have alike. Not CACHE_METADATA: what a client
 * caches would have to hold on every server connection that its statement is prepared on anew.
 */
export const EXTENDED = MariadbCapability.STMT_BULK_OPERATIONS | MariadbCapability.EXTENDED_METADATA;

/** What a login with this profile sets besides, and a reset takes back. `characterSet`: its collation's, as SQL. */
export function loginSettings({ dialect }: LoginProfile, characterSet: string | null): string[] {
  const settings = characterSet === null ? [] : [characterSet];
  if ((dialect & Capability.IGNORE_SPACE) !== 0) {
    settings.push("SET SESSION sql_mode=CONCAT(@@SESSION.sql_mode, ',IGNORE_SPACE')");
  }
  if ((dialect & Capability.INTERACTIVE) !== 0) settings.push('SET SESSION wait_timeout=@@GLOBAL.interactive_timeout');
  return settings;
}

/** Of a dialect: the login asked for multi-statements. */
export const DIALECT_MULTI_STATEMENTS = Capability.MULTI_STATEMENTS;

/** What was flushed is topped up when this share of it is left. */
const REFILL = 0.5;
/** Copying a few bytes is cheaper than handing the kernel a list. */
const JOIN_BYTES = 64 * 1024;

/** The variables that `loginSettings` sets beside the character set. */
export function loginVariables({ dialect }: LoginProfile): string[] {
  const names: string[] = [];
  if ((dialect & Capability.IGNORE_SPACE) !== 0) names.push('sql_mode');
  if ((dialect & Capability.INTERACTIVE) !== 0) names.push('wait_timeout');
  return names;
}

const ALWAYS =
  Capability.LONG_PASSWORD |
  Capability.PROTOCOL_41 |
  Capability.TRANSACTIONS |
  Capability.SECURE_CONNECTION |
  Capability.PLUGIN_AUTH |
  Capability.SESSION_TRACK |
  Capability.DEPRECATE_EOF;

/** Why a server connection is no more. */
export type Loss =
  | { kind: 'connection-lost'; detail: string }
  | { kind: 'connect-failed'; detail: string }
  /** The server said that it is going away. */
  | { kind: 'shutdown'; detail: string }
  /** It lives, but does not let this account in. */
  | { kind: 'refused'; err: ErrPacket }
  | { kind: 'protocol'; detail: string }
  /** We closed it. */
  | { kind: 'closed'; detail: string };

/** For logs and errors. */
export function describeLoss(loss: Loss): string {
  return loss.kind === 'refused' ? loss.err.message : loss.detail;
}

/** A command and what becomes of its answer. */
export interface Exchange extends ScannerSink {
  readonly shape: AnswerShape;
  readonly clientCapabilities: number;
  /** Status flags for an EOF that has none of its own. */
  readonly status: number;
  /** What it is expected to take of the server, microseconds. */
  readonly expectedUs: number;
  /** Where its true cost is noted (see costs.ts); -1: nowhere. */
  readonly costSlot: number;
  /** The answer is complete. */
  end(): void;
  /** It will never be. `sent`: false where the command surely never left. */
  lost(loss: Loss, sent: boolean): void;
  /** Leave this place in the queue for a faster one, if that can be: the answer that comes here is dropped. */
  divert?(): void;
}

export interface ServerConnectionOptions {
  node: NodeAddress;
  profile: LoginProfile;
  tls: ServerTlsSettings;
  connectTimeoutMs: number;
  maxPacketBytes: number;
  /** Null: everything is written at once. */
  flusher: Flusher | null;
  /** Logged in, or lost on the way. */
  onReady(): void;
  /** Answers have come to their end; `each`: what one of them took, microseconds. */
  onProgress?(ended: readonly Exchange[], eachUs: number): void;
  /** `inFlight`: answers were still due. */
  onLost(loss: Loss, inFlight: boolean): void;
}

/** Opens a connection that is no pool's: for a question of our own. */
export type Connect = (
  node: NodeAddress,
  profile: LoginProfile,
  events: Pick<ServerConnectionOptions, 'onReady' | 'onLost'>,
) => ServerConnection;

type Phase = 'connecting' | 'greeting' | 'authenticating' | 'ready' | 'lost';

export class ServerConnection implements Flushable {
  readonly node: NodeAddress;
  readonly profile: LoginProfile;
  threadId = 0;
  serverVersion = '';
  /** Negotiated with the server. */
  capabilities = 0;
  readonly prepared = new LinkStatements();
  /** What it will have built up after all that is queued. */
  state: LinkState = AT_LOGIN;
  /** Whose LAST_INSERT_ID() it has. */
  insertIdOf: SessionState | null = null;
  /** Which of that session's values: it may have had another since, elsewhere. */
  insertIdVersion = 0;
  /** LAST_INSERT_ID() at the server, where it is known. */
  insertIdValue: bigint | null = 0n;
  /** Whose statement was sent last: ROW_COUNT() and the like are that session's. */
  lastSession: SessionState | null = null;
  /** Whose statement was the last that may have changed anything: LASTVAL() and the like are that session's. */
  lastWriter: SessionState | null = null;
  /** The last statement left warnings or an error behind. */
  hasDiagnostics = false;
  /** The pool's; null where it is in none. */
  seat: Seat | null = null;
  /** The sum of what is queued. */
  expectedUs = 0;
  /** Answers that are due from the node, on all connections; see pool.ts. */
  load: { due: number } = { due: 0 };
  /** Since when the answer that is due has been waited for. */
  headSinceMs = 0;
  #phase: Phase = 'connecting';
  #options: ServerConnectionOptions;
  #socket: net.Socket;
  #timer: NodeJS.Timeout;
  #reader: PacketReader | null;
  #login: ServerLogin | null = null;
  #secure = false;
  #sequence = 0;
  #scanner = new ResponseScanner();
  #exchanges: Exchange[] = [];
  #ended: Exchange[] = [];
  #scanning = false;
  #out: Buffer[] = [];
  /** Who got pieces of the chunk that is being read. */
  #readers: Flushable[] = [];
  /** Exchanges whose commands are still in `#out`. */
  #unsent = 0;
  /** The flusher has been told. */
  #flushing = false;
  /** With no more answers due than this, what was gathered is flushed. */
  #refillAt = 0;

  constructor(options: ServerConnectionOptions) {
    this.#options = options;
    this.node = options.node;
    this.profile = options.profile;
    this.#reader = new PacketReader(1 << 20);
    const { host, port } = splitAddress(options.node);
    this.#socket = net.connect({ host, port, noDelay: true, keepAlive: true, ...this.#reading() });
    this.#timer = setTimeout(
      () => this.lose({ kind: 'connect-failed', detail: 'no login in time' }),
      options.connectTimeoutMs,
    );
    this.#attach(this.#socket);
    this.#socket.on('connect', () => {
      if (this.#phase === 'connecting') this.#phase = 'greeting';
    });
  }

  /** KILLs of its thread that its server has not been told yet. */
  killsUnderWay = 0;
  onceKillsAreTold: (() => void) | null = null;

  killTold(): void {
    if (--this.killsUnderWay > 0) return;
    const then = this.onceKillsAreTold;
    this.onceKillsAreTold = null;
    then?.();
  }

  get ready(): boolean {
    return this.#phase === 'ready';
  }

  get busy(): boolean {
    return this.#exchanges.length > 0;
  }

  /** Answers that are due. */
  get depth(): number {
    return this.#exchanges.length;
  }

  get head(): Exchange | null {
    return this.#exchanges[0] ?? null;
  }

  /** Sends a command whose answer `exchange` takes. Null: a command without an answer. A connection that is lost tells so later. */
  send(packet: Buffer, exchange: Exchange | null): void {
    if (this.#phase === 'lost') {
      const loss: Loss = { kind: 'closed', detail: 'the connection was lost before' };
      if (exchange !== null) queueMicrotask(() => exchange.lost(loss, false));
      return;
    }
    if (exchange !== null) {
      if (this.#exchanges.push(exchange) === 1) this.headSinceMs = performance.now();
      this.load.due++;
      this.expectedUs += exchange.expectedUs;
    }
    const { flusher } = this.#options;
    if (flusher === null) {
      this.#socket.write(packet);
      return;
    }
    if (exchange !== null) this.#unsent++;
    this.#out.push(packet);
    this.#flushSoon(flusher);
  }

  /**
   * At the end of this turn, or, while the server still has much of what was flushed before, when that has been answered: then
   * more has come together, and goes with one system call for all of it.
   */
  #flushSoon(flusher: Flusher): void {
    if (this.#flushing || this.#exchanges.length - this.#unsent > this.#refillAt) return;
    this.#flushing = true;
    flusher.add(this);
  }

  /** Hands what was gathered to the kernel. */
  flush(): void {
    const out = this.#out;
    this.#flushing = false;
    if (out.length === 0) return;
    this.#out = [];
    this.#unsent = 0;
    this.#refillAt = Math.floor(this.#exchanges.length * REFILL);
    if (this.#phase === 'lost') return;
    if (out.length === 1) {
      this.#socket.write(out[0] as Buffer);
      return;
    }
    let bytes = 0;
    for (const packet of out) bytes += packet.length;
    if (bytes <= JOIN_BYTES) {
      this.#socket.write(Buffer.concat(out, bytes));
      return;
    }
    this.#socket.cork();
    for (const packet of out) this.#socket.write(packet);
    this.#socket.uncork();
  }

  /** Sends everybody who waits behind the answer that is due elsewhere, as far as that can be. */
  divert(): void {
    // A copy: whoever leaves may be sent to this very queue's end by mistake, never to its middle.
    for (const exchange of this.#exchanges.slice(1)) exchange.divert?.();
  }

  /** COM_QUERY as this connection's capabilities want it. */
  query(sql: string | Buffer): Buffer {
    return queryPacket(sql, this.capabilities);
  }

  /** COM_STMT_CLOSE: there is no answer. */
  closeStatement(id: number): void {
    const argument = Buffer.alloc(4);
    argument.writeUInt32LE(id, 0);
    this.send(commandPacket(Command.STMT_CLOSE, argument), null);
  }

  /** Bytes of a local file, which nobody looks at any more. False: wait for `onceDrained`. */
  pass(bytes: Buffer): boolean {
    this.flush();
    return this.#socket.write(bytes, () => release(bytes));
  }

  onceDrained(callback: () => void): void {
    this.#socket.once('drain', callback);
  }

  get scanner(): ResponseScanner {
    return this.#scanner;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Says goodbye and closes. Nothing may be in flight. */
  quit(): void {
    this.flush();
    if (this.#phase === 'ready') this.#socket.write(commandPacket(Command.QUIT));
    this.lose({ kind: 'closed', detail: 'no longer needed' }, true);
  }

  /** Ends the connection; what is in flight is told. */
  lose(loss: Loss, graceful = false): void {
    if (this.#phase === 'lost') return;
    this.#phase = 'lost';
    clearTimeout(this.#timer);
    if (graceful) this.#socket.end();
    else this.#socket.destroy();
    const exchanges = this.#exchanges;
    this.#exchanges = [];
    this.load.due -= exchanges.length;
    this.#out = [];
    // The pool first: whoever is told next must not be given this connection again.
    this.#options.onLost(loss, exchanges.length > 0);
    const sent = exchanges.length - this.#unsent;
    exchanges.forEach((exchange, at) => exchange.lost(loss, at < sent));
  }

  /** Without TLS, what is read lies in a buffer that is read into again; TLS makes its own. */
  #reading(): Pick<net.TcpNetConnectOpts, 'onread'> {
    if (this.#mode !== 'off') return {};
    const callback = (bytes: number, buffer: Uint8Array): boolean => {
      const chunk = (buffer as Buffer).subarray(0, bytes);
      // Packets of a login may be kept, in part, until their rest has come.
      this.#onData(this.#phase === 'ready' ? chunk : Buffer.from(chunk));
      return true;
    };
    return { onread: { buffer: new ReadBuffer().next, callback } };
  }

  #attach(socket: net.Socket): void {
    if (this.#mode !== 'off') socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('error', (error: Error) => this.#broken(error.message));
    // At the end of what it says, not when the socket is gone: what is written in between is surely not executed.
    socket.on('end', () => this.#broken('the server closed the connection'));
    socket.on('close', () => this.#broken('the server closed the connection'));
  }

  #broken(detail: string): void {
    const kind = this.#phase === 'ready' ? 'connection-lost' : 'connect-failed';
    this.lose({ kind, detail });
  }

  #onData(chunk: Buffer): void {
    try {
      if (this.#phase === 'ready') this.#onAnswer(chunk);
      else if (this.#phase !== 'lost') this.#onLogin(chunk);
    } catch (error) {
      this.lose({ kind: 'protocol', detail: error instanceof Error ? error.message : String(error) });
    }
  }

  #onAnswer(chunk: Buffer): void {
    try {
      this.#takeAnswers(chunk);
    } finally {
      this.#flushReaders();
      this.#noteProgress();
    }
  }

  /** `target` has been handed pieces of what is being read: it must pass them on before the next read. */
  flushAfterRead(target: Flushable): void {
    const readers = this.#readers;
    if (readers[readers.length - 1] !== target) readers.push(target);
  }

  #flushReaders(): void {
    const readers = this.#readers;
    for (const target of readers) target.flush();
    readers.length = 0;
  }

  /** Those whose answers came together took an equal share of the time each. */
  #noteProgress(): void {
    const ended = this.#ended;
    if (ended.length === 0) return;
    const now = performance.now();
    const eachUs = ((now - this.headSinceMs) * 1000) / ended.length;
    this.headSinceMs = now;
    this.#ended = [];
    const { flusher } = this.#options;
    if (flusher !== null && this.#out.length > 0) this.#flushSoon(flusher);
    if (this.#phase === 'ready') this.#options.onProgress?.(ended, eachUs);
  }

  #takeAnswers(chunk: Buffer): void {
    let rest: Buffer | null = chunk;
    while (rest !== null && this.#phase === 'ready') {
      const exchange = this.#exchanges[0];
      if (exchange === undefined) return this.#unasked(rest);
      if (!this.#scanning) {
        this.#scanner.begin(exchange.shape, exchange.clientCapabilities, exchange.status, exchange);
        this.#scanning = true;
      }
      rest = this.#scanner.feed(rest);
      if (!this.#scanner.done) return;
      this.#scanning = false;
      this.#exchanges.shift();
      this.load.due--;
      this.expectedUs -= exchange.expectedUs;
      this.#ended.push(exchange);
      exchange.end();
    }
  }

  /** A server speaks unasked only to say goodbye: shutdown, idle for too long, killed. */
  #unasked(chunk: Buffer): void {
    let detail = 'the server spoke unasked';
    if (chunk.length > 5 && chunk[4] === 0xff) {
      const err = parseErr(chunk.subarray(4));
      detail = `${err.errno} ${err.message}`;
      if (isShutdown(err)) return this.lose({ kind: 'shutdown', detail });
    }
    this.lose({ kind: 'closed', detail });
  }

  #onLogin(chunk: Buffer): void {
    const reader = this.#reader as PacketReader;
    reader.push(chunk);
    for (let packet = reader.next(); packet !== null; packet = reader.next()) {
      this.#sequence = packet.lastSequence + 1;
      if (this.#phase === 'authenticating') this.#onAuthentication(packet);
      else if (!this.#onGreeting(packet)) return;
      const phase = this.#phase;
      if (phase === 'ready' || phase === 'lost') return;
    }
    if (reader.fault !== null) throw new Error(`the server's login packets are broken (${reader.fault})`);
  }

  /** False: the login goes on once TLS stands. */
  #onGreeting(packet: Packet): boolean {
    const first = parseGreeting(packet.payload);
    if (first.kind === 'err') {
      const { err } = first;
      this.lose(isShutdown(err) ? { kind: 'shutdown', detail: err.message } : { kind: 'refused', err });
      return false;
    }
    const { greeting } = first;
    this.threadId = greeting.connectionId;
    this.serverVersion = greeting.serverVersion;
    const missing = (ALWAYS & ~Capability.LONG_PASSWORD & ~greeting.capabilities) >>> 0;
    if (missing !== 0) throw new Error(`the server lacks capabilities 0x${missing.toString(16)}`);
    const mode = this.#mode;
    const offered = (greeting.capabilities & Capability.SSL) !== 0;
    if (mode !== 'off' && offered) {
      this.#startTls(greeting);
      return false;
    }
    if (mode !== 'off' && mode !== 'preferred')
      throw new Error('the server offers no TLS, which the configuration asks for');
    this.#respond(greeting);
    return true;
  }

  get #mode(): Exclude<ServerTlsSettings['mode'], 'as-client'> {
    const { mode } = this.#options.tls;
    if (mode !== 'as-client') return mode;
    return this.profile.tls ? 'preferred' : 'off';
  }

  #startTls(greeting: Greeting): void {
    const mode = this.#mode;
    const { ca } = this.#options.tls;
    const request = encodeSslRequest(this.#head(greeting));
    this.#socket.write(frame(request, this.#sequence++));
    const plain = this.#socket;
    plain.removeAllListeners('data');
    const { host } = splitAddress(this.node);
    const verify = mode === 'verify-ca' || mode === 'verify-identity';
    const secure = tls.connect({
      socket: plain,
      rejectUnauthorized: verify,
      minVersion: 'TLSv1.2',
      ...(ca === undefined ? {} : { ca }),
      ...(net.isIP(host) === 0 ? { servername: host } : {}),
      ...(mode === 'verify-ca' ? { checkServerIdentity: () => undefined } : {}),
    });
    this.#socket = secure;
    this.#attach(secure);
    secure.once('secureConnect', () => {
      this.#secure = true;
      this.#respond(greeting);
    });
  }

  #head(greeting: Greeting): ClientHead {
    const wanted = (ALWAYS | (this.profile.dialect & DIALECT)) & greeting.capabilities;
    const mariadbCapabilities = this.profile.extended & greeting.mariadbCapabilities;
    // Unset, it says to MariaDB that its further bits follow.
    const own = mariadbCapabilities === 0 ? wanted | Capability.LONG_PASSWORD : wanted & ~Capability.LONG_PASSWORD;
    const { maxPacketBytes } = this.#options;
    return { capabilities: own >>> 0, mariadbCapabilities, maxPacketBytes, collation: this.profile.collation };
  }

  #respond(greeting: Greeting): void {
    const { user, credential } = this.profile;
    const head = this.#head(greeting);
    if (this.#secure) head.capabilities = (head.capabilities | Capability.SSL) >>> 0;
    const { dialect, extended } = this.profile;
    if (
      (dialect & ~greeting.capabilities & Capability.QUERY_ATTRIBUTES) !== 0 ||
      head.mariadbCapabilities !== extended
    ) {
      throw new Error("the server is older than its cluster: it does not speak the client's dialect");
    }
    this.capabilities = head.capabilities;
    const { nonce, authPlugin } = greeting;
    const transport = { tls: this.#secure, local: false };
    this.#login = new ServerLogin({ user, credential, nonce, authPlugin, transport, capabilities: head.capabilities });
    const start = this.#login.start();
    if (start.kind === 'fail') return this.#refused(start.message, start.err);
    const response = encodeHandshakeResponse({ ...head, user, ...start });
    this.#phase = 'authenticating';
    this.#socket.write(frame(response, this.#sequence++));
  }

  #refused(message: string, err: ErrPacket | null): void {
    if (err !== null && isShutdown(err)) this.lose({ kind: 'shutdown', detail: err.message });
    else this.lose({ kind: 'refused', err: err ?? gatewayError('server-login', message) });
  }

  #onAuthentication(packet: Packet): void {
    const step = (this.#login as ServerLogin).step(packet.payload);
    switch (step.kind) {
      case 'send':
        this.#socket.write(frame(step.payload, this.#sequence++));
        return;
      case 'wait':
        return;
      case 'done':
        clearTimeout(this.#timer);
        if (this.#reader !== null && this.#reader.bufferedBytes > 0) return this.#unasked(this.#reader.takeRest());
        this.#phase = 'ready';
        this.#reader = null;
        this.#login = null;
        this.#options.onReady();
        return;
      case 'fail':
        this.#refused(step.message, step.err);
    }
  }
}
