// A workload that checks itself: clients over an ordinary driver, each on one connection for the whole run, write numbered
// rows, read them back and compare. A client never reconnects: a lost connection is a failure that is reported, and so
// is a statement without an answer. (client, n) has no unique key, so that a write that is applied twice can be seen.
import { setTimeout as delay } from 'node:timers/promises';
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise';
import { type Audit, audit, ClientBook } from './book.ts';
import { Timeline } from './timeline.ts';
import { type ClientError, verdictOf } from './verdict.ts';

export interface WorkloadLogin {
  host: string;
  port: number;
  user: string;
  password: string;
  database: string;
}

export interface WorkloadOptions {
  login: WorkloadLogin;
  connections: number;
  /** How long a client thinks before its next statement. */
  pauseMs: number;
  /** The workload makes it and drops what was there. */
  table: string;
  /** How long a statement may go without an answer once the workload is to stop. */
  stuckAfterMs: number;
}

/** What can be told of a running workload. */
export interface WorkloadState {
  elapsedMs: number;
  /** Over the last second. */
  ratePerSecond: number;
  /** How long the statement has waited that has waited longest; 0 where none is on its way. */
  waitingMs: number;
  longestMs: number;
  acknowledged: number;
  readsChecked: number;
  /** All but those in `unknown`. */
  errors: number;
  /** Writes that were answered with an error that carries the verdict `unknown`. */
  unknown: number;
  /** Clients that still have the connection that they began with, or ended it themselves. */
  connected: number;
}

interface Client {
  book: ClientBook;
  connection: Connection;
  /** Half of the clients use prepared statements. */
  prepared: boolean;
  sentMs: number | null;
  state: 'open' | 'lost' | 'ended';
  errors: number;
}

interface WorkloadRow extends RowDataPacket {
  n: number;
  body: string;
  mine: number;
}

const MAX_ERRORS_KEPT = 1000;
/** Then a client gives up: it would only repeat itself. */
const MAX_ERRORS_OF_CLIENT = 200;
const PAUSE_AFTER_ERROR_MS = 20;
/** For the answers to COM_QUIT. */
const POLITE_END_MS = 1000;
/** A session variable that each client sets to a value of its own, and must find unchanged ever after. */
const MARK = 'group_concat_max_len';
const MARK_BASE = 100_000;

export class Workload {
  readonly timeline = new Timeline();
  readonly errors: ClientError[] = [];
  /** Errors beyond those kept in `errors`. */
  furtherErrors = 0;
  readonly #options: WorkloadOptions;
  readonly #insert: string;
  readonly #select: string;
  readonly #clients: Client[] = [];
  readonly #originMs: number;
  #loops: Promise<void>[] = [];
  #running = true;
  #acknowledged = 0;
  #readsChecked = 0;

  private constructor(options: WorkloadOptions) {
    this.#options = options;
    this.#insert = `INSERT INTO ${options.table} (client, n, body) VALUES (?, ?, ?)`;
    this.#select = `SELECT n, body, @@SESSION.${MARK} AS mine FROM ${options.table} WHERE client = ? AND n IN (?, ?)`;
    this.#originMs = performance.now();
  }

  /** Connects all clients, then lets them begin. Rejects where one cannot connect or the table cannot be made. */
  static async start(options: WorkloadOptions): Promise<Workload> {
    const { login, table, connections } = options;
    const setup = await mysql.createConnection(login);
    try {
      await setup.query(`DROP TABLE IF EXISTS ${table}`);
      await setup.query(
        `CREATE TABLE ${table} (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, client INT NOT NULL, n INT NOT NULL,
         body VARCHAR(100) NOT NULL, KEY (client, n)) ENGINE=InnoDB`,
      );
    } finally {
      await setup.end();
    }
    const opened = await Promise.allSettled(Array.from({ length: connections }, () => mysql.createConnection(login)));
    const failed = opened.find((one) => one.status === 'rejected');
    if (failed !== undefined) {
      for (const one of opened) if (one.status === 'fulfilled') one.value.destroy();
      throw failed.reason;
    }
    const workload = new Workload(options);
    const sockets = opened.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    workload.#begin(sockets);
    return workload;
  }

