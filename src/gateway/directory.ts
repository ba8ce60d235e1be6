// What a login needs to know of each cluster: how it greets, who may come in, what a collation stands for. Nothing is
// assumed before the control process has told: a client that comes earlier waits.
import type { Account, Flavor, GroupKind } from '../messages/index.ts';
import type { QuietCommand, QuietRow } from './quiet.ts';
import { type SessionDefaults, TRACKED_VARIABLES } from './session.ts';

/** Until then it is told again. */
const MODE_TOLD_MS = 5000;
/** How long a login waits for newer accounts before it is refused by the old ones. */
const REFRESH_TIMEOUT_MS = 3000;

export interface ClusterGreeting {
  /** Empty until a server was seen. */
  serverVersion: string;
  /** The greeting's byte: a driver without a choice of its own begins with it. */
  collation: number;
  flavor: Flavor;
  /** Null: its nodes replicate from one another. */
  group: GroupKind | null;
  /** What is global; null where it is not known. */
  sqlMode: string | null;
  /** With which new sessions begin. */
  autocommit: boolean;
}

/** Of one cluster and version. */
interface Tracked {
  /** As a client's account sees them: those of the server, too. */
  all: readonly string[];
  /** As the control process was told; null before. */
  sessionVariables: string | null;
  /** Those of both, with commas in between. */
  names: string;
}

const NOTHING_TRACKED: Tracked = { all: [], sessionVariables: null, names: '' };

const NOT_KNOWN: ClusterGreeting = {
  serverVersion: '',
  collation: 0,
  flavor: 'mysql',
  group: null,
  sqlMode: null,
  autocommit: true,
};

export class Directory {
  #greetings = new Map<string, ClusterGreeting>();
  #accounts = new Map<string, Account[]>();
  #characterSets = new Map<string, string>();
  #tracked = new Map<string, Tracked>();
  #unknown = new Map<string, Set<() => void>>();
  #refreshing = new Map<string, Set<(changed: boolean) => void>>();
  #askForAccounts: (cluster: string, user: string) => void;
  /** Until when. */
  #doubtedModes = new Map<string, number>();
  #nowMs: () => number;

  constructor(askForAccounts: (cluster: string, user: string) => void, nowMs = () => performance.now()) {
    this.#askForAccounts = askForAccounts;
    this.#nowMs = nowMs;
  }

  /** `sessionVariables`: the names of those of which every session has a value, with commas in between. */
  setGreeting(cluster: string, greeting: ClusterGreeting, sessionVariables?: string): void {
    this.#greetings.set(cluster, greeting);
    const version = this.#versionOf(cluster);
    if (sessionVariables !== undefined && sessionVariables !== this.#tracked.get(version)?.sessionVariables) {
      this.#track(version, { sessionVariables });
    }
    this.#settle(cluster);
  }

