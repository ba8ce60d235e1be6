// What a session asks of its own past is never answered with a stranger's: two clients, one server connection. Where
// only a connection knows, and it is not the session's any more, the answer is an error that says so.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import mysql, { type Connection, type ResultSetHeader, type RowDataPacket } from 'mysql2/promise';
import type { Flavor } from '../../src/messages/index.ts';
import { withSandbox } from '../../src/sandbox/index.ts';
import { application, directly, type Evenkeel, inFrontOf, through, until } from './harness/index.ts';

const options = { replication: 'async', nodes: 1, workers: 1, config: 'pool: { maxPerNode: 1 }' } as const;

for (const flavor of ['mysql', 'mariadb'] as const) {
  test(`${flavor}: questions about a session's own past`, { timeout: 60_000 }, async (t) => {
    await withSandbox({ flavor, replication: 'async', nodes: 1 }, (sandbox) =>
      inFrontOf(sandbox, options, async (ek) => {
        const story = (name: string, tell: (one: Connection, other: Connection) => Promise<void>) =>
          t.test(name, () => withTwo(ek, tell));
        await through(ek, 'CREATE TABLE ids (id INT AUTO_INCREMENT PRIMARY KEY, n INT)');
        await story('a row with an id of its own leaves LAST_INSERT_ID() as it was', explicitIds);
        await story('an UPDATE that finds no row leaves LAST_INSERT_ID() as it was', noRow);
        await story('what a procedure sets beside what servers report is kept', procedures);
        await story('FOUND_ROWS() is that of the session, or an error', foundRows);
        await story('a savepoint with autocommit off outlasts strangers', savepoints);
        await story('IS_USED_LOCK() and CONNECTION_ID() in one text are of one connection', usedLock);
        await story('variables that are NULL have no collation of strangers', nullVariables);
        await story('what SET @@name changes travels, and nobody else has it', unscoped);
        await story("what routines and prepared texts do unseen is nobody else's", (...two) => unseen(ek, ...two));
        await story("what a trigger sets is nobody else's", (...two) => triggers(ek, ...two));
        await story('ROW_COUNT() in a prepared statement is that of the session, or an error', rowCounts);
        await story('what a COM_STMT_PREPARE warns of can be asked for', (...two) => preparedWith(flavor, ...two));
        await story('what is traced is what the session does', traced);
        await story('a syntax error does not keep the connection', syntaxErrors);
        await story('views of another schema cost no connection and tell strangers nothing', (...two) =>
          elsewhere(ek, ...two),
        );
        if (flavor === 'mariadb') {
          await story('LASTVAL() and @@last_gtid are of the last write, or an error', connectionOnly);
          await story('a ROLLBACK that leaves something says so', kept);
          await story('warnings over statements without tables are not of strangers', keptWarnings);
        }
      }),
    );
  });
}

async function withTwo(ek: Evenkeel, tell: (one: Connection, other: Connection) => Promise<void>): Promise<void> {
  const [one, other] = [await application(ek), await application(ek)];
  try {
    await tell(one, other);
  } finally {
    one.destroy();
    other.destroy();
  }
}

/** The first value of the first row. */
async function value(client: Connection, sql: string): Promise<unknown> {
  const [rows] = await client.query<RowDataPacket[]>(sql);
  return Object.values(rows[0] ?? {})[0];
}

async function explicitIds(one: Connection, other: Connection): Promise<void> {
  await other.query('INSERT INTO ids (n) VALUES (1)');
  const others = await value(other, 'SELECT LAST_INSERT_ID()');
  await one.query('REPLACE INTO ids VALUES (1000, 1)');
  assert.equal(await value(one, 'SELECT LAST_INSERT_ID()'), 0);
  await one.query('INSERT INTO ids (n) VALUES (2)');
  await other.query('DO 1');
  await one.query('REPLACE INTO ids VALUES (500, 1)');
  assert.equal(await value(one, 'SELECT LAST_INSERT_ID()'), 1001);
  assert.equal(await value(other, 'SELECT LAST_INSERT_ID()'), others);
  await one.query('REPLACE INTO ids VALUES (501, 1)');
  await other.query('INSERT INTO ids (n) VALUES (3)');
  assert.equal(await value(one, 'SELECT LAST_INSERT_ID()'), 1001);
  assert.equal(await value(other, 'SELECT LAST_INSERT_ID()'), 1002);
}

