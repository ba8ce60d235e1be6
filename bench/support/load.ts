// The load under which a failover or a switchover is measured: connections that each write a row of their own and read
// it back, in turns, each statement on its own (autocommit), over an ordinary driver. It checks what it reads, and
// knows of every write what it was told. A write is sent once; what fails is followed by the next one.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as pause } from 'node:timers/promises';
import mysql, { type Connection, type ConnectionOptions, type RowDataPacket } from 'mysql2/promise';
import { type Account, type ErrorKind, errorKind, Ledger } from './ledger.ts';
import { StallWindow, type WindowSummary } from './window.ts';

const TABLE = 'evenkeel_bench';
/** After an error a client waits a moment, as applications do, so that errors at once cannot spin. */
const AFTER_ERROR_MS = 5;
const RECONNECT_PAUSE_MS = 50;
/** A hold ends after 30 s by default; a client that is not done then hangs. */
const STOP_DEADLINE_MS = 40_000;
const MAX_ERROR_TEXTS = 20;

export interface LoadOptions {
  clients: number;
  /** Between an answer and the client's next statement. 0 keeps every connection busy all the time. */
  thinkMs: number;
}

export interface LoadStretch extends WindowSummary {
  /** How late this process itself was: above some milliseconds, the stalls are partly the benchmark's own. */
  ownDelayMaxMs: number;
  errorsByKind: Record<ErrorKind, number>;
  /** Reads that did not return the row that had been acknowledged to the same client. */
  wrongReads: number;
}

const noErrors = (): Record<ErrorKind, number> => ({
  'in-flight-unknown': 0,
  'not-executed': 0,
  'connection-lost': 0,
  other: 0,
});

export class Load {
  /** The texts of errors that a crash must not cause, a few of them. */
  readonly errorTexts: string[] = [];
  readonly #login: ConnectionOptions;
  readonly #options: LoadOptions;
  readonly #ledger: Ledger;
  readonly #window: StallWindow;
  readonly #delay: ReturnType<typeof monitorEventLoopDelay>;
  readonly #connections = new Set<Connection>();
  #clients: Promise<void>[] = [];
  #running = true;
  #errors = noErrors();
  #wrongReads = 0;

  private constructor(login: ConnectionOptions, options: LoadOptions) {
    this.#login = login;
    this.#options = options;
    this.#ledger = new Ledger(options.clients);
    this.#window = new StallWindow(options.clients, performance.now());
    this.#delay = monitorEventLoopDelay({ resolution: 2 });
    this.#delay.enable();
  }

