// The place where sequences are played: every client has schemas of its own, made anew before each playing, so that
// the one past the proxy and the one through it meet the same names and the same data.
import mysql from 'mysql2/promise';
import type { Flavor } from '../../../src/messages/index.ts';
import type { SandboxInfo } from '../../../src/sandbox/index.ts';
import type { Words } from './client.ts';
import { isolationVariable } from './statements.ts';
import type { Account } from './types.ts';

const OTHER = { user: 'eq_other', password: 'other' };

/** Every table that a sequence may leave in a schema; it may also leave the view. */
const TABLES = 't, u, narrow, only_here, fresh, copied';

/** Tables of a client's schema; in the second one other data, so that the wrong schema shows. */
function tablesSql(schema: string, second: boolean): string[] {
  const some = second ? 100 : 0;
  return [
    `USE ${schema}`,
    'DROP VIEW IF EXISTS v',
    `DROP TABLE IF EXISTS ${TABLES}`,
    'CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v INT, s VARCHAR(20))',
    `INSERT INTO t (v, s) VALUES (${some + 1}, 'ada'), (${some + 2}, 'bär'), (${some + 3}, NULL)`,
    'CREATE TABLE u (id INT PRIMARY KEY, n INT UNIQUE, d DECIMAL(10,3))',
    `INSERT INTO u VALUES (1, ${some + 10}, 1.5), (2, ${some + 20}, 2.25), (3, ${some + 30}, NULL), (4, NULL, -1)`,
    'CREATE TABLE narrow (x TINYINT NOT NULL, c VARCHAR(3), day DATE)',
    'CREATE VIEW v AS SELECT id, n + 1 AS m FROM u',
    ...(second ? [] : ['CREATE TABLE only_here (one INT)', 'INSERT INTO only_here VALUES (1)']),
  ];
}

/** What no sequence changes. */
function routinesSql(schema: string): string[] {
  return [
    `USE ${schema}`,
    'CREATE PROCEDURE two() BEGIN SELECT 1 AS one; SELECT n FROM u ORDER BY id; END',
    // DO: where a procedure counts no rows, MySQL tells those of the connection's statement before it, whosever that was.
    'CREATE PROCEDURE bump(INOUT x INT) BEGIN DO 0; SET x = IFNULL(x, 0) + 1; END',
    'CREATE PROCEDURE remember(x INT) BEGIN DO 0; SET @remembered = x; END',
    'CREATE PROCEDURE adds(x INT) BEGIN INSERT INTO t (v) VALUES (x); SELECT LAST_INSERT_ID() AS id; END',
    "CREATE PROCEDURE signals() BEGIN SELECT 1; SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no further'; END",
    'CREATE PROCEDURE settles(x VARCHAR(100)) BEGIN DO 0; SET SESSION sql_mode = x; END',
    "CREATE PROCEDURE moves() BEGIN SET @a = 77; INSERT INTO t (v) VALUES (1), (2); SET time_zone = '+04:00'; END",
    'CREATE FUNCTION mark(x INT) RETURNS INT DETERMINISTIC BEGIN SET @marked = x; RETURN x + 1; END',
  ];
}

export class Stage {
  readonly flavor: Flavor;
  readonly accounts: Record<'app' | 'other', Account>;
  readonly #admin: mysql.Connection;
  /** Has changed a row and never commits: who reads uncommitted rows sees it. */
  readonly #undecided: mysql.Connection;
  readonly #made = new Set<number>();
  readonly #prepared: () => Promise<void>;

  private constructor(
    flavor: Flavor,
    app: Account,
    admin: mysql.Connection,
    undecided: mysql.Connection,
    prepared: () => Promise<void>,
  ) {
    this.#prepared = prepared;
    this.flavor = flavor;
    this.accounts = { app, other: OTHER };
    this.#admin = admin;
    this.#undecided = undecided;
  }