async function noRow(one: Connection, other: Connection): Promise<void> {
  await other.query('INSERT INTO ids (n) VALUES (1)');
  await one.query('UPDATE ids SET n = LAST_INSERT_ID(n + 1) WHERE id = -1');
  assert.equal(await value(one, 'SELECT LAST_INSERT_ID()'), 0);
}

async function procedures(one: Connection, other: Connection): Promise<void> {
  await one.query("CREATE PROCEDURE both_kinds() BEGIN SET @hidden = 77; SET time_zone = '+04:00'; END");
  await one.query('CALL both_kinds()');
  // Whoever shares the only connection waits, so it is asked for by another in a moment, not now.
  assert.deepEqual(await value(one, "SELECT CONCAT(@hidden, ' ', @@time_zone)"), '77 +04:00');
  await (one as Connection & { reset(): Promise<void> }).reset();
  assert.equal(await value(other, 'SELECT @hidden'), null);
}

async function foundRows(one: Connection, other: Connection): Promise<void> {
  await one.query('SELECT 1 UNION SELECT 2 UNION SELECT 3');
  await other.query('SELECT 1 UNION SELECT 2');
  await one.query('BEGIN');
  await one.query('SAVEPOINT here');
  assert.equal(await value(one, 'SELECT FOUND_ROWS()'), 3);
  await one.query('COMMIT');
  await one.query('SELECT 1 UNION SELECT 2 UNION SELECT 3');
  await one.query('CREATE TABLE nothing (n INT)');
  await other.query('SELECT 1 UNION SELECT 2');
  assert.equal(await value(one, 'SELECT FOUND_ROWS() + 0'), 3);
  await one.query('SHOW CREATE TABLE nothing');
  await one.query('DROP TABLE nothing');
  await other.query('SELECT 1 UNION SELECT 2');
  assert.equal(await value(one, 'SELECT FOUND_ROWS()'), 1);
  await one.query("SHOW TABLES LIKE 'ids'");
  await other.query('SELECT 1 UNION SELECT 2');
  await assert.rejects(one.query('SELECT FOUND_ROWS()'), { errno: 9106 });
  assert.equal(await value(one, 'SELECT ROW_COUNT()'), -1);
  // Prepared, it is asked for after the COM_STMT_PREPARE of the question.
  await one.query('SELECT SQL_CALC_FOUND_ROWS n FROM (SELECT 1 AS n UNION SELECT 2 UNION SELECT 3) AS some LIMIT 1');
  const [rows] = await one.execute<RowDataPacket[]>('SELECT FOUND_ROWS() AS found');
  assert.deepEqual(rows, [{ found: 3 }]);
}

async function rowCounts(one: Connection, other: Connection): Promise<void> {
  await one.query('CREATE TABLE recounted (n INT)');
  await one.query('INSERT INTO recounted VALUES (1), (2), (3)');
  const ask = async (): Promise<unknown> => {
    const [rows] = await one.execute<RowDataPacket[]>('SELECT ROW_COUNT() AS changed');
    return rows[0]?.['changed'];
  };
  // Prepared, it is what the server has: the session's own, or nothing.
  for (const between of [null, 'SELECT 1']) {
    await one.query('UPDATE recounted SET n = n + 1');
    if (between !== null) await other.query(between);
    assert.ok(
      [3, '9106'].includes((await ask().catch((error: Error & { errno: number }) => String(error.errno))) as never),
    );
  }
}

async function kept(one: Connection): Promise<void> {
  await one.query('CREATE TABLE stays (n INT) ENGINE=MyISAM');
  for (const sql of ['BEGIN', 'INSERT INTO stays VALUES (1)']) await one.query(sql);
  const [rolledBack] = await one.query<ResultSetHeader>('ROLLBACK');
  assert.equal(rolledBack.warningStatus, 1);
  const [warnings] = await one.query<RowDataPacket[]>('SHOW WARNINGS');
  assert.deepEqual(
    warnings.map((row) => row['Code']),
    [1196],
  );
}

async function preparedWith(flavor: Flavor, one: Connection, other: Connection): Promise<void> {
  const [sql, code] = flavor === 'mysql' ? ['SELECT BINARY 1', 1287] : ['SELECT n AS id FROM ids GROUP BY id', 1052];
  await one.prepare(sql);
  await other.query('SELECT 1');
  const [warnings] = await one.query<RowDataPacket[]>('SHOW WARNINGS');
  assert.deepEqual(
    warnings.map((row) => row['Code']),
    [code],
  );
}

