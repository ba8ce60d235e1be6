// Verifying a client, from its handshake response (or COM_CHANGE_USER) to the verdict: find the account, agree on the
// plugin, run the plugin's exchange, and only then look at what else bars the account, as servers do. Pure but for
// the services handed in; the caller moves the payloads and sends the final OK or ERR.
import { createPrivateKey, createPublicKey } from 'node:crypto';
import type { Account, Flavor } from '../../messages/index.ts';
import { encodeAuthSwitch } from '../auth-packets.ts';
import { Capability } from '../capabilities.ts';
import type { ErrPacket } from '../response.ts';
import { hostInMessages, matchAccount } from './accounts.ts';
import { decoyAccount } from './decoys.ts';
import { ED25519_NONCE_BYTES } from './ed25519.ts';
import { type Refusal, refusal } from './errors.ts';
import type { PlaintextCache } from './plaintexts.ts';
import { type Exchange, type RsaKeys, SERVER_PLUGINS, type ServerPlugin, type Verdict } from './plugins.ts';
import { NONCE_BYTES } from './scramble.ts';
import type { AuthFailure, ServerAuthStep, Transport } from './types.ts';

/** No answer of any plugin is longer; a sealed password under an RSA key of 16384 bits is 2048 bytes. */
const MAX_ANSWER_BYTES = 4096;

export interface ServerAuthServices {
  /** Cryptographically strong random bytes. */
  random: (bytes: number) => Buffer;
  plaintexts: PlaintextCache;
  /** Null switches the SHA-2 plugins' exchange without TLS off. */
  rsa: RsaKeys | null;
  /** At least 16 secret random bytes, the same for the life of the process. */
  decoyKey: Buffer;
}

export interface ServerAuthRequest {
  flavor: Flavor;
  accounts: readonly Account[];
  /** IP address; empty for a Unix socket. */
  clientAddress: string;
  transport: Transport;
  user: string;
  /** What the client answered with its first packet, and by which plugin (null: it does not speak PLUGIN_AUTH). */
  authResponse: Buffer;
  authPlugin: string | null;
  /** The connection's agreed bits. */
  capabilities: number;
  /** The greeting's 20 bytes, which `authResponse` was computed with. */
  nonce: Buffer;
  /** A second try: the client may have computed with another nonce than we think, so it is asked anew. */
  alwaysSwitch?: boolean;
}

/** The key pair from the private key's PEM. Throws where it is no RSA key. */
export function loadRsaKeys(privatePem: string): RsaKeys {
  const privateKey = createPrivateKey(privatePem);
  if (privateKey.asymmetricKeyType !== 'rsa') throw new TypeError('not an RSA key');
  const publicPem = createPublicKey(privateKey).export({ type: 'spki', format: 'pem' });
  return { privateKey, publicPem };
}

/** A nonce as MySQL makes them: 7-bit, no zero byte, no `$`, since clients have treated it as a string. */
export function makeNonce(random: (bytes: number) => Buffer, bytes: number = NONCE_BYTES): Buffer {
  const nonce = Buffer.from(random(bytes));
  for (let i = 0; i < nonce.length; i++) {
    const byte = (nonce[i] ?? 0) & 0x7f;
    nonce[i] = byte === 0 || byte === 0x24 ? byte + 1 : byte;
  }
  return nonce;
}

/** One login. Call `start` once, then `step` with each further payload of the client until `done` or `fail`. */
export class ServerAuth {
  readonly #request: ServerAuthRequest;
  readonly #account: Account;
  /** Set where the exchange is a decoy's: whatever comes of it, this is why it fails. */
  readonly #barred: 'unknown-user' | 'host-not-allowed' | null;
  readonly #exchange: Exchange;
  #over = false;

  constructor(request: ServerAuthRequest, services: ServerAuthServices) {
    const { accounts, user, clientAddress, flavor } = request;
    const match = matchAccount(accounts, user, clientAddress);
    this.#request = request;
    if (match.kind === 'account') {
      this.#account = match.account;
      this.#barred = null;
    } else {
      this.#account = decoyAccount(accounts, user, flavor, services.decoyKey);
      this.#barred = match.kind === 'none' ? 'unknown-user' : 'host-not-allowed';
    }
    this.#exchange = runExchange(this.#account, request, services);
  }

