// A client's way in: greeting, TLS, authentication. It ends in one call of `done`, or in an error and a closed
// connection; bounded in time (limits.handshakeTimeout) and bytes.

import { createHash } from 'node:crypto';
import type { Socket } from 'node:net';
import tls from 'node:tls';
import type { Account } from '../messages/index.ts';
import {
  Capability,
  type ChangeUser,
  CompressedStream,
  compressionOf,
  type ErrPacket,
  encodeGreeting,
  frame,
  hostAllowed,
  hostInMessages,
  isSslRequest,
  type Packet,
  PacketReader,
  ProtocolError,
  parseHandshakeResponse,
  parseSslRequest,
  ServerAuth,
  type ServerAuthStep,
  ServerStatus,
} from '../wire/index.ts';
import type { Client } from './client.ts';
import type { ClusterGreeting } from './directory.ts';
import { gatewayError } from './errors.ts';
import { DIALECT, EXTENDED, type LoginProfile } from './server-connection.ts';

export interface LoggedIn {
  capabilities: number;
  profile: LoginProfile;
  profileKey: string;
  database: string | null;
  /** Null where the client is logged in already: its stream goes on as it is. */
  compression: CompressedStream | null;
  nonce: Buffer;
  /** Of the packet that ends the login. */
  sequence: number;
  /** Bytes that the client sent ahead. */
  rest: Buffer;
}

/** What Evenkeel offers to clients of both families. */
const OFFERED =
  (DIALECT |
    Capability.LONG_PASSWORD |
    Capability.CONNECT_WITH_DB |
    Capability.COMPRESS |
    Capability.NO_SCHEMA |
    Capability.PROTOCOL_41 |
    Capability.SSL |
    Capability.TRANSACTIONS |
    Capability.SECURE_CONNECTION |
    Capability.PLUGIN_AUTH |
    Capability.CONNECT_ATTRS |
    Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA |
    Capability.SESSION_TRACK |
    Capability.DEPRECATE_EOF) >>>
  0;

function offeredTo({ flavor, serverVersion }: ClusterGreeting): number {
  const offered = (OFFERED & ~Capability.QUERY_ATTRIBUTES) >>> 0;
  // Unset, it says that MariaDB's further bits follow.
  if (flavor === 'mariadb') return (offered & ~Capability.LONG_PASSWORD) >>> 0;
  const attributes = hasQueryAttributes(serverVersion) ? Capability.QUERY_ATTRIBUTES : 0;
  return (offered | attributes | Capability.ZSTD_COMPRESSION_ALGORITHM) >>> 0;
}

/** MySQL 8.0.23 and later. */
function hasQueryAttributes(serverVersion: string): boolean {
  return atLeast(serverVersion, [8, 0, 23]);
}

/** MariaDB 10.5.2 and later have all of these. */
function extendedOffer({ flavor, serverVersion }: ClusterGreeting): number {
  const known = flavor === 'mariadb' && atLeast(serverVersion.replace(/^5\.5\.5-/, ''), [10, 5, 2]);
  return known ? EXTENDED : 0;
}

function atLeast(version: string, least: [number, number, number]): boolean {
  const parts = version.split(/[.-]/).map(Number);
  for (const [at, wanted] of least.entries()) {
    const part = parts[at] ?? 0;
    if (part !== wanted) return part > wanted;
  }
  return true;
}

const MAX_LOGIN_PACKET_BYTES = 128 * 1024;
/** How often its client is asked anew, since its account is another one than it was. */
const MAX_REFRESHES = 2;
/** How often the accounts are asked for anew where those of others have changed. */
const MAX_STRANGERS = 20;

interface Asked {
  user: string;
  authResponse: Buffer;
  authPlugin: string | null;
  database: string | null;
  capabilities: number;
  collation: number;
  zstdLevel: number;
  extended: number;
}

export class Login {
  #client: Client;
  #socket: Socket;
  #done: (result: LoggedIn) => void;
  #reader = new PacketReader(MAX_LOGIN_PACKET_BYTES);
  #nonce: Buffer;
  #sequence = 0;
  #timer: NodeJS.Timeout;
  #over = false;
  #secure: boolean;
  #greeted = false;
  #asked: Asked | null = null;
  #auth: ServerAuth | null = null;
  /** An answer is being verified; the client has nothing to say meanwhile. */
  #verifying = false;
  #refreshes = 0;
  /** The accounts that the attempt in hand goes by. */
  #triedWith: Account[] = [];
  #offered = 0;
  #extendedOffer = 0;
  /** COM_CHANGE_USER. */
  #anew = false;
  /** An auth switch gave it another try. */
  #askedAnew = false;

  constructor(client: Client, socket: Socket, done: (result: LoggedIn) => void, nonce?: Buffer) {
    const { worker } = client;
    this.#client = client;
    this.#socket = socket;
    this.#done = done;
    this.#secure = socket instanceof tls.TLSSocket;
    this.#nonce = nonce ?? worker.makeNonce();
    this.#timer = setTimeout(
      () => this.#refuse(worker.refusal(client, { kind: 'handshake-timeout' })),
      worker.settings.limits.handshakeTimeoutMs,
    );
    if (nonce === undefined) worker.directory.whenKnown(client.cluster, () => this.#greet());
  }