  /** Milliseconds since the workload's start: the scale of the timeline, of errors and faults. */
  nowMs(): number {
    return performance.now() - this.#originMs;
  }

  state(): WorkloadState {
    const elapsedMs = this.nowMs();
    const sent = this.#clients.flatMap(({ sentMs }) => (sentMs === null ? [] : [sentMs]));
    const { sliceMs } = this.timeline;
    const unknown = this.errors.filter(({ kind, verdict }) => kind === 'write' && verdict === 'unknown').length;
    // Whole slices only: the newest one is still being filled.
    const now = Math.floor(elapsedMs / sliceMs) * sliceMs;
    return {
      elapsedMs,
      ratePerSecond: this.timeline.ratePerSecond(Math.max(0, now - 1000), now),
      waitingMs: sent.length === 0 ? 0 : Math.max(0, elapsedMs - Math.min(...sent)),
      longestMs: this.timeline.longestMs(0),
      acknowledged: this.#acknowledged,
      readsChecked: this.#readsChecked,
      errors: this.errors.length + this.furtherErrors - unknown,
      unknown,
      connected: this.#clients.filter(({ state }) => state !== 'lost').length,
    };
  }

  /** Lets every client have its last answer and closes the connections. */
  async stop(): Promise<void> {
    this.#running = false;
    const done = Promise.all(this.#loops);
    const late = new AbortController();
    await Promise.race([done, delay(this.#options.stuckAfterMs, null, { signal: late.signal }).catch(() => {})]);
    late.abort();
    for (const client of this.#clients) {
      if (client.state !== 'open') continue;
      if (client.sentMs !== null) this.#fail(client, 'stuck', client.sentMs, { message: 'no answer came' });
      client.state = 'ended';
    }
    const ends = this.#clients
      .filter(({ sentMs }) => sentMs === null)
      .map(({ connection }) => connection.end().catch(() => {}));
    const politely = new AbortController();
    await Promise.race([Promise.all(ends), delay(POLITE_END_MS, null, { signal: politely.signal }).catch(() => {})]);
    politely.abort();
    for (const { connection } of this.#clients) connection.destroy();
  }

  /** Compares what clients were told with what is there now. Call it after `stop`. */
  async audit(): Promise<Audit> {
    const connection = await mysql.createConnection(this.#options.login);
    try {
      const found = new Map<number, Map<number, number>>();
      const [clients] = await connection.query<(RowDataPacket & { client: number })[]>(
        `SELECT DISTINCT client FROM ${this.#options.table}`,
      );
      // A client at a time, so that a long run's rows are not all in memory at once as rows.
      for (const { client } of clients) {
        const [rows] = await connection.query<(RowDataPacket & { n: number; times: number })[]>(
          `SELECT n, COUNT(*) AS times FROM ${this.#options.table} WHERE client = ? GROUP BY n`,
          [client],
        );
        found.set(client, new Map(rows.map(({ n, times }) => [n, times])));
      }
      return audit(
        this.#clients.map(({ book }) => book),
        found,
      );
    } finally {
      connection.destroy();
    }
  }

  #begin(connections: Connection[]): void {
    for (const [client, connection] of connections.entries()) {
      const one: Client = {
        book: new ClientBook(client),
        connection,
        prepared: client % 2 === 0,
        sentMs: null,
        state: 'open',
        errors: 0,
      };
      this.#clients.push(one);
      connection.on('error', (error: Error) => this.#lost(one, this.nowMs(), error));
    }
    this.#loops = this.#clients.map((client) => this.#run(client));
  }

  /** Never rejects. */
  async #run(client: Client): Promise<void> {
    const { pauseMs, connections } = this.#options;
    const mark = `SET SESSION ${MARK} = ${MARK_BASE + client.book.client}`;
    await this.#statement(client, 'read', () => client.connection.query(mark));
    // Spread, so that the clients do not go in step.
    await delay((pauseMs * client.book.client) / connections);
    while (this.#running && client.state === 'open') {
      const ok = (await this.#write(client)) && (await this.#think(client, pauseMs)) && (await this.#read(client));
      await this.#think(client, ok ? pauseMs : PAUSE_AFTER_ERROR_MS);
    }
  }

  async #think(client: Client, ms: number): Promise<boolean> {
    await delay(ms);
    return this.#running && client.state === 'open';
  }

  async #write(client: Client): Promise<boolean> {
    const { book, connection } = client;
    const n = book.next();
    const values = [book.client, n, bodyOf(book.client, n)];
    const error = await this.#statement(client, 'write', () =>
      client.prepared ? connection.execute(this.#insert, values) : connection.query(this.#insert, values),
    );
    if (error === null) {
      book.acknowledged(n);
      this.#acknowledged += 1;
    } else book.refused(n, error.verdict ?? 'unknown');
    return error === null;
  }

  /** Reads the newest acknowledged write and an old one, and compares. */
  async #read(client: Client): Promise<boolean> {
    const { book, connection } = client;
    const newest = book.lastAcknowledged;
    const half = Math.ceil(newest / 2);
    const old = book.doubts.has(half) ? newest : half;
    const values = [book.client, newest, old];
    let rows: WorkloadRow[] = [];
    const error = await this.#statement(client, 'read', async () => {
      [rows] = await (client.prepared
        ? connection.execute<WorkloadRow[]>(this.#select, values)
        : connection.query<WorkloadRow[]>(this.#select, values));
    });
    if (error !== null) return false;
    this.#readsChecked += 1;
    const wrong = differences(book.client, [...new Set([newest, old])], rows);
    if (wrong === null) return true;
    this.#fail(client, 'answer', this.nowMs(), { message: wrong });
    return false;
  }

  /** Sends one statement; its error, or null. */
  async #statement(client: Client, kind: 'write' | 'read', send: () => Promise<unknown>): Promise<ClientError | null> {
    const sentMs = this.nowMs();
    client.sentMs = sentMs;
    try {
      await send();
      client.sentMs = null;
      this.timeline.record(sentMs, this.nowMs(), true);
      return null;
    } catch (error) {
      client.sentMs = null;
      this.timeline.record(sentMs, this.nowMs(), false);
      const { fatal } = error as { fatal?: boolean };
      return fatal === true ? this.#lost(client, sentMs, error) : this.#fail(client, kind, sentMs, error);
    }
  }

  #lost(client: Client, sentMs: number, error: unknown): ClientError {
    const failed = this.#fail(client, 'connection', sentMs, error, client.state === 'open');
    if (client.state === 'open') client.state = 'lost';
    return failed;
  }

  #fail(client: Client, kind: ClientError['kind'], sentMs: number, error: unknown, counts = true): ClientError {
    const { message = 'unknown error', errno } = error as { message?: string; errno?: number };
    const answeredMs = this.nowMs();
    const failed: ClientError = {
      client: client.book.client,
      kind,
      sentMs,
      answeredMs,
      errno: errno ?? null,
      message,
      verdict: verdictOf(message),
    };
    if (!counts) return failed;
    if (this.errors.length < MAX_ERRORS_KEPT) this.errors.push(failed);
    else this.furtherErrors += 1;
    client.errors += 1;
    if (client.errors >= MAX_ERRORS_OF_CLIENT) {
      client.state = 'lost';
      client.connection.destroy();
    }
    return failed;
  }
}

function bodyOf(client: number, n: number): string {
  return `client ${client} wrote this as number ${n}`;
}

/** What is wrong with an answer, in words; null where nothing is. */
function differences(client: number, wanted: readonly number[], rows: readonly WorkloadRow[]): string | null {
  for (const n of wanted) {
    const times = rows.filter((row) => row.n === n).length;
    if (times !== 1) return `a read found the client's own write ${n} ${times} times`;
  }
  for (const { n, body, mine } of rows) {
    if (!wanted.includes(n) || body !== bodyOf(client, n)) return `a read of ${wanted.join(', ')} answered '${body}'`;
    if (mine !== MARK_BASE + client) return `the session's ${MARK} was ${mine}, not ${MARK_BASE + client}`;
  }
  return null;
}
