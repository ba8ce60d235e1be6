// The drill's clients. Each keeps one connection over an ordinary driver and does what applications do, in an order that
// the dice give: a write of its own, a transfer between accounts, an append to a list, reads. Whatever it was told it
// remembers, and whatever it reads it compares: its own writes, the total of all accounts, and that nothing goes back to
// what it was before. A transaction that ends with 1213 is given up, as frameworks do; nothing else may go wrong.
import { setTimeout as delay } from 'node:timers/promises';
import { type Audit, audit, ClientBook } from './book.ts';
import { type Conserved, conserved } from './conserve.ts';
import { type Answer, connectWith, type DriverConnection, type DriverName, driversHere, type Value } from './driver.ts';
import { type Expected, Period } from './period.ts';
import { Dice } from './random.ts';
import {
  ACCOUNTS,
  LISTS,
  MARK,
  MARK_BASE,
  makeTables,
  numberOf,
  OPENING_BALANCE,
  readHoldings,
  SQL,
  TAIL,
} from './tables.ts';
import { Timeline } from './timeline.ts';
import { type ClientError, verdictOf } from './verdict.ts';
import type { WorkloadLogin } from './workload.ts';

export interface LoadOptions {
  login: WorkloadLogin;
  connections: number;
  /** How long a client thinks before its next act, at most. */
  pauseMs: number;
  /** How long a statement may go without an answer once the load is to stop. */
  stuckAfterMs: number;
  seed: number;
}

interface Client {
  book: ClientBook;
  driver: DriverName;
  connection: DriverConnection;
  /** Half of the clients use prepared statements. */
  prepared: boolean;
  dice: Dice;
  sentMs: number | null;
  state: 'open' | 'lost' | 'ended';
}

/** Then it would only repeat itself: the clients stop. */
const MAX_ERRORS = 20_000;
const PAUSE_AFTER_ERROR_MS = 20;
const RECONNECT_PAUSE_MS = 50;
/** Between two statements of a transaction, at most. */
const THINK_IN_TRANSACTION_MS = 6;
/** For the answers to COM_QUIT. */
const POLITE_END_MS = 1000;
const DEADLOCK = 1213;
const SAVEPOINT = 'evenkeel_drill';

/** Ends what a client does at the moment; it has been recorded. */
class Interrupted extends Error {
  readonly failure: ClientError;
  /** It was rolled back as its client must expect, and is no error. */
  readonly expected: Expected | null;
  constructor(failure: ClientError) {
    super(failure.message);
    this.failure = failure;
    this.expected = expectedOf(failure);
  }
}

