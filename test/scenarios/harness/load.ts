// A workload over an ordinary driver that knows what it was told: every write has a number of its own, so that what
// was acknowledged can be looked for afterwards. It never sends a write a second time.
import { setTimeout as pause } from 'node:timers/promises';
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise';
import type { SandboxNode } from '../../../src/sandbox/index.ts';
import { addressOf, type Evenkeel } from './evenkeel.ts';
import { until } from './until.ts';

/** An error of the server's or of Evenkeel's, as a driver hands it to the application. */
export interface ClientError {
  client: number;
  /** What was being done: `insert`, `select`, `begin`, `commit` … */
  doing: string;
  errno: number;
  sqlState: string;
  message: string;
}

export interface LoadOptions {
  clients: number;
  /** A write and a read in turns, each on its own; or transactions of a write, a read and a COMMIT. */
  mode?: 'autocommit' | 'transactions';
  /** Between two statements of one client, so that the load leaves the machine some air. */
  pauseMs?: number;
}

let tables = 0;

/** Runs until `stop`. */
export class Load {
  readonly table: string;
  readonly acknowledged: string[] = [];
  readonly errors: ClientError[] = [];
  /** Errors of connections, not of statements: there must never be one. */
  readonly broken: string[] = [];
  statements = 0;
  longestMs = 0;
  #evenkeel: Evenkeel;
  #options: Required<LoadOptions>;
  #running = true;
  #clients: Promise<void>[] = [];

  private constructor(evenkeel: Evenkeel, options: LoadOptions) {
    this.#evenkeel = evenkeel;
    this.#options = { mode: 'autocommit', pauseMs: 3, ...options };
    this.table = `load_${++tables}`;
  }

  /** Resolves when every client has had its first answers. */
  static async start(evenkeel: Evenkeel, options: LoadOptions): Promise<Load> {
    const load = new Load(evenkeel, options);
    await through(evenkeel, `CREATE TABLE ${load.table} (client INT, n INT, PRIMARY KEY (client, n))`);
    const connections = await Promise.all(Array.from({ length: options.clients }, () => application(evenkeel)));
    load.#clients = connections.map((connection, client) => load.#run(connection, client));
    await load.more();
    return load;
  }

  /** Waits until the clients as a whole got further. */
  async more(statements = 4 * this.#options.clients): Promise<void> {
    const goal = this.statements + statements;
    await until('the load to go on', 20_000, () => this.statements >= goal || this.broken.length > 0);
  }

  async stop(): Promise<void> {
    this.#running = false;
    await Promise.all(this.#clients);
  }

  /** Stops and says which acknowledged writes `node` lacks. */
  async lostOn(node: SandboxNode): Promise<string[]> {
    await this.stop();
    const [rows] = await directly(this.#evenkeel, node, `SELECT client, n FROM app.${this.table}`);
    const there = new Set(rows.map((row) => `${row['client']}:${row['n']}`));
    return this.acknowledged.filter((write) => !there.has(write));
  }

  async #run(connection: Connection, client: number): Promise<void> {
    connection.on('error', (error: Error) => this.broken.push(`client ${client}: ${error.message}`));
    const { mode, pauseMs } = this.#options;
    for (let n = 1; this.#running && this.broken.length === 0; n++) {
      if (mode === 'transactions') await this.#transaction(connection, client, n);
      else await this.#autocommit(connection, client, n);
      await pause(pauseMs);
    }
    await connection.end().catch((error: Error) => this.broken.push(`client ${client}: ${error.message}`));
  }

  async #autocommit(connection: Connection, client: number, n: number): Promise<void> {
    const { table } = this;
    const written = await this.#ask(client, 'insert', () =>
      connection.execute(`INSERT INTO ${table} VALUES (?, ?)`, [client, n]),
    );
    if (written) this.acknowledged.push(`${client}:${n}`);
    await this.#ask(client, 'select', () =>
      connection.query(`SELECT * FROM ${table} WHERE client = ? AND n = ?`, [client, n]),
    );
  }

  async #transaction(connection: Connection, client: number, n: number): Promise<void> {
    const { table } = this;
    const steps: [string, string, number[]][] = [
      ['begin', 'BEGIN', []],
      ['insert', `INSERT INTO ${table} VALUES (?, ?)`, [client, n]],
      ['select', `SELECT COUNT(*) FROM ${table} WHERE client = ?`, [client]],
      ['commit', 'COMMIT', []],
    ];
    for (const [doing, sql, values] of steps) {
      if (!(await this.#ask(client, doing, () => connection.query(sql, values)))) return;
    }
    this.acknowledged.push(`${client}:${n}`);
  }

  async #ask(client: number, doing: string, work: () => Promise<unknown>): Promise<boolean> {
    const startedMs = performance.now();
    try {
      await work();
      return true;
    } catch (error) {
      const {
        errno = 0,
        sqlState = '',
        message,
        fatal,
      } = error as Partial<ClientError> & { message: string; fatal?: boolean };
      if (fatal === true) this.broken.push(`client ${client}, ${doing}: ${message}`);
      else this.errors.push({ client, doing, errno, sqlState, message });
      return false;
    } finally {
      this.statements++;
      this.longestMs = Math.max(this.longestMs, performance.now() - startedMs);
    }
  }
}

type Rows = [RowDataPacket[]];

/** A connection of the application's; it waits where a new connection has to. */
export async function application(evenkeel: Evenkeel, endpoint: 'writer' | 'reader' = 'writer'): Promise<Connection> {
  return await mysql.createConnection({ ...evenkeel.login(endpoint), connectTimeout: 45_000 });
}

/** Statements through the proxy, over one connection of their own; the last one's rows. */
export async function through(evenkeel: Evenkeel, ...statements: string[]): Promise<Rows> {
  return await ask(await application(evenkeel), statements);
}

/** Statements on a node, past the proxy, as the administrator; the last one's rows. */
export async function directly(evenkeel: Evenkeel, node: SandboxNode, ...statements: string[]): Promise<Rows> {
  return await ask(await mysql.createConnection(evenkeel.direct(node)), statements);
}

async function ask(connection: Connection, statements: string[]): Promise<Rows> {
  try {
    let rows: RowDataPacket[] = [];
    for (const statement of statements) [rows] = await connection.query<RowDataPacket[]>(statement);
    return [rows];
  } finally {
    connection.destroy();
  }
}

/** The one answer of a `SELECT` of one value, from a node. */
export async function valueOn(evenkeel: Evenkeel, node: SandboxNode, sql: string): Promise<unknown> {
  const [rows] = await directly(evenkeel, node, sql);
  return Object.values(rows[0] ?? {})[0];
}

/** Which node a new connection of the application reaches. */
export async function reached(evenkeel: Evenkeel, endpoint: 'writer' | 'reader' = 'writer'): Promise<SandboxNode> {
  const connection = await application(evenkeel, endpoint);
  try {
    const [rows] = await connection.query<RowDataPacket[]>('SELECT @@port AS port');
    return evenkeel.node(`127.0.0.1:${rows[0]?.['port']}`);
  } finally {
    connection.destroy();
  }
}

/** Nodes that take writes now, of those that answer. */
export async function writableNodes(evenkeel: Evenkeel): Promise<string[]> {
  const found: string[] = [];
  for (const node of evenkeel.sandbox.nodes) {
    const readOnly = await valueOn(evenkeel, node, 'SELECT @@global.read_only').catch(() => 1);
    if (Number(readOnly) === 0) found.push(addressOf(node));
  }
  return found;
}
