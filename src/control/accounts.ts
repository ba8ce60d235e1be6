// The accounts that may log in at the endpoints: the cluster's own, read every few seconds and when a worker meets a
// user it does not know; or the configuration's list. Workers hear of them when they changed. Never logged.
import type { Config } from '../config/types.ts';
import type { Account, Flavor } from '../messages/index.ts';
import { type Clock, errorText, type Log, type Monitor } from './ports.ts';

const refreshIntervalMs = 5000;
/** A stranger who guesses user names must not make us read the account table at his pace. */
const minRefreshGapMs = 200;
const retryMs = 1000;
/** At the start the nodes are not known yet, and nobody can log in before the accounts are. */
const eagerMs = 2000;
const eagerRetryMs = 50;

/** The configuration's users as accounts; the plug-in is what the flavor would take by default. */
export function configuredAccounts(users: Exclude<Config['users'], 'cluster'>, flavor: Flavor): Account[] {
  return users.flatMap(({ name, password, hosts }) =>
    hosts.map((host) => ({
      user: name,
      host,
      plugin: flavor === 'mysql' ? 'caching_sha2_password' : 'mysql_native_password',
      stored: '',
      encoding: 'text' as const,
      locked: false,
      passwordExpired: false,
      requireTls: false,
      password,
    })),
  );
}

export interface AccountFeedOptions {
  cluster: string;
  users: Config['users'];
  monitor: Pick<Monitor, 'accounts' | 'view'>;
  clock: Clock;
  log: Log;
  onAccounts: (accounts: Account[]) => void;
  /** Somebody asked, and nothing has changed: who waits for it must not wait for longer. */
  onUnchanged: () => void;
}

/** One cluster's accounts, told whenever they change. */
export class AccountFeed {
  readonly #options: AccountFeedOptions;
  #told = '';
  #reading = false;
  #again = false;
  #asked = false;
  #lastReadAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  #failed = false;
  #startedAt = 0;

  constructor(options: AccountFeedOptions) {
    this.#options = options;
  }

  /** Whether the accounts were told once. */
  get told(): boolean {
    return this.#told !== '';
  }

  start(): void {
    this.#startedAt = this.#options.clock.nowMs();
    this.#schedule(0);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  /** Reads again as soon as the rate allows; requests that come meanwhile share one reading. */
  refresh(): void {
    this.#asked = true;
    if (this.#reading) this.#again = true;
    else this.#schedule(Math.max(0, this.#lastReadAt + minRefreshGapMs - this.#options.clock.nowMs()));
  }

  #schedule(delayMs: number): void {
    if (this.#stopped) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#read(), delayMs);
  }

  async #read(): Promise<void> {
    const { clock, cluster, log, monitor, onAccounts, onUnchanged, users } = this.#options;
    this.#reading = true;
    this.#again = false;
    const asked = this.#asked;
    this.#asked = false;
    this.#lastReadAt = clock.nowMs();
    try {
      const accounts =
        users === 'cluster' ? await monitor.accounts() : configuredAccounts(users, monitor.view().flavor ?? 'mysql');
      const text = JSON.stringify(accounts);
      if (text !== this.#told && !this.#stopped) {
        this.#told = text;
        onAccounts(accounts);
      } else if (asked && !this.#stopped) {
        onUnchanged();
      }
      if (this.#failed) log.info({ cluster }, 'accounts can be read again');
      this.#failed = false;
    } catch (error) {
      // Workers go on with those that they have.
      if (!this.#failed && !this.#eager()) {
        log.warn({ cluster, error: errorText(error) }, 'accounts cannot be read');
        this.#failed = true;
      }
    }
    this.#reading = false;
    this.#schedule(this.#pauseMs());
  }

  #eager(): boolean {
    return !this.told && this.#options.clock.nowMs() - this.#startedAt < eagerMs;
  }

  #pauseMs(): number {
    if (this.#eager()) return eagerRetryMs;
    if (this.#again) return minRefreshGapMs;
    return this.#failed || !this.told ? retryMs : refreshIntervalMs;
  }
}