  async start(): Promise<ServerAuthStep> {
    if (this.#barred === 'host-not-allowed') return this.#fail('host-not-allowed', false);
    return this.#advance(await this.#exchange.next(Buffer.alloc(0)));
  }

  async step(input: Buffer): Promise<ServerAuthStep> {
    if (this.#over) throw new Error('this authentication is over');
    if (input.length > MAX_ANSWER_BYTES) {
      await this.#exchange.return({ ok: false, reason: 'malformed', usedPassword: true });
      return this.#fail('malformed', true);
    }
    return this.#advance(await this.#exchange.next(Buffer.from(input)));
  }

  #advance(result: IteratorResult<Buffer, Verdict>): ServerAuthStep {
    if (!result.done) return { kind: 'send', payload: result.value };
    const verdict = result.value;
    if (!verdict.ok) return this.#fail(this.#barred ?? verdict.reason, verdict.usedPassword);
    if (this.#barred !== null) return this.#fail(this.#barred, true);
    const usedPassword = verdict.credential.kind !== 'none';
    const barrier = this.#barrier();
    if (barrier !== null) return this.#fail(barrier, usedPassword);
    this.#over = true;
    return { kind: 'done', account: this.#account, credential: verdict.credential, send: verdict.send };
  }

  /** What is told only to those who know the password. */
  #barrier(): AuthFailure | null {
    const { transport, flavor, capabilities } = this.#request;
    if (this.#account.requireTls && !transport.tls) return 'tls-required';
    if (this.#account.locked) return 'account-locked';
    // MariaDB (disconnect_on_expired_password=OFF) lets everybody into the sandbox that allows only SET PASSWORD.
    const handles = flavor === 'mariadb' || (capabilities & Capability.CAN_HANDLE_EXPIRED_PASSWORDS) !== 0;
    return this.#account.passwordExpired && !handles ? 'password-expired' : null;
  }

  #fail(reason: AuthFailure, usedPassword: boolean): ServerAuthStep {
    this.#over = true;
    return { kind: 'fail', reason, error: this.#error(reason, usedPassword) };
  }

  #error(reason: AuthFailure, usingPassword: boolean): ErrPacket {
    const { user, flavor, clientAddress } = this.#request;
    const host = hostInMessages(clientAddress);
    return refusal(refusalFor(reason, { user, host, usingPassword }, this.#account), flavor);
  }
}

type Denial = Omit<Extract<Refusal, { kind: 'access-denied' }>, 'kind'>;

/** Every reason that would tell a stranger something is told as a wrong password. */
function refusalFor(reason: AuthFailure, denial: Denial, account: Account): Refusal {
  const denied: Refusal = { kind: 'access-denied', ...denial };
  const refusals: Record<AuthFailure, Refusal> = {
    'wrong-password': denied,
    'unknown-user': denied,
    'tls-required': denied,
    'secure-transport-needed': denied,
    malformed: denied,
    'host-not-allowed': { kind: 'host-not-allowed', host: denial.host },
    'account-locked': { kind: 'account-locked', user: denial.user, host: denial.host },
    'password-expired': { kind: 'password-expired' },
    'old-client': { kind: 'old-client' },
    'unsupported-plugin': { kind: 'plugin-not-loaded', plugin: account.plugin },
  };
  return refusals[reason];
}

/** An account from the configuration can be verified by any plugin, so the client's own saves a round trip. */
function choosePlugin(account: Account, clientPlugin: string): ServerPlugin | null {
  if (account.password !== undefined) {
    for (const plugin of SERVER_PLUGINS.values()) if (plugin.clientName === clientPlugin) return plugin;
  }
  return SERVER_PLUGINS.get(account.plugin) ?? null;
}

async function* runExchange(account: Account, request: ServerAuthRequest, services: ServerAuthServices): Exchange {
  const clientPlugin = request.authPlugin || 'mysql_native_password';
  const plugin = choosePlugin(account, clientPlugin);
  if (plugin === null) return { ok: false, reason: 'unsupported-plugin', usedPassword: true };
  let nonce = request.nonce;
  let answer = request.authResponse;
  const speaksPlugins = (request.capabilities & Capability.PLUGIN_AUTH) !== 0;
  // Who cannot be asked anew has seen no nonce but the greeting's.
  if (plugin.clientName !== clientPlugin || plugin.ownNonce || (request.alwaysSwitch && speaksPlugins)) {
    if (!speaksPlugins) {
      return { ok: false, reason: 'old-client', usedPassword: answer.length > 0 };
    }
    nonce = plugin.ownNonce ? services.random(ED25519_NONCE_BYTES) : makeNonce(services.random);
    // The zero byte behind the nonce is part of the format, but client_ed25519 insists on exactly its 32 bytes.
    answer = yield encodeAuthSwitch(plugin.clientName, plugin.ownNonce ? nonce : Buffer.concat([nonce, Buffer.of(0)]));
  }
  const { transport } = request;
  const { rsa, plaintexts } = services;
  return yield* plugin.run({ account, nonce, transport, rsa, plaintexts }, answer);
}
