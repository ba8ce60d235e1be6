// The ledger of a real MariaDB: what is asked of it may be asked twice, a commit that comes behind the question comes too
// late, and clearing it stands in nobody's way.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise';
import { commitWithLedger, NOT_CLAIMED, questionOf, toldBy, Witnesses } from '../../src/gateway/in-flight/witness.ts';
import { directly, type Evenkeel, through, until, withEvenkeel } from './harness/index.ts';

type Ledger = ReturnType<Witnesses['take']>;

async function asked(connection: Connection, witness: Ledger): Promise<string> {
  const { claims, read } = questionOf(witness);
  for (const sql of ['BEGIN', ...claims]) await connection.query(sql);
  const [rows] = await connection.query<RowDataPacket[]>(read);
  await connection.query('COMMIT');
  return toldBy(witness, String(rows[0]?.['n'] ?? null));
}

const commit = (connection: Connection, witness: Ledger) =>
  connection.query(commitWithLedger(witness, { node: 'a node' }));

const shape = { flavor: 'mariadb', replication: 'async', nodes: 1, workers: 1 } as const;

async function onMariaDb(work: (evenkeel: Evenkeel, connection: Connection) => Promise<void>): Promise<void> {
  await withEvenkeel(shape, async (evenkeel) => {
    const connection = await mysql.createConnection(evenkeel.direct(await evenkeel.primary()));
    await until('the ledger to be made', 10_000, async () => {
      const [rows] = await connection.query<RowDataPacket[]>("SHOW TABLES FROM evenkeel LIKE 'ledger'");
      return rows.length === 1;
    });
    try {
      await work(evenkeel, connection);
    } finally {
      connection.destroy();
    }
  });
}

test('the ledger tells the same however often it is asked, and a commit behind the question comes too late', async () => {
  await onMariaDb(async (evenkeel, connection) => {
    await through(evenkeel, 'CREATE TABLE app.t (n INT PRIMARY KEY)');
    const witnesses = new Witnesses();
    const first = witnesses.take('mariadb');
    await connection.query('BEGIN');
    await connection.query('INSERT INTO app.t VALUES (1)');
    await commit(connection, first);
    for (let times = 0; times < 3; times++) assert.equal(await asked(connection, first), 'executed');

    const second = witnesses.take('mariadb');
    for (let times = 0; times < 3; times++) assert.equal(await asked(connection, second), 'not-executed');
    // In these no text of a server's own, like an SQLSTATE, can be written.
    await connection.query('SET collation_connection = ucs2_general_ci');
    await connection.query('BEGIN');
    await connection.query('INSERT INTO app.t VALUES (2)');
    await assert.rejects(commit(connection, second), { errno: NOT_CLAIMED });
    assert.equal(await asked(connection, second), 'not-executed');

    // Its row goes on with the next one.
    witnesses.giveBack(second, 'used');
    const third = witnesses.take('mariadb');
    await connection.query('BEGIN');
    await connection.query('INSERT INTO app.t VALUES (3)');
    await commit(connection, third);
    assert.equal(await asked(connection, third), 'executed');
    const [rows] = await connection.query<RowDataPacket[]>('SELECT n FROM app.t ORDER BY n');
    assert.deepEqual(
      rows.map(({ n }) => n),
      [1, 3],
    );
  });
});

test('rows long out of use are cleared while others are locked, and nobody waits for that', async () => {
  await onMariaDb(async (evenkeel, connection) => {
    await connection.query(
      "INSERT INTO evenkeel.ledger (id, n, at) VALUES (X'01', 1, NOW() - INTERVAL 8 DAY), (X'02', 1, NOW())",
    );
    await connection.query('BEGIN');
    await connection.query("SELECT n FROM evenkeel.ledger WHERE id=X'02' LOCK IN SHARE MODE");
    await evenkeel.stop('SIGTERM');
    await evenkeel.start(); // which clears it
    const node = await evenkeel.primary();
    await until('the old row to be gone', 5_000, async () => {
      const [rows] = await directly(evenkeel, node, "SELECT COUNT(*) AS c FROM evenkeel.ledger WHERE id=X'01'");
      return Number(rows[0]?.['c']) === 0;
    });
    const waiting = "SELECT COUNT(*) AS c FROM information_schema.innodb_trx WHERE trx_state='LOCK WAIT'";
    const [rows] = await directly(evenkeel, node, waiting);
    assert.equal(Number(rows[0]?.['c']), 0);
    const [left] = await connection.query<RowDataPacket[]>('SELECT COUNT(*) AS c FROM evenkeel.ledger');
    assert.equal(left[0]?.['c'], 1);
  });
});

test('sessions whose settings change what SQL means write all the same, alone and in transactions', async () => {
  await withEvenkeel(shape, async (evenkeel) => {
    await through(evenkeel, 'CREATE TABLE t (n INT PRIMARY KEY)');
    const client = await mysql.createConnection(evenkeel.login());
    try {
      let n = 0;
      for (const setting of ["sql_mode = 'ORACLE'", 'collation_connection = ucs2_general_ci', "sql_mode = 'ANSI'"]) {
        await client.query(`SET ${setting}`);
        await client.query(`INSERT INTO t VALUES (${++n})`);
        for (const sql of ['START TRANSACTION', `INSERT INTO t VALUES (${++n})`, 'COMMIT']) await client.query(sql);
      }
      const [rows] = await client.query<RowDataPacket[]>('SELECT COUNT(*) AS written FROM t');
      assert.equal(rows[0]?.['written'], n);
    } finally {
      client.destroy();
    }
  });
});
