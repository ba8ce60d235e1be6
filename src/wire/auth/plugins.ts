// The server's half of each authentication plugin: an exchange with one client, as an async generator that yields
// payloads to send, is resumed with the client's answers, and returns the verdict. No exchange here knows whether
// its account exists; decoys.ts sees to it that an unknown user's exchange looks like a known one's.
import type { KeyObject } from 'node:crypto';
import type { Account } from '../../messages/index.ts';
import { encodeAuthMoreData } from '../auth-packets.ts';
import { ed25519Verify, ed25519VerifyPassword, parseEd25519Stored } from './ed25519.ts';
import type { PlaintextCache } from './plaintexts.ts';
import {
  equalBytes,
  openNativeToken,
  parseNativeStored,
  sha1,
  sha2TokenMatches,
  sha256,
  unsealPassword,
  withoutTerminator,
} from './scramble.ts';
import { parseCachingSha2Stored, parseSha256Stored, type Sha256Stored, sha256Crypt } from './sha256-crypt.ts';
import type { AuthFailure, Credential, Transport } from './types.ts';

/** The key pair of the SHA-2 plugins' exchange without TLS. */
export interface RsaKeys {
  privateKey: KeyObject;
  /** SubjectPublicKeyInfo, PEM: sent to clients as it is. */
  publicPem: string;
}

export interface ExchangeContext {
  account: Account;
  nonce: Buffer;
  transport: Transport;
  rsa: RsaKeys | null;
  plaintexts: PlaintextCache;
}

export type Verdict =
  | { ok: true; credential: Credential; send: Buffer | null }
  | { ok: false; reason: AuthFailure; usedPassword: boolean };

export type Exchange = AsyncGenerator<Buffer, Verdict, Buffer>;

/** One plugin, from the server's side. */
export interface ServerPlugin {
  /** The name that clients know it by. */
  clientName: string;
  /** The nonce comes only with an AuthSwitchRequest of 32 raw bytes, even where the client guessed the plugin. */
  ownNonce: boolean;
  run(context: ExchangeContext, first: Buffer): Exchange;
}

const REQUEST_PUBLIC_KEY_CACHING = 0x02;
const REQUEST_PUBLIC_KEY_SHA256 = 0x01;
const FAST_AUTH_OK = encodeAuthMoreData(Buffer.of(0x03));
const FULL_AUTH = encodeAuthMoreData(Buffer.of(0x04));

const passed = (credential: Credential, send: Buffer | null = null): Verdict => ({ ok: true, credential, send });
const denied = (reason: AuthFailure, usedPassword = true): Verdict => ({ ok: false, reason, usedPassword });

const plaintext = (password: Buffer): Credential => ({ kind: 'plaintext', password: Buffer.from(password) });

/** The configured password's bytes; null where the account is the server's own. */
function configured(account: Account): Buffer | null {
  return account.password === undefined ? null : Buffer.from(account.password, 'utf8');
}

function storedBytes(account: Account): Buffer {
  return Buffer.from(account.stored, account.encoding === 'base64' ? 'base64' : 'latin1');
}

function hasNoPassword(account: Account): boolean {
  return account.password === undefined ? account.stored === '' : account.password === '';
}

/** An empty password comes as nothing, or as its zero byte alone. */
function isEmptyAnswer(answer: Buffer): boolean {
  return answer.length === 0 || (answer.length === 1 && answer[0] === 0);
}

function checkEmpty(account: Account): Verdict {
  return hasNoPassword(account) ? passed({ kind: 'none' }) : denied('wrong-password', false);
}

// The rule wants a `yield` in a generator; this exchange is over with its first answer.
// oxlint-disable-next-line eslint/require-yield
async function* runNative({ account, nonce }: ExchangeContext, first: Buffer): Exchange {
  if (isEmptyAnswer(first)) return checkEmpty(account);
  if (hasNoPassword(account)) return denied('wrong-password');
  const password = configured(account);
  const stage2 = password === null ? parseNativeStored(account.stored) : sha1(sha1(password));
  if (stage2 === null) return denied('unsupported-plugin');
  const passwordSha1 = openNativeToken(first, nonce, stage2);
  if (passwordSha1 === null) return denied('wrong-password');
  return passed(password === null ? { kind: 'sha1', hash: passwordSha1 } : plaintext(password));
}