async function traced(one: Connection, other: Connection): Promise<void> {
  await one.query('SET profiling = 1');
  await one.query('SELECT 41 + 1');
  const [profiles] = await one.query<RowDataPacket[]>('SHOW PROFILES');
  assert.ok(profiles.some((row) => row['Query'] === 'SELECT 41 + 1'));
  await one.query('SET profiling = 0');
  await other.query('SELECT 2');
  await one.query("SET @n = 1, optimizer_trace = 'enabled=on'");
  await one.query('SELECT n FROM ids WHERE n = @n');
  assert.equal(
    await value(one, 'SELECT QUERY FROM information_schema.optimizer_trace'),
    'SELECT n FROM ids WHERE n = @n',
  );
  await one.query("SET optimizer_trace = 'enabled=off'");
  await other.query('SELECT 3');
}

async function unscoped(one: Connection, other: Connection): Promise<void> {
  const were = await value(other, 'SELECT @@net_read_timeout');
  await one.query("SET @a = 1, @@net_read_timeout = 77, @@`time_zone` := '+05:00'");
  await one.execute('SET @@net_write_timeout = 78');
  assert.equal(await value(other, 'SELECT @@net_read_timeout'), were);
  assert.notEqual(await value(other, 'SELECT @@time_zone'), '+05:00');
  assert.notEqual(await value(other, 'SELECT @@net_write_timeout'), 78);
  const mine = "SELECT CONCAT_WS(' ', @@net_read_timeout, @@net_write_timeout, @@time_zone)";
  assert.equal(await value(one, mine), '77 78 +05:00');
}

/** No server tells of any of these. */
async function unseen(ek: Evenkeel, one: Connection, other: Connection): Promise<void> {
  const were = await value(other, 'SELECT @@net_read_timeout');
  const effects: [effect: string, look: string, nothing: unknown][] = [
    ['SELECT 5 INTO @unseen', 'SELECT @unseen', null],
    ["SELECT GET_LOCK(CONCAT('un', 'seen'), 0)", "SELECT IS_FREE_LOCK('unseen')", 1],
    ['SET @@net_read_timeout = 79', 'SELECT @@net_read_timeout', were],
    ['SET TRANSACTION READ ONLY', 'INSERT INTO ids (n) VALUES (6) ', undefined],
  ];
  for (const [effect, look, nothing] of effects) {
    await through(ek, 'DROP PROCEDURE IF EXISTS unseen');
    await through(ek, `CREATE PROCEDURE unseen() ${effect}`);
    const prepared = `PREPARE unseen FROM '${effect.replaceAll("'", "''")}'; EXECUTE unseen; DEALLOCATE PREPARE unseen`;
    for (const does of ['CALL unseen()', prepared]) {
      for (const statement of does.split('; ')) await one.query(statement);
      const looks = value(other, look);
      // Where the server tells that something has changed it is known that there is something to keep.
      await (one as Connection & { reset(): Promise<void> }).reset();
      assert.equal(await looks, nothing, `${effect}, by ${does}`);
    }
  }
}

async function triggers(ek: Evenkeel, one: Connection, other: Connection): Promise<void> {
  const admin = await mysql.createConnection(ek.direct(await ek.primary()));
  await admin.query('SET GLOBAL log_bin_trust_function_creators = 1');
  await admin.end();
  await through(ek, 'CREATE TABLE triggering (n INT)');
  await through(ek, 'CREATE TRIGGER sets BEFORE INSERT ON triggering FOR EACH ROW SET @triggered = NEW.n');
  await one.query('INSERT INTO triggering VALUES (8)');
  const looks = value(other, 'SELECT @triggered');
  assert.equal(await value(one, 'SELECT @triggered'), 8);
  await (one as Connection & { reset(): Promise<void> }).reset();
  assert.equal(await looks, null);
}

async function syntaxErrors(one: Connection, other: Connection): Promise<void> {
  await assert.rejects(one.query('SELEC 1'), { errno: 1064 });
  assert.equal(await value(other, 'SELECT 1'), 1);
}

async function savepoints(one: Connection, other: Connection): Promise<void> {
  await one.query('SET autocommit = 0');
  await one.query('SAVEPOINT early');
  const waiting = other.query('SELECT COUNT(*) FROM ids');
  await one.query('INSERT INTO ids (n) VALUES (99)');
  await one.query('ROLLBACK TO SAVEPOINT early');
  await one.query('COMMIT');
  await waiting;
  assert.equal(await value(one, 'SELECT COUNT(*) FROM ids WHERE n = 99'), 0);
  await one.query('COMMIT');
}

