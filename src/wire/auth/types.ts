// The vocabulary of authentication: what a login leaves behind, and what a step of an exchange may ask for.
import type { Account } from '../../messages/index.ts';
import type { ErrPacket, OkPacket } from '../response.ts';

/** What is known of a password. It decides which servers a session can be carried to. Never logged, never printed. */
export type Credential =
  | { kind: 'none' } // the account has no password
  | { kind: 'plaintext'; password: Buffer } // enough for every plugin
  | { kind: 'sha1'; hash: Buffer } // SHA1(password), 20 bytes: enough for mysql_native_password
  | { kind: 'sha256'; hash: Buffer } // SHA256(password), 32 bytes: enough for caching_sha2_password's fast path
  | { kind: 'proof-only' }; // a signature was verified; nothing to log in elsewhere with

/** What protects the exchange from listeners. */
export interface Transport {
  tls: boolean;
  /** A Unix socket. */
  local: boolean;
}

/** Why a client was not let in: log field and metric label. The client itself is told less, see errors.ts. */
export type AuthFailure =
  | 'wrong-password'
  | 'unknown-user'
  | 'host-not-allowed'
  | 'account-locked'
  | 'password-expired'
  | 'tls-required'
  | 'secure-transport-needed' // a clear-text password would have crossed the open network, and there is no RSA key
  | 'old-client' // does not speak the plugin that the account needs
  | 'unsupported-plugin' // the account's plugin is none of ours, or its stored form is damaged
  | 'malformed'; // bytes that the plugin cannot mean

/** The next move in verifying a client. After `done` and `fail` the exchange is over. */
export type ServerAuthStep =
  | { kind: 'send'; payload: Buffer }
  /** `send`, where not null, goes out before the OK packet, which is the caller's to send. */
  | { kind: 'done'; account: Account; credential: Credential; send: Buffer | null }
  /** `error` goes to the client, then the connection closes (or stays, after COM_CHANGE_USER: it closes too). */
  | { kind: 'fail'; reason: AuthFailure; error: ErrPacket };

/** Why we could not log in to a server. */
export type LoginFailure =
  | 'server-error' // the server's ERR packet is in `err`
  | 'credential-insufficient'
  | 'secure-transport-needed'
  | 'unsupported-plugin'
  | 'bad-public-key'
  | 'malformed';

/** The next move in logging in to a server. */
export type ClientAuthStep =
  | { kind: 'send'; payload: Buffer }
  | { kind: 'wait' } // nothing to send; feed the next packet
  | { kind: 'done'; ok: OkPacket }
  | { kind: 'fail'; reason: LoginFailure; message: string; err: ErrPacket | null };