/** Is `password` the account's, by the stored form that `parse` understands? */
async function matchesStored(
  { account, plaintexts }: ExchangeContext,
  password: Buffer,
  parse: (stored: Buffer) => Sha256Stored | null,
): Promise<Verdict> {
  const known = configured(account);
  if (known !== null) return equalBytes(known, password) ? passed(plaintext(password)) : denied('wrong-password');
  if (hasNoPassword(account)) return denied('wrong-password');
  const stored = parse(storedBytes(account));
  if (stored === null) return denied('unsupported-plugin');
  const matches = await plaintexts.checkOnce(account, password, async () =>
    equalBytes(await sha256Crypt(password, stored.salt, stored.rounds), stored.digest),
  );
  if (!matches) return denied('wrong-password');
  plaintexts.remember(account, password);
  return passed(plaintext(password));
}

/** The password out of the client's answer: clear where nobody listens, else sealed with our key, which it may ask for. */
async function* receivePassword(
  { nonce, transport, rsa }: ExchangeContext,
  answer: Buffer,
  keyRequest: number,
): AsyncGenerator<Buffer, Buffer | AuthFailure, Buffer> {
  if (transport.tls || transport.local) return withoutTerminator(answer) ?? 'malformed';
  if (rsa === null) return 'secure-transport-needed';
  const asked = answer.length === 1 && answer[0] === keyRequest;
  const sealed = asked ? yield encodeAuthMoreData(Buffer.from(rsa.publicPem, 'latin1')) : answer;
  return unsealPassword(sealed, nonce, rsa.privateKey) ?? 'wrong-password';
}

async function* runCachingSha2(context: ExchangeContext, first: Buffer): Exchange {
  const { account, nonce, plaintexts } = context;
  if (isEmptyAnswer(first)) return checkEmpty(account);
  if (first.length !== 32) return denied('malformed');
  const password = configured(account);
  const known = plaintexts.get(account);
  const digest = password === null ? known?.passwordSha256 : sha256(password);
  if (digest !== undefined && !hasNoPassword(account) && sha2TokenMatches(first, nonce, digest)) {
    return passed(plaintext(password ?? known?.password ?? Buffer.alloc(0)), FAST_AUTH_OK);
  }
  // Also after a wrong fast answer: the password may have changed behind the cache, and a server does the same.
  const answer = yield FULL_AUTH;
  const received = yield* receivePassword(context, answer, REQUEST_PUBLIC_KEY_CACHING);
  if (typeof received === 'string') return denied(received);
  return matchesStored(context, received, parseCachingSha2Stored);
}

async function* runSha256(context: ExchangeContext, first: Buffer): Exchange {
  if (isEmptyAnswer(first)) return checkEmpty(context.account);
  const received = yield* receivePassword(context, first, REQUEST_PUBLIC_KEY_SHA256);
  if (typeof received === 'string') return denied(received);
  return matchesStored(context, received, parseSha256Stored);
}

// oxlint-disable-next-line eslint/require-yield -- as above: one answer decides
async function* runEd25519({ account, nonce }: ExchangeContext, first: Buffer): Exchange {
  if (isEmptyAnswer(first)) return account.password === '' ? passed({ kind: 'none' }) : denied('wrong-password', false);
  if (first.length !== 64) return denied('malformed');
  const password = configured(account);
  if (password !== null) {
    return ed25519VerifyPassword(password, nonce, first) ? passed(plaintext(password)) : denied('wrong-password');
  }
  // MariaDB keeps an empty string for an empty password, and then lets nobody in, with or without one.
  if (hasNoPassword(account)) return denied('wrong-password');
  const publicKey = parseEd25519Stored(account.stored);
  if (publicKey === null) return denied('unsupported-plugin');
  return ed25519Verify(publicKey, nonce, first) ? passed({ kind: 'proof-only' }) : denied('wrong-password');
}

/** By the name that the account's row holds. */
export const SERVER_PLUGINS: ReadonlyMap<string, ServerPlugin> = new Map<string, ServerPlugin>([
  ['mysql_native_password', { clientName: 'mysql_native_password', ownNonce: false, run: runNative }],
  ['caching_sha2_password', { clientName: 'caching_sha2_password', ownNonce: false, run: runCachingSha2 }],
  ['sha256_password', { clientName: 'sha256_password', ownNonce: false, run: runSha256 }],
  ['ed25519', { clientName: 'client_ed25519', ownNonce: true, run: runEd25519 }],
]);