  /**
   * Accounts, a role, and what only the role may see. `admin` is a login past the proxy. `prepared`: what must be waited for
   * when everything is as it was at first.
   */
  static async set(
    sandbox: SandboxInfo,
    admin: mysql.ConnectionOptions,
    prepared: () => Promise<void> = async () => {},
  ): Promise<Stage> {
    const connection = await mysql.createConnection({ ...admin, multipleStatements: true });
    const { user, password } = sandbox.app;
    const undecided = await mysql.createConnection(admin);
    const stage = new Stage(sandbox.flavor, { user, password }, connection, undecided, prepared);
    const [app, other] = [`'${user}'@'%'`, `'${OTHER.user}'@'%'`];
    await stage.#say([
      'SET SESSION lock_wait_timeout = 20',
      // Who may only read what is decided waits so long.
      'SET GLOBAL innodb_lock_wait_timeout = 1',
      `CREATE USER ${other} IDENTIFIED BY '${OTHER.password}'`,
      'CREATE ROLE eq_role',
      'CREATE DATABASE eq_hidden',
      'CREATE TABLE eq_hidden.h (one INT)',
      'INSERT INTO eq_hidden.h VALUES (1)',
      'GRANT SELECT ON eq_hidden.* TO eq_role',
      'CREATE DATABASE eq_shared',
      'CREATE TABLE eq_shared.undecided (id INT PRIMARY KEY, v INT)',
      'INSERT INTO eq_shared.undecided VALUES (1, 1)',
      ...[app, other].flatMap((account) => [
        `GRANT eq_role TO ${account}`,
        `GRANT SELECT ON eq_shared.* TO ${account}`,
        `GRANT ALL PRIVILEGES ON \`eq\\_k%\`.* TO ${account}`,
      ]),
    ]);
    await undecided.query('BEGIN');
    await undecided.query('UPDATE eq_shared.undecided SET v = 2');
    return stage;
  }

  /** The names of client number `client`, on a connection with this id. */
  words(client: number, connectionId: number): Words {
    const k = `eq_k${client}`;
    return { k, a: `${k}a`, b: `${k}b`, c: `${k}c`, id: String(connectionId), t: isolationVariable(this.flavor) };
  }

  /** Makes the clients' schemas as they were at first. */
  async reset(clients: number): Promise<void> {
    await this.#rollBackPrepared();
    for (let client = 0; client < clients; client++) {
      const { a, b, c } = this.words(client, 0);
      if (!this.#made.has(client)) {
        const charsets = [`${a} DEFAULT CHARACTER SET utf8mb4`, `${b} DEFAULT CHARACTER SET latin1`, c];
        const databases = charsets.map((database) => `CREATE DATABASE ${database}`);
        await this.#say([...databases, ...routinesSql(a), ...routinesSql(b)]);
        this.#made.add(client);
      }
      const emptied = [`USE ${c}`, 'DROP VIEW IF EXISTS v', `DROP TABLE IF EXISTS ${TABLES}`];
      await this.#say([...tablesSql(a, false), ...tablesSql(b, true), ...emptied]);
    }
    await this.#prepared();
  }

  /** What is in the client's tables, as one text. */
  async contents(client: number): Promise<string> {
    const { a, b, c } = this.words(client, 0);
    const [tables] = await this.#admin.query<mysql.RowDataPacket[]>(
      "SELECT table_schema AS s, table_name AS t FROM information_schema.tables WHERE table_schema IN (?, ?, ?) AND table_type = 'BASE TABLE' ORDER BY 1, 2",
      [a, b, c],
    );
    const lines: string[] = [];
    for (const { s, t } of tables as { s: string; t: string }[]) {
      const [rows] = await this.#admin.query<mysql.RowDataPacket[]>(`SELECT * FROM \`${s}\`.\`${t}\` ORDER BY 1`);
      lines.push(`${s}.${t}: ${JSON.stringify(rows)}`);
    }
    return lines.join('\n');
  }

  async close(): Promise<void> {
    await this.#undecided.end();
    await this.#admin.end();
  }

  /** A sequence that was cut off may have left a prepared transaction, which outlives its connection. */
  async #rollBackPrepared(): Promise<void> {
    const [rows] = await this.#admin.query<mysql.RowDataPacket[]>('XA RECOVER');
    for (const { data } of rows as { data: string }[]) {
      await this.#admin.query(`XA ROLLBACK '${data}'`);
    }
  }

  async #say(statements: readonly string[]): Promise<void> {
    await this.#admin.query(statements.join(';\n'));
  }
}