  /** Makes the table anew, connects every client and sets them going. */
  static async start(login: ConnectionOptions, options: LoadOptions): Promise<Load> {
    const load = new Load(login, options);
    const first = await mysql.createConnection(login);
    await first.query(`DROP TABLE IF EXISTS ${TABLE}`);
    // The key is not unique: a write that ran twice must show as two rows, not as an error.
    await first.query(
      `CREATE TABLE ${TABLE} (id BIGINT AUTO_INCREMENT PRIMARY KEY, client INT NOT NULL, n INT NOT NULL, KEY (client, n))`,
    );
    await first.end();
    const connections = await Promise.all(Array.from({ length: options.clients }, () => load.#connect()));
    load.#clients = connections.map((connection, client) => load.#run(client, connection));
    load.cut();
    return load;
  }

  /** What clients saw since the last cut, or since the start. */
  cut(): LoadStretch {
    const summary = this.#window.cut(performance.now());
    const ownDelayMaxMs = this.#delay.max / 1e6;
    this.#delay.reset();
    const stretch = { ...summary, ownDelayMaxMs, errorsByKind: this.#errors, wrongReads: this.#wrongReads };
    this.#errors = noErrors();
    this.#wrongReads = 0;
    return stretch;
  }

  /** Lets every client finish its statement, then looks for every write, over the same way as the clients. */
  async stop(): Promise<Account> {
    this.#running = false;
    const done = await Promise.race([
      Promise.all(this.#clients).then(() => true),
      pause(STOP_DEADLINE_MS, false, { ref: false }),
    ]);
    this.#delay.disable();
    if (!done) {
      this.abandon();
      throw new Error(`a client had no answer for ${STOP_DEADLINE_MS} ms`);
    }
    const connection = await mysql.createConnection(this.#login);
    try {
      const [rows] = await connection.query<RowDataPacket[]>(
        `SELECT client, n, COUNT(*) AS copies FROM ${TABLE} GROUP BY client, n`,
      );
      return this.#ledger.judge(
        rows.map((row) => ({ client: Number(row['client']), n: Number(row['n']), copies: Number(row['copies']) })),
      );
    } finally {
      connection.destroy();
    }
  }

  /** Ends without asking anybody: after an error. */
  abandon(): void {
    this.#running = false;
    this.#delay.disable();
    for (const connection of this.#connections) connection.destroy();
  }

  async #connect(): Promise<Connection> {
    const connection = await mysql.createConnection({ ...this.#login, connectTimeout: STOP_DEADLINE_MS });
    // Told to the statement in flight as well; an idle connection that breaks shows at its next statement.
    connection.on('error', () => {});
    this.#connections.add(connection);
    return connection;
  }

  async #run(client: number, first: Connection): Promise<void> {
    let connection: Connection | null = first;
    while (this.#running) {
      connection ??= await this.#reconnect();
      if (connection === null) continue;
      const whole = await this.#writeAndRead(client, connection);
      if (!whole) {
        this.#connections.delete(connection);
        connection.destroy();
        connection = null;
      }
    }
    connection?.destroy();
  }

  async #reconnect(): Promise<Connection | null> {
    await pause(RECONNECT_PAUSE_MS);
    return this.#connect().catch((error: unknown) => {
      this.#note('connection-lost', `connect: ${String(error)}`);
      return null;
    });
  }

  /** False where the connection is gone. */
  async #writeAndRead(client: number, connection: Connection): Promise<boolean> {
    const n = this.#ledger.send(client);
    const wrote = await this.#ask(client, 'write', () =>
      connection.execute(`INSERT INTO ${TABLE} (client, n) VALUES (?, ?)`, [client, n]),
    );
    this.#ledger.settle(client, n, wrote.kind ?? 'acknowledged');
    if (wrote.kind === 'connection-lost') return false;
    if (!this.#running) return true;
    const read = await this.#ask(client, 'read', async () => {
      const [rows] = await connection.query<RowDataPacket[]>(
        `SELECT n FROM ${TABLE} WHERE client = ${client} AND n = ${n}`,
      );
      if (wrote.kind === null && rows.length !== 1) this.#wrongReads++;
    });
    return read.kind !== 'connection-lost';
  }

  async #ask(
    client: number,
    doing: 'write' | 'read',
    work: () => Promise<unknown>,
  ): Promise<{ kind: ErrorKind | null }> {
    this.#window.sent(client, performance.now());
    let kind: ErrorKind | null = null;
    try {
      await work();
      this.#window.answered(client, performance.now(), true);
    } catch (error) {
      this.#window.answered(client, performance.now(), false);
      const { message, fatal = false } = error as Error & { fatal?: boolean };
      kind = errorKind(doing, { message, fatal });
      this.#note(kind, `${doing}: ${message}`);
    }
    // A statement that waits for nothing else would starve the other clients' timers.
    await pause(kind === null ? this.#options.thinkMs : AFTER_ERROR_MS);
    return { kind };
  }

  #note(kind: ErrorKind, text: string): void {
    this.#errors[kind]++;
    if (kind === 'in-flight-unknown' || this.errorTexts.length >= MAX_ERROR_TEXTS) return;
    this.errorTexts.push(text.slice(0, 300));
  }
}