  /** Null: they were read again, and are the same as before. */
  setAccounts(cluster: string, accounts: Account[] | null): void {
    if (accounts !== null) {
      this.#accounts.set(cluster, accounts);
      this.#settle(cluster);
    }
    // Who asks again meanwhile gets another answer.
    const waiting = [...(this.#refreshing.get(cluster) ?? [])];
    for (const onAnswer of waiting) onAnswer(accounts !== null);
  }

  /** The users whose global privileges are others than before. */
  regranted(cluster: string, accounts: readonly Account[]): Set<string> {
    const [before, after] = [grantsByUser(this.accounts(cluster)), grantsByUser(accounts)];
    return new Set([...after].flatMap(([user, grants]) => (grants === (before.get(user) ?? grants) ? [] : [user])));
  }

  /** What a new session begins with. `sqlMode`: null where it is not known, or somebody has just set it. */
  defaults(cluster: string): SessionDefaults {
    const { autocommit, sqlMode } = this.greeting(cluster);
    return { autocommit, sqlMode: (this.#doubtedModes.get(cluster) ?? 0) > this.#nowMs() ? null : sqlMode };
  }

  /** A SET GLOBAL of it: what is told of the cluster may be of before. */
  doubtSqlMode(cluster: string): void {
    this.#doubtedModes.set(cluster, this.#nowMs() + MODE_TOLD_MS);
  }

  flavor(cluster: string): Flavor {
    return this.greeting(cluster).flavor;
  }

  greeting(cluster: string): ClusterGreeting {
    return this.#greetings.get(cluster) ?? NOT_KNOWN;
  }

  accounts(cluster: string): Account[] {
    return this.#accounts.get(cluster) ?? [];
  }

  /** Calls back once it is known what the cluster is and who may log in; at once where it is. */
  whenKnown(cluster: string, callback: () => void): void {
    if (this.#isKnown(cluster)) return callback();
    const waiters = this.#unknown.get(cluster) ?? new Set();
    waiters.add(callback);
    this.#unknown.set(cluster, waiters);
  }

  /**
   * Asks for the accounts anew; calls back once, with whether they have changed. That they have not is believed of the second
   * answer only: the first may come of a reading that had begun before the question.
   */
  refresh(cluster: string, user: string, callback: (changed: boolean) => void): void {
    const waiters = this.#refreshing.get(cluster) ?? new Set();
    this.#refreshing.set(cluster, waiters);
    let unchanged = 0;
    const end = (changed: boolean): void => {
      clearTimeout(timer);
      if (waiters.delete(onAnswer)) callback(changed);
    };
    const onAnswer = (changed: boolean): void => {
      if (changed || ++unchanged === 2) return end(changed);
      this.#askForAccounts(cluster, user);
    };
    const timer = setTimeout(() => end(false), REFRESH_TIMEOUT_MS);
    waiters.add(onAnswer);
    this.#askForAccounts(cluster, user);
  }

  /** SQL that sets the character set as a login with `collation` does, where that is known. */
  characterSet(cluster: string, collation: number): string | null {
    return this.#characterSets.get(`${cluster}\0${collation}`) ?? null;
  }

  /** A fresh login tells what its collation stands for; asked once, before the session's own settings. */
  askCharacterSet(cluster: string, collation: number, query: (sql: string) => Buffer, commands: QuietCommand[]): void {
    const key = `${cluster}\0${collation}`;
    if (this.#characterSets.has(key)) return;
    const sql =
      // SET NAMES where it says all: only it gives results the login's collation, too, which their columns show.
      'SELECT IF(@@character_set_client <=> @@character_set_results AND @@character_set_client=' +
      "@@character_set_connection, CONCAT('SET NAMES ', @@character_set_client, ' COLLATE ', @@collation_connection), " +
      "CONCAT('SET character_set_client=', @@character_set_client, ', character_set_results=', " +
      "IFNULL(@@character_set_results, 'NULL'), ', collation_connection=', @@collation_connection))";
    const row = (answer: QuietRow | null): void => {
      const text = answer?.values[0];
      if (text) this.#characterSets.set(key, text);
    };
    commands.push({ packet: query(sql), what: 'character set', row });
  }

  /** The variables whose changes a server is to report, with commas in between; empty until one was asked. */
  trackedVariables(cluster: string): string {
    return this.#tracked.get(this.#versionOf(cluster))?.names ?? '';
  }

  /** A server looks at all of the list whenever one of them changes, so it is to hold nothing that no session can set. */
  #track(version: string, more: Partial<Pick<Tracked, 'all' | 'sessionVariables'>>): void {
    const { all, sessionVariables } = { ...(this.#tracked.get(version) ?? NOTHING_TRACKED), ...more };
    const known = sessionVariables === null ? null : new Set(sessionVariables.split(','));
    const names = known === null ? all : all.filter((name) => known.has(name));
    this.#tracked.set(version, { all, sessionVariables, names: names.join(',') });
  }

  /** Asked once a cluster and version. */
  askTrackedVariables(cluster: string, query: (sql: string) => Buffer, commands: QuietCommand[]): void {
    if (this.flavor(cluster) !== 'mysql' || this.trackedVariables(cluster) !== '') return;
    const row = (answer: QuietRow | null): void => {
      const names: unknown = JSON.parse(answer?.values[0] ?? '[]');
      if (Array.isArray(names)) this.#track(this.#versionOf(cluster), { all: names.map(String) });
    };
    commands.push({ packet: query(TRACKED_VARIABLES), what: 'the names of variables', row, failed: () => {} });
  }

  #versionOf(cluster: string): string {
    return `${cluster}\0${this.greeting(cluster).serverVersion}`;
  }

  #isKnown(cluster: string): boolean {
    return this.#accounts.has(cluster) && this.greeting(cluster).serverVersion !== '';
  }

  #settle(cluster: string): void {
    const waiters = this.#unknown.get(cluster);
    if (waiters === undefined || !this.#isKnown(cluster)) return;
    this.#unknown.delete(cluster);
    for (const go of waiters) go();
  }
}

/** Of all its accounts: the server, and not we, says which of them a server connection is. */
function grantsByUser(accounts: readonly Account[]): Map<string, string> {
  const byUser = new Map<string, string>();
  for (const { user, host, grants } of accounts) {
    if (grants !== undefined) byUser.set(user, `${byUser.get(user) ?? ''} ${host}=${grants}`);
  }
  return byUser;
}
