// Logging in to a server as a user, with what is known of the user's password. Pure: payloads in, payloads out.
// The caller frames `start`'s answer into a handshake response (or COM_CHANGE_USER) and feeds every packet after it.
import { createPublicKey, type KeyObject } from 'node:crypto';
import { parseAuthMoreData, parseAuthSwitch, readErr, readOk } from '../auth-packets.ts';
import { ProtocolError } from '../payload.ts';
import { ED25519_NONCE_BYTES, ed25519Sign } from './ed25519.ts';
import { NONCE_BYTES, nativeToken, sealPassword, sha1, sha2Token, sha256 } from './scramble.ts';
import type { ClientAuthStep, Credential, LoginFailure, Transport } from './types.ts';

/** More rounds than any exchange has: a server that goes on asking is broken or hostile. */
const MAX_ROUNDS = 8;
const FAST_AUTH_OK = 0x03;
const FULL_AUTH = 0x04;
const EMPTY = Buffer.alloc(0);

export interface ServerLoginOptions {
  user: string;
  credential: Credential;
  /** Of the greeting (for COM_CHANGE_USER: of the connection's greeting). */
  nonce: Buffer;
  authPlugin: string;
  transport: Transport;
  /** The bits that both sides agreed on: the final OK is read by them. */
  capabilities: number;
  /** PEM. Given, no other key is trusted and none is asked for. */
  serverPublicKey?: string;
}

/** The first answer, for the handshake response. */
export type LoginStart =
  | { kind: 'send'; authPlugin: string; authResponse: Buffer }
  | Extract<ClientAuthStep, { kind: 'fail' }>;

/** An answer cannot be given; caught inside this file and turned into a `fail` step. */
class CannotAnswer extends Error {
  readonly reason: LoginFailure;

  constructor(reason: LoginFailure, message: string) {
    super(message);
    this.reason = reason;
  }
}

const KNOWN_AS = {
  none: 'that it is empty',
  plaintext: 'everything',
  sha1: 'only its SHA1 (the client proved it by mysql_native_password)',
  sha256: 'only its SHA256',
  'proof-only': 'nothing (the client proved it by a signature)',
} as const satisfies Record<Credential['kind'], string>;

const SUPPORTED: ReadonlySet<string> = new Set([
  'mysql_native_password',
  'caching_sha2_password',
  'sha256_password',
  'client_ed25519',
  'mysql_clear_password',
]);

/** Can `credential` answer `plugin`'s first question? */
function suffices(plugin: string, credential: Credential): boolean {
  if (credential.kind === 'none' || credential.kind === 'plaintext') return SUPPORTED.has(plugin);
  if (credential.kind === 'sha1') return plugin === 'mysql_native_password';
  return credential.kind === 'sha256' && plugin === 'caching_sha2_password';
}

/** One login. `start` once, then `step` with each payload of the server until `done` or `fail`. */
export class ServerLogin {
  readonly #options: ServerLoginOptions;
  #plugin = '';
  #nonce: Buffer;
  #state: 'answering' | 'awaiting-key' | 'answered' = 'answering';
  #rounds = 0;

  constructor(options: ServerLoginOptions) {
    this.#options = options;
    this.#nonce = options.nonce.subarray(0, NONCE_BYTES);
  }