export class CheckedLoad {
  readonly timeline = new Timeline();
  /** All but the 1213 that a client must expect, which the periods count. */
  readonly errors: ClientError[] = [];
  readonly drivers: readonly DriverName[];
  acknowledged = 0;
  readsChecked = 0;
  transactions = 0;
  /** Connections that were lost and made anew. */
  connectionsLost = 0;
  #period = new Period();
  /** The one before the first fault first, then one a fault: `newPeriod`. */
  readonly periods: Period[] = [this.#period];
  readonly #options: LoadOptions;
  readonly #clients: Client[] = [];
  readonly #originMs = performance.now();
  /** The greatest length of each list that anybody was told, by a read or an acknowledged append. */
  readonly #floors = Array.from({ length: LISTS }, () => 0);
  #loops: Promise<void>[] = [];
  #running = true;

  private constructor(options: LoadOptions, drivers: readonly DriverName[]) {
    this.#options = options;
    this.drivers = drivers;
  }

  /** Makes the tables, connects all clients, then lets them begin. Rejects where one of these cannot be done. */
  static async start(options: LoadOptions): Promise<CheckedLoad> {
    const load = new CheckedLoad(options, await driversHere());
    await load.#alone((connection) => makeTables((sql, values = []) => connection.query(sql, values)));
    const opened = await Promise.allSettled(
      Array.from({ length: options.connections }, (_, at) => connectWith(load.#driverOf(at), options.login)),
    );
    const failed = opened.find((one) => one.status === 'rejected');
    const connections = opened.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    if (failed !== undefined) {
      for (const connection of connections) connection.destroy();
      throw failed.reason;
    }
    load.#begin(connections);
    return load;
  }

  /** Milliseconds since the load's start: the scale of the timeline, of errors and faults. */
  nowMs(): number {
    return performance.now() - this.#originMs;
  }

  /** A fault begins. */
  newPeriod(): void {
    this.#period = new Period();
    this.periods.push(this.#period);
  }

  /** So much went wrong that the clients stopped. */
  get gaveUp(): boolean {
    return this.errors.length >= MAX_ERRORS;
  }

  /** Lets every client have its last answer and closes the connections; once. */
  async stop(stuckAfterMs = this.#options.stuckAfterMs): Promise<void> {
    if (!this.#running) return;
    this.#running = false;
    await within(stuckAfterMs, Promise.all(this.#loops));
    for (const client of this.#clients) {
      if (client.state !== 'open') continue;
      if (client.sentMs !== null) this.#note(client, 'stuck', client.sentMs, { message: 'no answer came' });
      client.state = 'ended';
    }
    const ends = this.#clients
      .filter(({ sentMs }) => sentMs === null)
      .map(({ connection }) => connection.end().catch(() => {}));
    await within(POLITE_END_MS, Promise.all(ends));
    for (const { connection } of this.#clients) connection.destroy();
  }

  /** Compares what clients were told with what is there now, at `node` itself where it is given. Call it after `stop`. */
  async audit(node: { host: string; port: number } | null = null): Promise<Audit & Conserved> {
    const read = (one: DriverConnection) => readHoldings((sql, values = []) => one.query(sql, values));
    const holdings = await this.#alone(read, node);
    const books = this.#clients.map(({ book }) => book);
    const told = audit(books, holdings.book);
    const kept = conserved(holdings, OPENING_BALANCE);
    return { ...told, ...kept, examples: [...told.examples, ...kept.examples] };
  }

  async #alone<T>(
    work: (connection: DriverConnection) => Promise<T>,
    node: { host: string; port: number } | null = null,
  ): Promise<T> {
    const { login } = this.#options;
    const at = node === null ? login : { ...login, host: node.host, port: node.port };
    const connection = await connectWith('mysql2', at);
    try {
      return await work(connection);
    } finally {
      connection.destroy();
    }
  }

  #driverOf(client: number): DriverName {
    return this.drivers[client % this.drivers.length] ?? 'mysql2';
  }

  #begin(connections: DriverConnection[]): void {
    for (const [id, connection] of connections.entries()) {
      const client: Client = {
        book: new ClientBook(id),
        driver: connection.driver,
        connection,
        prepared: id % 4 < 2,
        dice: new Dice(this.#options.seed * 1009 + id),
        sentMs: null,
        state: 'open',
      };
      this.#clients.push(client);
      this.#watch(client);
    }
    this.#loops = this.#clients.map((client) => this.#run(client));
  }

  #watch(client: Client): void {
    const { connection } = client;
    connection.onLost((error) => {
      // A statement that is on its way is told by itself.
      if (client.connection === connection && client.sentMs === null) this.#lost(client, this.nowMs(), error);
    });
  }

  /** Rejects only where the drill itself is wrong. */
  async #run(client: Client): Promise<void> {
    const write = (): Promise<void> => this.#write(client);
    const transfer = (): Promise<void> => this.#transfer(client);
    const append = (): Promise<void> => this.#append(client);
    const look = (): Promise<void> => this.#look(client);
    const acts = [write, transfer, transfer, append, look, look];
    let marked = false;
    while (this.#running && !this.gaveUp) {
      let ok = false;
      try {
        if (client.state === 'lost') {
          marked = false;
          await this.#reconnect(client);
          if (client.state === 'lost') continue;
        }
        if (!marked) await this.#text(client, 'read', `SET SESSION ${MARK} = ${MARK_BASE + client.book.client}`);
        marked = true;
        await client.dice.pick(acts)();
        ok = true;
      } catch (error) {
        if (!(error instanceof Interrupted)) throw error;
      }
      await delay(ok ? client.dice.below(this.#options.pauseMs + 1) : PAUSE_AFTER_ERROR_MS);
    }
  }

  async #reconnect(client: Client): Promise<void> {
    try {
      client.connection = await connectWith(client.driver, this.#options.login);
      client.state = 'open';
      this.#watch(client);
    } catch {
      // The loss itself has been recorded; while nobody listens there is nothing more to say.
      await delay(RECONNECT_PAUSE_MS);
    }
  }

  // ---- what clients do ------------------------------------------------------------------------------------------

  /** A write on its own, then a read of it and of an old one. */
  async #write(client: Client): Promise<void> {
    const { book } = client;
    const n = book.next();
    try {
      await this.#ask(client, 'write', SQL.write, [book.client, n, bodyOf(book.client, n)], 1);
      this.#acknowledge(client, n);
    } catch (error) {
      if (error instanceof Interrupted) book.refused(n, error.failure.verdict ?? 'unknown');
      throw error;
    }
    const half = Math.ceil(n / 2);
    await this.#readOwn(client, [n, book.doubts.has(half) ? n : half]);
  }

  async #readOwn(client: Client, wanted: [number, number]): Promise<void> {
    const { client: id } = client.book;
    const { rows } = await this.#ask(client, 'read', SQL.own, [id, ...wanted]);
    for (const n of wanted) {
      const times = rows.filter((row) => numberOf(row, 'n') === n).length;
      this.#expect(client, times === 1, `a read found the client's own write ${n} ${times} times`);
    }
    for (const row of rows) {
      const n = numberOf(row, 'n');
      this.#expect(client, row['body'] === bodyOf(id, n), `a read of ${wanted.join(', ')} answered another text`);
      const mine = numberOf(row, 'mine');
      this.#expect(client, mine === MARK_BASE + id, `the session's ${MARK} was ${mine}, not ${MARK_BASE + id}`);
    }
    this.readsChecked += 1;
  }

  /** From one account to another; both are locked in the same order by everybody. */
  async #transfer(client: Client): Promise<void> {
    const { book, dice } = client;
    const [one = 0, two = 1] = dice
      .shuffled(Array.from({ length: ACCOUNTS }, (_, id) => id))
      .slice(0, 2)
      .sort((a, b) => a - b);
    const amount = 1 + dice.below(9);
    const lock = async (): Promise<{ source: number; target: number }> => ({
      source: numberOf((await this.#ask(client, 'read', SQL.balance, [one])).rows[0], 'balance'),
      target: numberOf((await this.#ask(client, 'read', SQL.balance, [two])).rows[0], 'balance'),
    });
    await this.#transaction(client, lock, async (n, { source, target }) => {
      await delay(dice.below(THINK_IN_TRANSACTION_MS));
      await this.#ask(client, 'write', SQL.setBalance, [source - amount, one], 1);
      await this.#ask(client, 'write', SQL.setBalance, [target + amount, two], 1);
      await this.#ask(client, 'write', SQL.transfer, [book.client, n, one, two, amount], 1);
    });
  }

  /** At the end of a list, whose length it reads and locks before. */
  async #append(client: Client): Promise<void> {
    const { book, dice } = client;
    const list = dice.below(LISTS);
    let position = 0;
    const lock = async (): Promise<void> => {
      const floor = this.#floors[list] ?? 0;
      const length = numberOf((await this.#ask(client, 'read', SQL.length, [list])).rows[0], 'length');
      const told = `list ${list} had ${floor} entries before, and ${length} when it was locked`;
      this.#expect(client, length >= floor, told);
      position = length + 1;
    };
    await this.#transaction(client, lock, async (n) => {
      await delay(dice.below(THINK_IN_TRANSACTION_MS));
      await this.#ask(client, 'write', SQL.append, [list, position, book.client, n], 1);
      await this.#ask(client, 'write', SQL.setLength, [position, list], 1);
    });
    this.#reached(list, position);
  }

  /** The total of all accounts, or how far a list has come, which nobody may see go back. */
  async #look(client: Client): Promise<void> {
    if (client.dice.next() < 0.4) {
      const [row] = (await this.#ask(client, 'read', SQL.total, [])).rows;
      const total = numberOf(row, 'total');
      const right = total === ACCOUNTS * OPENING_BALANCE && numberOf(row, 'accounts') === ACCOUNTS;
      this.#expect(client, right, `all accounts held ${total}, not ${ACCOUNTS * OPENING_BALANCE}`);
      this.readsChecked += 1;
      return;
    }
    const list = client.dice.below(LISTS);
    const floor = this.#floors[list] ?? 0;
    const [row] = (await this.#ask(client, 'read', SQL.list, [list])).rows;
    const length = numberOf(row, 'length');
    this.#expect(client, length >= floor, `list ${list} had ${floor} entries before, and ${length} in a later read`);
    const last = numberOf(row, 'last') || 0;
    this.#expect(client, last === length, `list ${list} said ${length} entries, and its last stands at ${last}`);
    this.#reached(list, length);
    const tail = (await this.#ask(client, 'read', SQL.tail, [list])).rows.map((entry) => numberOf(entry, 'position'));
    const [top = 0] = tail;
    const whole = top >= length && tail.every((position, index) => position === top - index);
    this.#expect(client, whole && tail.length === Math.min(top, TAIL), `list ${list} ended in ${tail.join(', ')}`);
    this.readsChecked += 2;
  }

  #reached(list: number, length: number): void {
    this.#floors[list] = Math.max(this.#floors[list] ?? 0, length);
  }

  /**
   * Half of them set a savepoint once they have locked what they change, and give it up before they commit: where a part
   * of it was committed by itself, which the books do not show once the rest is there, the savepoint is gone (1305).
   */
  async #transaction<T>(
    client: Client,
    lock: () => Promise<T>,
    change: (n: number, locked: T) => Promise<void>,
  ): Promise<void> {
    const { book, dice } = client;
    const n = book.next();
    const saves = dice.next() < 0.5;
    let committing = false;
    try {
      await this.#text(client, 'write', 'BEGIN');
      const locked = await lock();
      if (saves) await this.#text(client, 'write', `SAVEPOINT ${SAVEPOINT}`);
      await change(n, locked);
      await this.#ask(client, 'write', SQL.write, [book.client, n, bodyOf(book.client, n)], 1);
      if (saves) await this.#text(client, 'write', `RELEASE SAVEPOINT ${SAVEPOINT}`);
      committing = true;
      await this.#text(client, 'write', 'COMMIT');
      this.#acknowledge(client, n);
      this.transactions += 1;
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error;
      const { verdict } = error.failure;
      const rolledBack = error.expected !== null;
      book.refused(n, !committing || rolledBack ? 'not executed' : (verdict ?? 'unknown'));
      if (client.state === 'open' && !rolledBack) await this.#text(client, 'write', 'ROLLBACK');
      throw error;
    }
  }

  #acknowledge(client: Client, n: number): void {
    client.book.acknowledged(n);
    this.acknowledged += 1;
  }

  // ---- statements and their errors ------------------------------------------------------------------------------

  #expect(client: Client, holds: boolean, otherwise: string): void {
    if (!holds) throw new Interrupted(this.#note(client, 'answer', this.nowMs(), { message: otherwise }));
  }

  /** As text, whatever the client's habit is. */
  #text(client: Client, kind: 'write' | 'read', sql: string): Promise<Answer> {
    return this.#statement(client, kind, () => client.connection.query(sql, []));
  }

  async #ask(
    client: Client,
    kind: 'write' | 'read',
    sql: string,
    values: readonly Value[],
    affected = 0,
  ): Promise<Answer> {
    const { connection, prepared } = client;
    const send = () => (prepared ? connection.execute(sql, values) : connection.query(sql, values));
    const answer = await this.#statement(client, kind, send);
    const told = `'${sql.slice(0, 30)}…' changed ${answer.affected} rows`;
    this.#expect(client, answer.affected === affected, told);
    return answer;
  }

  async #statement(client: Client, kind: 'write' | 'read', send: () => Promise<Answer>): Promise<Answer> {
    // Lost since the last statement: this one is not sent.
    if (client.state !== 'open')
      throw new Interrupted(this.#failure(client, 'connection', this.nowMs(), { message: 'the connection is gone' }));
    const sentMs = this.nowMs();
    client.sentMs = sentMs;
    try {
      const answer = await send();
      client.sentMs = null;
      this.#answered(sentMs, true);
      return answer;
    } catch (error) {
      client.sentMs = null;
      this.#answered(sentMs, false);
      const { fatal } = error as { fatal?: boolean };
      const failure = fatal === true ? this.#lost(client, sentMs, error) : this.#note(client, kind, sentMs, error);
      throw new Interrupted(failure);
    }
  }

  #answered(sentMs: number, ok: boolean): void {
    const now = this.nowMs();
    this.timeline.record(sentMs, now, ok);
    this.#period.waits.record(now - sentMs);
  }