async function usedLock(one: Connection): Promise<void> {
  assert.equal(await value(one, "SELECT GET_LOCK('used', 1)"), 1);
  assert.equal(await value(one, "SELECT IS_USED_LOCK('used') = CONNECTION_ID()"), 1);
  assert.equal(await value(one, "SELECT RELEASE_LOCK('used')"), 1);
}

async function nullVariables(one: Connection, other: Connection): Promise<void> {
  await other.query("SET @previous = 'x' COLLATE utf8mb4_unicode_ci");
  assert.equal(await value(one, 'SELECT COLLATION(@previous)'), 'binary');
  // With a stranger's collation it would be an illegal mix.
  assert.equal(await value(one, "SELECT COALESCE(@previous, 'none') = 'none' COLLATE utf8mb4_general_ci"), 1);
}

async function connectionOnly(one: Connection, other: Connection): Promise<void> {
  await one.query('CREATE SEQUENCE counted');
  assert.equal(await value(one, 'SELECT NEXTVAL(counted)'), 1);
  assert.equal(await value(one, 'SELECT LASTVAL(counted)'), 1);
  const error = { errno: 9106, message: /what only the last server connection of its writes knows/ };
  await assert.rejects(other.query('SELECT LASTVAL(counted)'), error);
  await other.query('INSERT INTO ids (n) VALUES (5)');
  const gtid = await value(other, 'SELECT @@last_gtid');
  assert.match(String(gtid), /^\d+-\d+-\d+$/);
  await assert.rejects(one.query('SELECT LASTVAL(counted)'), error);
  await assert.rejects(one.query('SELECT @@last_gtid'), error);
  assert.equal(await value(one, 'SELECT NEXTVAL(counted)'), 2);
  assert.equal(await value(one, 'SELECT LASTVAL(counted)'), 2);
}

async function keptWarnings(one: Connection, other: Connection): Promise<void> {
  await other.query('SELECT 1 / 0');
  await one.query('SELECT 1');
  assert.deepEqual((await one.query('SHOW WARNINGS'))[0], []);
  await one.query("UPDATE ids SET n = 'many'").catch(() => {});
  await one.query("XA START 'kept'");
  const [rows] = await one.query<RowDataPacket[]>('SHOW WARNINGS');
  assert.equal(rows.length, 1);
  await one.query("XA END 'kept'");
  await one.query("XA ROLLBACK 'kept'");
}

/** MariaDB tells a change with each of them, as it goes into the other schema and comes back. */
async function elsewhere(ek: Evenkeel, one: Connection, other: Connection): Promise<void> {
  await directly(
    ek,
    await ek.primary(),
    'CREATE DATABASE away',
    'CREATE TABLE away.rows_there (n INT)',
    'INSERT INTO away.rows_there VALUES (1)',
    'CREATE VIEW away.plain AS SELECT n FROM away.rows_there',
    'CREATE FUNCTION away.sets() RETURNS INT DETERMINISTIC NO SQL BEGIN SET @from_away = 7; RETURN 1; END',
    'CREATE VIEW away.setting AS SELECT away.sets() AS n FROM away.rows_there',
    `GRANT ALL ON away.* TO ${ek.sandbox.app.user}`,
  );
  const connections = async (): Promise<number> => {
    const [rows] = await directly(ek, await ek.primary(), "SHOW GLOBAL STATUS LIKE 'Connections'");
    return Number(rows[0]?.['Value']);
  };
  await value(one, 'SELECT n FROM away.plain');
  const before = await connections();
  for (let i = 0; i < 20; i++) {
    assert.equal(await value(one, 'SELECT n FROM away.plain'), 1);
    assert.equal(await value(other, 'SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = "away"'), 3);
  }
  // The control process asks over a few of its own.
  assert.ok((await connections()) - before < 15, 'no server connection was given up for it');
  await one.query('BEGIN');
  await value(one, 'SELECT n FROM away.plain');
  await one.query('COMMIT');
  // Told once a second: at first what other stories' sessions were pinned by. One that this has pinned would stay so.
  await until('no session to be pinned', 5000, async () => {
    return !/^evenkeel_pinned\S* [1-9]/m.test(await (await ek.fetch('/metrics')).text());
  });

  for (let i = 0; i < 5; i++) {
    await value(one, 'SELECT n FROM away.setting');
    assert.equal(await value(other, 'SELECT @from_away'), null);
  }
}
