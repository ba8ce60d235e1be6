// A server as MariaDB's test suite expects it: root without a password, latin1, and nothing but the schemas that it makes.
import { readdirSync, rmSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise';
import { killNode, type SandboxInfo, startNode } from '../../src/sandbox/index.ts';

const OPTIONS = ['character_set_server=latin1', 'log_bin_trust_function_creators=1', 'gtid_strict_mode=OFF'];
const ACCOUNTS = [
  "CREATE USER root@'%' IDENTIFIED BY ''",
  "GRANT ALL ON *.* TO root@localhost IDENTIFIED BY '' WITH GRANT OPTION",
  "GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION",
];
const KEPT = new Set(['mysql', 'information_schema', 'performance_schema', 'sys', 'evenkeel']);
const MADE = [
  'CREATE DATABASE test CHARACTER SET latin1',
  'CREATE DATABASE mtr',
  'CREATE TABLE mtr.test_suppressions (pattern VARCHAR(255))',
  'CREATE PROCEDURE mtr.add_suppression(p VARCHAR(255)) INSERT INTO mtr.test_suppressions VALUES (p)',
];

export class SuiteServer {
  readonly dir: string;
  readonly port: number;
  readonly #node: string;
  /** The accounts that are no test's. */
  #accounts: readonly string[] = [];

  private constructor(sandbox: SandboxInfo, node: SandboxInfo['nodes'][number]) {
    this.dir = sandbox.dir;
    this.port = node.port;
    this.#node = node.name;
  }

  /** Makes one of a fresh sandbox of one node. */
  static async of(sandbox: SandboxInfo): Promise<SuiteServer> {
    const [node] = sandbox.nodes;
    if (node === undefined) throw new Error('the sandbox has no node');
    const server = new SuiteServer(sandbox, node);
    await killNode(sandbox.dir, node.name, 'SIGTERM');
    const file = join(sandbox.dir, node.name, 'my.cnf');
    const options = (await readFile(file, 'utf8'))
      .replace('skip_name_resolve=ON', 'skip_name_resolve=OFF')
      .replace('read_only=ON', 'read_only=OFF');
    await writeFile(file, `${options}${OPTIONS.join('\n')}\n`);
    await server.#start();
    await server.#ask(sandbox.admin, async (connection) => {
      for (const sql of ACCOUNTS) await connection.query(sql);
      server.#accounts = await accountsOf(connection);
    });
    return server;
  }

  /** As it was before the first test; started again where a test has ended it. */
  async reset(): Promise<void> {
    await this.#empty().catch(async () => {
      await this.#start();
      await this.#empty();
    });
  }

  #start(): Promise<unknown> {
    return startNode(this.dir, this.#node, { bound: true });
  }

  async #empty(): Promise<void> {
    // Whatever accounts a test has left, this one is the first to fit.
    await this.#ask({ user: 'root', password: '' }, async (connection) => {
      await connection.query('SET GLOBAL read_only = 0');
      for (const account of await accountsOf(connection)) {
        if (!this.#accounts.includes(account)) await connection.query(`DROP USER ${account}`);
      }
      const [rows] = await connection.query<RowDataPacket[]>('SHOW DATABASES');
      for (const row of rows) {
        const name = String(row['Database']);
        if (!KEPT.has(name)) await this.#drop(connection, name);
      }
      for (const sql of MADE) await connection.query(sql);
    });
  }

  /** A test may leave files that are no tables. */
  async #drop(connection: Connection, name: string): Promise<void> {
    await connection.query(`DROP DATABASE \`${name}\``).catch(async () => {
      const files = join(this.dir, this.#node, 'data', name);
      for (const file of readdirSync(files)) rmSync(join(files, file), { recursive: true, force: true });
      await connection.query(`DROP DATABASE \`${name}\``);
    });
  }

  async #ask(
    login: { user: string; password: string },
    work: (connection: Connection) => Promise<void>,
  ): Promise<void> {
    const connection = await mysql.createConnection({ host: '127.0.0.1', port: this.port, ...login });
    try {
      await work(connection);
    } finally {
      connection.destroy();
    }
  }
}

/** As SQL names them; roles are dropped by another statement, and left. */
async function accountsOf(connection: Connection): Promise<string[]> {
  const [rows] = await connection.query<RowDataPacket[]>("SELECT User, Host FROM mysql.user WHERE is_role = 'N'");
  return rows.map((row) => `${mysql.escape(String(row['User']))}@${mysql.escape(String(row['Host']))}`);
}
