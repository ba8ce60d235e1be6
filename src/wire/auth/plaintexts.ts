// The passwords that caching_sha2_password clients proved in a full exchange. MySQL keeps SHA-256(SHA-256(pw)) for its
// fast path; we keep the plaintext, too, because a promoted server that has never seen the user wants it. In memory only,
// bounded, overwritten with zeros when an entry goes, and void as soon as the account's stored form changes.
import type { Account } from '../../messages/index.ts';
import { equalBytes, sha256 } from './scramble.ts';

interface Entry {
  stored: string;
  password: Buffer;
  passwordSha256: Buffer;
}

/** The account's identity; a zero byte cannot be in either name. */
export const accountKey = (account: Account): string => `${account.user}\0${account.host}`;

/** Least recently used entries go first. One a worker. */
export class PlaintextCache {
  readonly #entries = new Map<string, Entry>();
  readonly #checks = new Map<string, Promise<boolean>>();
  readonly #maxEntries: number;

  constructor(maxEntries: number) {
    if (!(maxEntries >= 1)) throw new TypeError('a plaintext cache holds at least one entry');
    this.#maxEntries = maxEntries;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** The live entry itself: do not keep it. */
  get(account: Account): Readonly<Pick<Entry, 'password' | 'passwordSha256'>> | null {
    const key = accountKey(account);
    const entry = this.#entries.get(key);
    if (entry === undefined) return null;
    if (entry.stored !== account.stored) {
      this.#drop(key, entry);
      return null;
    }
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry;
  }

  /** Keeps a copy. */
  remember(account: Account, password: Buffer): void {
    const key = accountKey(account);
    const old = this.#entries.get(key);
    if (old !== undefined) this.#drop(key, old);
    const copy = Buffer.from(password);
    this.#entries.set(key, { stored: account.stored, password: copy, passwordSha256: sha256(copy) });
    for (const [oldest, entry] of this.#entries) {
      if (this.#entries.size <= this.#maxEntries) break;
      this.#drop(oldest, entry);
    }
  }

  /** Forgets everything, for instance before the process ends. */
  clear(): void {
    for (const [key, entry] of this.#entries) this.#drop(key, entry);
  }

  /**
   * Runs `check`, the expensive comparison with the stored form, once for all logins that ask the same at the same
   * time: a pool that connects a hundred times at its start costs one computation.
   */
  async checkOnce(account: Account, password: Buffer, check: () => Promise<boolean>): Promise<boolean> {
    const known = this.get(account);
    if (known !== null && equalBytes(known.password, password)) return true;
    const key = `${accountKey(account)}\0${account.stored}\0${sha256(password).toString('latin1')}`;
    const running = this.#checks.get(key);
    if (running !== undefined) return running;
    // Bounded by the logins that are under way, each of which waits for at most one check.
    const started = check().finally(() => this.#checks.delete(key));
    this.#checks.set(key, started);
    return started;
  }

  #drop(key: string, entry: Entry): void {
    this.#entries.delete(key);
    entry.password.fill(0);
    entry.passwordSha256.fill(0);
  }
}