  /** Begins with the server's default plugin where the credential is enough for it: that saves a round trip. */
  start(): LoginStart {
    const { authPlugin, credential } = this.#options;
    if (credential.kind === 'proof-only') {
      this.#plugin = authPlugin;
      return this.#failure(this.#insufficient());
    }
    const fallback = credential.kind === 'sha256' ? 'caching_sha2_password' : 'mysql_native_password';
    // A signature or a clear password needs the server's own question first.
    const direct = authPlugin !== 'client_ed25519' && authPlugin !== 'mysql_clear_password';
    this.#plugin = direct && suffices(authPlugin, credential) ? authPlugin : fallback;
    try {
      return { kind: 'send', authPlugin: this.#plugin, authResponse: this.#answer() };
    } catch (error) {
      return this.#failure(error);
    }
  }

  step(payload: Buffer): ClientAuthStep {
    try {
      if (++this.#rounds > MAX_ROUNDS) throw new ProtocolError('unexpected-packet', 'the exchange does not end');
      switch (payload[0]) {
        case 0x00:
          return { kind: 'done', ok: readOk(payload, this.#options.capabilities) };
        case 0x01:
          return this.#moreData(parseAuthMoreData(payload));
        case 0x02:
          throw new CannotAnswer('unsupported-plugin', `${this.#who()}: the server asks for a second factor`);
        case 0xfe:
          return this.#switch(payload);
        case 0xff: {
          const err = readErr(payload);
          return { kind: 'fail', reason: 'server-error', message: `${this.#who()}: ${err.message}`, err };
        }
        default:
          throw new ProtocolError('unexpected-packet', 'a packet that has no place in a login');
      }
    } catch (error) {
      return this.#failure(error);
    }
  }

  #who(): string {
    return `login as '${this.#options.user}'`;
  }

  #failure(error: unknown): Extract<ClientAuthStep, { kind: 'fail' }> {
    if (error instanceof CannotAnswer) return { kind: 'fail', reason: error.reason, message: error.message, err: null };
    if (error instanceof ProtocolError) {
      return { kind: 'fail', reason: 'malformed', message: `${this.#who()}: ${error.message}`, err: null };
    }
    throw error;
  }

  #switch(payload: Buffer): ClientAuthStep {
    const { plugin, data } = parseAuthSwitch(payload);
    if (!SUPPORTED.has(plugin)) {
      throw new CannotAnswer('unsupported-plugin', `${this.#who()}: the server wants ${printable(plugin)}`);
    }
    const needed = plugin === 'client_ed25519' ? ED25519_NONCE_BYTES : NONCE_BYTES;
    if (plugin !== 'mysql_clear_password' && data.length < needed) {
      throw new ProtocolError('truncated', `the nonce for ${plugin} is too short`);
    }
    this.#plugin = plugin;
    this.#nonce = data.subarray(0, needed);
    this.#state = 'answering';
    return { kind: 'send', payload: this.#answer() };
  }

  /** The plugin's first answer. */
  #answer(): Buffer {
    const { credential, transport } = this.#options;
    const plugin = this.#plugin;
    if (!suffices(plugin, credential)) throw this.#insufficient();
    this.#state = 'answered';
    if (credential.kind === 'sha1') return nativeToken(credential.hash, this.#nonce);
    if (credential.kind === 'sha256') return sha2Token(credential.hash, this.#nonce);
    const password = this.#plaintext();
    const safe = transport.tls || transport.local;
    switch (plugin) {
      case 'mysql_native_password':
        return password.length === 0 ? EMPTY : nativeToken(sha1(password), this.#nonce);
      case 'caching_sha2_password':
        return password.length === 0 ? EMPTY : sha2Token(sha256(password), this.#nonce);
      case 'client_ed25519':
        return ed25519Sign(password, this.#nonce);
      case 'sha256_password':
        if (password.length === 0) return Buffer.of(0);
        return safe ? terminated(password) : this.#sealOrAsk(0x01);
      case 'mysql_clear_password':
        if (safe) return terminated(password);
        throw new CannotAnswer(
          'secure-transport-needed',
          `${this.#who()}: the server wants the clear password, which is sent only over TLS`,
        );
      default:
        throw new Error(`no answer for ${plugin}`); // `suffices` lets no other through
    }
  }

  #moreData(data: Buffer): ClientAuthStep {
    if (this.#state === 'awaiting-key') {
      this.#state = 'answered';
      return { kind: 'send', payload: this.#seal(data.toString('latin1')) };
    }
    if (this.#plugin === 'caching_sha2_password' && data.length === 1) {
      if (data[0] === FAST_AUTH_OK) return { kind: 'wait' };
      if (data[0] === FULL_AUTH) {
        const password = this.#plaintext();
        const safe = this.#options.transport.tls || this.#options.transport.local;
        return { kind: 'send', payload: safe ? terminated(password) : this.#sealOrAsk(0x02) };
      }
    }
    throw new ProtocolError('unexpected-packet', `data that ${this.#plugin} does not know`);
  }

  #plaintext(): Buffer {
    const { credential } = this.#options;
    if (credential.kind === 'none') return EMPTY;
    if (credential.kind !== 'plaintext') throw this.#insufficient();
    return credential.password;
  }

  #insufficient(): CannotAnswer {
    const known = KNOWN_AS[this.#options.credential.kind];
    const wants = `the server wants ${printable(this.#plugin)}, and of the password we know ${known}`;
    return new CannotAnswer('credential-insufficient', `${this.#who()}: ${wants}`);
  }

  #sealOrAsk(request: number): Buffer {
    const pinned = this.#options.serverPublicKey;
    if (pinned !== undefined) return this.#seal(pinned);
    this.#state = 'awaiting-key';
    return Buffer.of(request);
  }

  #seal(pem: string): Buffer {
    try {
      const key: KeyObject = createPublicKey(pem);
      if (key.asymmetricKeyType !== 'rsa') throw new TypeError('not RSA');
      return sealPassword(this.#plaintext(), this.#nonce, key);
    } catch (error) {
      if (error instanceof CannotAnswer) throw error;
      throw new CannotAnswer('bad-public-key', `${this.#who()}: the server's public key is not usable`);
    }
  }
}

const terminated = (password: Buffer): Buffer => Buffer.concat([password, Buffer.of(0)]);

/** A name that a peer sent, fit for a log line. */
const printable = (name: string): string => name.replace(/[^\w.-]/g, '?').slice(0, 64);