  /** COM_CHANGE_USER: a login on a connection that is logged in already. */
  static changeUser(
    client: Client,
    socket: Socket,
    request: ChangeUser,
    nonce: Buffer,
    sequence: number,
    done: (result: LoggedIn) => void,
  ): Login {
    const login = new Login(client, socket, done, nonce);
    login.#greeted = true;
    login.#sequence = sequence;
    const { user, authResponse, authPlugin, database } = request;
    const collation = request.collation ?? client.session.collation;
    const { capabilities } = client;
    const extended = client.profile?.extended ?? 0;
    login.#asked = { user, authResponse, authPlugin, database, capabilities, extended, collation, zstdLevel: 0 };
    login.#anew = true;
    // After the caller has stored the login: an immediate answer must find it there.
    queueMicrotask(() => login.#authenticate(false));
    return login;
  }

  abandon(): void {
    this.#over = true;
    clearTimeout(this.#timer);
  }

  onData(chunk: Buffer): void {
    if (this.#over) return;
    this.#reader.push(chunk);
    try {
      for (let packet = this.#next(); packet !== null; packet = this.#next()) {
        if (this.#numbered && packet.sequence !== (this.#sequence & 0xff))
          return this.#refuse(gatewayError('packets-out-of-order'));
        this.#sequence = (this.#numbered ? packet.lastSequence : this.#sequence) + 1;
        this.#onPacket(packet);
      }
      if (this.#reader.fault !== null) this.#refuse(gatewayError('handshake-failed', this.#reader.fault));
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#client.worker.count('protocol_errors', error.code);
      const old = error.code === 'old-client';
      const { worker } = this.#client;
      this.#refuse(
        old ? worker.refusal(this.#client, { kind: 'old-client' }) : gatewayError('handshake-failed', error.message),
      );
    }
  }

  /** Within compression, clients number packets as they like. */
  get #numbered(): boolean {
    return !this.#anew || compressionOf(this.#client.capabilities) === null;
  }

  #next(): Packet | null {
    return this.#over || this.#verifying || !this.#greeted ? null : this.#reader.next();
  }

  #greet(): void {
    if (this.#over) return;
    const { worker, connectionId, cluster } = this.#client;
    const known = worker.directory.greeting(cluster);
    const { serverVersion, collation, flavor } = known;
    this.#offered = offeredTo(known);
    this.#extendedOffer = extendedOffer(known);
    const address = worker.addressOf(this.#socket);
    if (!hostAllowed(worker.directory.accounts(cluster), address) && this.#refreshes === 0) {
      this.#refreshes++;
      return worker.directory.refresh(cluster, '', () => this.#greet());
    }
    if (!hostAllowed(worker.directory.accounts(cluster), address)) {
      worker.count('login_failures', 'host-not-allowed');
      const host = hostInMessages(address);
      this.abandon();
      return this.#client.endEarly(worker.refusal(this.#client, { kind: 'host-not-allowed', host }));
    }
    const greeting = encodeGreeting({
      serverVersion,
      connectionId,
      nonce: this.#nonce,
      capabilities: this.#offered,
      mariadbCapabilities: this.#extendedOffer,
      collation,
      status: ServerStatus.AUTOCOMMIT,
      authPlugin: flavor === 'mysql' ? 'caching_sha2_password' : 'mysql_native_password',
    });
    this.#greeted = true;
    this.#send(greeting);
    this.onData(Buffer.alloc(0));
  }

  #onPacket(packet: Packet): void {
    if (this.#auth !== null) return this.#advance(this.#auth.step(packet.payload));
    if (!this.#secure && isSslRequest(packet.payload)) {
      parseSslRequest(packet.payload);
      return this.#startTls();
    }
    const response = parseHandshakeResponse(packet.payload);
    const capabilities = (response.capabilities & this.#offered) >>> 0;
    const { user, authResponse, authPlugin, database } = response;
    this.#asked = {
      user,
      authResponse,
      authPlugin,
      database,
      capabilities,
      // 0, too, which a server takes for its own default.
      collation: response.collation,
      zstdLevel: response.zstdLevel,
      extended: response.mariadbCapabilities & this.#extendedOffer,
    };
    this.#authenticate(false);
  }

  /** The client's hello may have come along with its request: hand it to TLS, which reads from the socket. */
  #startTls(): void {
    const plain = this.#socket;
    plain.pause();
    plain.removeAllListeners('data');
    const rest = this.#reader.bufferedBytes > 0 ? this.#reader.takeRest() : null;
    if (rest !== null) plain.unshift(rest);
    const secure = new tls.TLSSocket(plain, { isServer: true, secureContext: this.#client.worker.secureContext });
    this.#secure = true;
    this.#socket = secure;
    secure.on('_tlsError', () => this.#client.worker.count('protocol_errors', 'tls'));
    this.#client.adopt(secure);
    // TLS reads on by itself; a resume here would race it for the bytes that were put back, and throw them away.
  }

  #authenticate(anew: boolean): void {
    const { worker, cluster } = this.#client;
    const asked = this.#asked as Asked;
    this.#triedWith = worker.directory.accounts(cluster);
    this.#auth = new ServerAuth(
      {
        flavor: worker.flavor(cluster),
        accounts: this.#triedWith,
        clientAddress: this.#client.worker.addressOf(this.#socket),
        transport: { tls: this.#secure, local: false },
        user: asked.user,
        authResponse: asked.authResponse,
        authPlugin: asked.authPlugin,
        capabilities: asked.capabilities,
        nonce: this.#nonce,
        alwaysSwitch: anew,
      },
      worker.authServices(cluster),
    );
    this.#advance(this.#auth.start());
  }

  #advance(step: Promise<ServerAuthStep>): void {
    this.#verifying = true;
    step.then(
      (result) => {
        this.#verifying = false;
        if (!this.#over) this.#onStep(result);
      },
      (error: unknown) => {
        this.#client.worker.log.error({ err: error }, 'authentication failed by an internal error');
        this.#refuse(gatewayError('handshake-failed'));
      },
    );
  }

  #onStep(step: ServerAuthStep): void {
    switch (step.kind) {
      case 'send':
        this.#send(step.payload);
        return this.onData(Buffer.alloc(0));
      case 'done':
        if (step.send !== null) this.#send(step.send);
        return this.#succeed(step.credential);
      case 'fail': {
        // It may have computed with another nonce than we think. Asked at once, libmariadb would not take the question for one.
        if (this.#anew && !this.#askedAnew && step.reason === 'wrong-password') {
          this.#askedAnew = true;
          return this.#authenticate(true);
        }
        const stale =
          step.reason === 'unknown-user' || step.reason === 'wrong-password' || step.reason === 'host-not-allowed';
        if (!stale || this.#refreshes >= MAX_REFRESHES) {
          this.#client.worker.count('login_failures', step.reason);
          return this.#refuse(step.error);
        }
        // Perhaps the account is newer than what we know of it.
        this.#refreshes++;
        return this.#askForNewer(this.#own(this.#triedWith), MAX_STRANGERS, step);
      }
    }
  }

  #askForNewer(known: string, left: number, step: Extract<ServerAuthStep, { kind: 'fail' }>): void {
    const { worker, cluster } = this.#client;
    worker.directory.refresh(cluster, (this.#asked as Asked).user, (changed) => {
      if (this.#over) return;
      // Also where another login's question brought them in before this one's answer.
      if (this.#own(worker.directory.accounts(cluster)) !== known) return this.#authenticate(true);
      if (changed && left > 0) return this.#askForNewer(known, left - 1, step);
      worker.count('login_failures', step.reason);
      this.#refuse(step.error);
    });
  }

  /** Those that its user name may stand for. */
  #own(accounts: readonly Account[]): string {
    const own = (this.#asked as Asked).user;
    return JSON.stringify(accounts.filter(({ user }) => user === own || user === ''));
  }

  #succeed(credential: LoginProfile['credential']): void {
    const asked = this.#asked as Asked;
    this.abandon();
    const dialect = (asked.capabilities & DIALECT) >>> 0;
    const { user, collation, extended } = asked;
    const profile: LoginProfile = { user, credential, dialect, extended, collation, tls: this.#secure };
    this.#done({
      capabilities: asked.capabilities,
      profile,
      profileKey: keyOf(profile),
      database: asked.database,
      compression: this.#anew ? null : this.#compression(asked),
      nonce: this.#nonce,
      sequence: this.#sequence,
      rest: this.#reader.bufferedBytes > 0 ? this.#reader.takeRest() : Buffer.alloc(0),
    });
  }

  #compression({ capabilities, zstdLevel }: Asked): CompressedStream | null {
    const algorithm = compressionOf(capabilities);
    if (algorithm === null) return null;
    const maxBytes = this.#client.worker.settings.limits.maxPacketBytes;
    return new CompressedStream({ algorithm, level: zstdLevel, maxBytes });
  }

  #send(payload: Buffer): void {
    this.#client.write(frame(payload, this.#sequence++));
  }

  #refuse(err: ErrPacket): void {
    if (this.#over) return;
    this.abandon();
    this.#client.end(err, this.#sequence);
  }
}

function keyOf({ user, credential, dialect, extended, collation, tls: secure }: LoginProfile): string {
  const secret =
    'password' in credential ? credential.password : 'hash' in credential ? credential.hash : Buffer.alloc(0);
  const digest = createHash('sha256').update(credential.kind).update(secret).digest('base64');
  return `${user}\0${digest}\0${dialect}\0${extended}\0${collation}\0${secure}`;
}