  #lost(client: Client, sentMs: number, error: unknown): ClientError {
    if (client.state !== 'open') return this.#failure(client, 'connection', sentMs, error);
    client.state = 'lost';
    client.connection.destroy();
    this.connectionsLost += 1;
    return this.#note(client, 'connection', sentMs, error);
  }

  #note(client: Client, kind: ClientError['kind'], sentMs: number, error: unknown): ClientError {
    const failure = this.#failure(client, kind, sentMs, error);
    const expected = expectedOf(failure);
    if (expected === null) this.errors.push(failure);
    else this.#period.expected[expected] += 1;
    return failure;
  }

  #failure(client: Client, kind: ClientError['kind'], sentMs: number, error: unknown): ClientError {
    const { message = 'unknown error', errno } = error as { message?: string; errno?: number };
    return {
      client: client.book.client,
      kind,
      sentMs,
      answeredMs: this.nowMs(),
      errno: errno ?? null,
      message,
      verdict: verdictOf(message),
    };
  }
}

/** Why a transaction was rolled back that its application is expected to try again. */
function expectedOf({ errno, message }: ClientError): Expected | null {
  if (errno !== DEADLOCK) return null;
  if (verdictOf(message) === null) return 'deadlock';
  return /run again, statement \d+: /.test(message) ? 'replay-differed' : null;
}

function bodyOf(client: number, n: number): string {
  return `client ${client} wrote this as number ${n}`;
}

/** Waits for it, but no longer than so. */
async function within(ms: number, work: Promise<unknown>): Promise<void> {
  const enough = new AbortController();
  await Promise.race([work, delay(ms, null, { signal: enough.signal }).catch(() => {})]);
  enough.abort();
}
