// What the sandbox tells its servers in SQL: the accounts, who follows whom, who is primary. Connections are the
// admin's own and short. The accounts are made on every node outside the binary log, so no node starts with history.
import { setTimeout as delay } from 'node:timers/promises';
import mysql from 'mysql2/promise';
import { SandboxError } from './errors.ts';
import type { SandboxInfo } from './types.ts';

/** What a connection to a sandbox's server needs to know. */
export type Cluster = Pick<SandboxInfo, 'flavor' | 'replication' | 'admin' | 'app'>;
type Address = { host: string; port: number };
type Row = Record<string, unknown>;

/** Runs one statement; its first row, or an empty one. */
export type Ask = (sql: string) => Promise<Row>;

/** A column's text; empty where there is none. */
export function textOf(row: Row, column: string): string {
  const value = row[column];
  return typeof value === 'string' ? value : '';
}

const READY_DEADLINE_MS = 30_000;

/** Passwords are base64url, so they need no escaping. */
export function accountsSql(cluster: Cluster, rootPassword: string): string {
  const { flavor, admin, app } = cluster;
  const anywhere = `'${app.user}'@'%'`;
  const operator = `'${admin.user}'@'%'`;
  const statements = [
    // The option file says read-only, which binds an init file as well.
    ...(flavor === 'mysql' ? ['SET GLOBAL super_read_only=OFF'] : []),
    'SET sql_log_bin=0',
    ...(flavor === 'mariadb'
      ? ["DELETE FROM mysql.global_priv WHERE User='' OR (User='root' AND Host<>'localhost')", 'FLUSH PRIVILEGES']
      : []),
    `ALTER USER 'root'@'localhost' IDENTIFIED BY '${rootPassword}'`,
    `CREATE USER ${operator} IDENTIFIED BY '${admin.password}'`,
    `GRANT ALL PRIVILEGES ON *.* TO ${operator} WITH GRANT OPTION`,
    `CREATE DATABASE \`${app.database}\` DEFAULT CHARACTER SET utf8mb4`,
    `CREATE USER ${anywhere} IDENTIFIED BY '${app.password}'`,
    `GRANT ALL PRIVILEGES ON \`${app.database}\`.* TO ${anywhere}`,
    // An application's transactions run under GTIDs that the proxy chose (design.md section 2).
    ...(flavor === 'mysql' ? [`GRANT REPLICATION_APPLIER ON *.* TO ${anywhere}`] : []),
    // On MariaDB they leave a number in a table of its own.
    ...(flavor === 'mariadb'
      ? [
          'CREATE DATABASE evenkeel',
          'CREATE TABLE evenkeel.ledger (id BINARY(16) NOT NULL PRIMARY KEY, n BIGINT UNSIGNED NOT NULL, at TIMESTAMP NOT NULL' +
            ' DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP) ENGINE=InnoDB',
          `GRANT SELECT, INSERT, UPDATE ON evenkeel.ledger TO ${anywhere}`,
        ]
      : []),
    ...(flavor === 'mysql' ? ['SET GLOBAL super_read_only=ON'] : []),
  ];
  return statements.map((statement) => `${statement};\n`).join('');
}

/** Connects as the admin, runs `work`, disconnects. */
export async function asAdmin<T>(cluster: Cluster, node: Address, work: (ask: Ask) => Promise<T>): Promise<T> {
  const { user, password } = cluster.admin;
  const connection = await mysql.createConnection({
    host: node.host,
    port: node.port,
    user,
    password,
    connectTimeout: 5_000,
  });
  // A server that goes away meanwhile is told by the statement that fails.
  connection.on('error', () => {});
  try {
    return await work(async (sql) => {
      const [rows] = await connection.query({ sql, timeout: 20_000 });
      return Array.isArray(rows) ? ((rows[0] as Row | undefined) ?? {}) : {};
    });
  } finally {
    connection.destroy();
  }
}

/** A node's role: the primary is the one that takes writes. Null where it does not answer; waits a little then. */
export async function observe(cluster: Cluster, node: Address): Promise<'primary' | 'replica' | null> {
  try {
    const row = await asAdmin(cluster, node, (ask) => ask('SELECT @@global.read_only AS readOnly'));
    return Number(row['readOnly']) === 0 ? 'primary' : 'replica';
  } catch {
    await delay(50);
    return null;
  }
}

/** Makes this node follow `source`. Heartbeats are frequent, so that silence is noticed fast. */
export async function makeReplica(ask: Ask, cluster: Cluster, source: Address): Promise<void> {
  const { user, password } = cluster.admin;
  if (cluster.flavor === 'mysql') {
    await ask(
      `CHANGE REPLICATION SOURCE TO SOURCE_HOST='${source.host}', SOURCE_PORT=${source.port}, SOURCE_USER='${user}',` +
        ` SOURCE_PASSWORD='${password}', SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1,` +
        ' SOURCE_HEARTBEAT_PERIOD=0.5, SOURCE_CONNECT_RETRY=1, SOURCE_RETRY_COUNT=86400',
    );
    await ask('START REPLICA');
    return;
  }
  await ask("SET GLOBAL gtid_slave_pos=''");
  await ask(
    `CHANGE MASTER TO MASTER_HOST='${source.host}', MASTER_PORT=${source.port}, MASTER_USER='${user}',` +
      ` MASTER_PASSWORD='${password}', MASTER_USE_GTID=slave_pos, MASTER_HEARTBEAT_PERIOD=0.5, MASTER_CONNECT_RETRY=1`,
  );
  await ask('START SLAVE');
}

/** Makes this node take writes, waiting for an acknowledgement of each where the cluster is semi-sync. */
export async function makePrimary(ask: Ask, cluster: Cluster): Promise<void> {
  const word = cluster.flavor === 'mysql' ? 'source' : 'master';
  if (cluster.replication === 'semisync') await ask(`SET GLOBAL rpl_semi_sync_${word}_enabled=ON`);
  if (cluster.flavor === 'mysql') await ask('SET GLOBAL super_read_only=OFF');
  await ask('SET GLOBAL read_only=OFF');
}

/** Resolves when this replica receives and applies (and acknowledges, where the cluster is semi-sync). */
export async function ready(ask: Ask, cluster: Cluster): Promise<void> {
  const [statement, prefix, word] =
    cluster.flavor === 'mysql'
      ? ['SHOW REPLICA STATUS', 'Replica', 'replica']
      : ['SHOW SLAVE STATUS', 'Slave', 'slave'];
  const end = performance.now() + READY_DEADLINE_MS;
  for (;;) {
    const row = await ask(statement);
    const running = row[`${prefix}_IO_Running`] === 'Yes' && row[`${prefix}_SQL_Running`] === 'Yes';
    const acknowledges =
      cluster.replication !== 'semisync' ||
      (await ask(`SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_${word}_status'`))['Value'] === 'ON';
    if (running && acknowledges) return;
    if (performance.now() > end) {
      const why = [row['Last_IO_Error'], row['Last_SQL_Error']].find((text) => typeof text === 'string' && text !== '');
      throw new SandboxError(
        'start-failed',
        `a replica does not replicate: ${typeof why === 'string' ? why : 'no error was told'}`,
      );
    }
    await delay(50);
  }
}
