// What a transaction that is run again must bring along, and what it must not leave behind; that a kept transaction ends as it would
// without Evenkeel, whatever ends it; and that nobody waits for a connection that is gone.
import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import mysql, { type Connection, type ResultSetHeader, type RowDataPacket } from 'mysql2/promise';
import { application, directly, type Evenkeel, losesCommit, stories, through, until } from './harness/index.ts';

type Row = Record<string, unknown>;

const rowsOf = async (client: Connection, sql: string): Promise<Row[]> => (await client.query<RowDataPacket[]>(sql))[0];

async function threads(evenkeel: Evenkeel): Promise<{ id: number; command: string; info: string }[]> {
  const [rows] = await directly(evenkeel, await evenkeel.primary(), 'SHOW FULL PROCESSLIST');
  return rows
    .filter((row) => row['User'] === evenkeel.sandbox.app.user)
    .map((row) => ({ id: Number(row['Id']), command: String(row['Command']), info: String(row['Info']) }));
}

/** Ends server connections of the application's; the primary lives on, and takes the replay. */
async function cut(evenkeel: Evenkeel, which: (command: string) => boolean = () => true): Promise<void> {
  const before = (await threads(evenkeel)).filter(({ command }) => which(command)).map(({ id }) => id);
  for (const id of before) await directly(evenkeel, await evenkeel.primary(), `KILL ${id}`).catch(() => undefined);
  await until('the connections to be gone', 10_000, async () => {
    const now = (await threads(evenkeel)).map(({ id }) => id);
    return before.every((id) => !now.includes(id));
  });
  await delay(50);
}

const past = async (evenkeel: Evenkeel): Promise<Connection> => {
  const { user, password, database } = evenkeel.sandbox.app;
  const direct = evenkeel.direct(await evenkeel.primary());
  return mysql.createConnection({ ...direct, user, password, database, multipleStatements: true });
};
const proxied = (evenkeel: Evenkeel): Promise<Connection> =>
  mysql.createConnection({ ...evenkeel.login('writer'), multipleStatements: true });

/** Each begins with an empty table `s`, and must leave it as it does past Evenkeel. */
const ENDINGS: Record<string, string[]> = {
  'autocommit that is off already': [
    'SET autocommit = 0',
    'INSERT INTO s VALUES (1)',
    'SET autocommit = 0',
    'ROLLBACK',
  ],
  'a user variable of that name': [
    'SET autocommit=0',
    'INSERT INTO s VALUES (1)',
    'SET @autocommit=1',
    "SET SESSION autocommit='OFF'",
    'ROLLBACK',
  ],
  'autocommit that is put on': ['SET autocommit=0', 'INSERT INTO s VALUES (1)', 'SET @@autocommit = ON', 'ROLLBACK'],
  'autocommit that is on already': ['BEGIN', 'INSERT INTO s VALUES (1)', 'SET autocommit=1; SELECT 1', 'ROLLBACK'],
  'a rollback and more': ['BEGIN', 'INSERT INTO s VALUES (1)', 'ROLLBACK; BEGIN; INSERT INTO s VALUES (2); COMMIT'],
  'a commit and more': ['BEGIN', 'INSERT INTO s VALUES (1)', 'COMMIT; INSERT INTO s VALUES (2)'],
  'a beginning and more': ['BEGIN', 'INSERT INTO s VALUES (1)', 'BEGIN; INSERT INTO s VALUES (2); ROLLBACK'],
  'a chain by completion_type': [
    'BEGIN',
    'INSERT INTO s VALUES (1)',
    "SET completion_type='CHAIN'",
    'COMMIT',
    'INSERT INTO s VALUES (2)',
    'ROLLBACK',
    "SET completion_type='NO_CHAIN'",
    'ROLLBACK',
  ],
  'no chain, in spite of completion_type': [
    'BEGIN',
    'INSERT INTO s VALUES (1)',
    'SET completion_type=1',
    'COMMIT AND NO CHAIN',
    'INSERT INTO s VALUES (2)',
    'ROLLBACK AND NO CHAIN',
  ],
};

stories(
  'a transaction that is run again',
  { replication: 'async', nodes: 1, workers: 1 },
  {
    'ends as it would without Evenkeel, by whatever ends it': async (evenkeel) => {
      await through(evenkeel, 'CREATE TABLE s (n INT PRIMARY KEY)');
      for (const [name, sqls] of Object.entries(ENDINGS)) {
        const left: Row[][] = [];
        for (const open of [past, proxied]) {
          await through(evenkeel, 'DELETE FROM s');
          const client = await open(evenkeel);
          for (const sql of sqls) await client.query(sql);
          await client.end();
          left.push(await through(evenkeel, 'SELECT n FROM s ORDER BY n').then(([rows]) => rows as Row[]));
        }
        assert.deepEqual(left[1], left[0], name);
      }
      await through(evenkeel, 'DELETE FROM s');
    },

    'has the counts, the warnings and the ids of its first run': async (evenkeel) => {
      await through(
        evenkeel,
        'CREATE TABLE counts (what VARCHAR(10), n BIGINT)',
        'CREATE TABLE short (n TINYINT)',
        'CREATE TABLE customers (id INT AUTO_INCREMENT PRIMARY KEY, x INT) AUTO_INCREMENT=7',
        'CREATE TABLE orders (id INT AUTO_INCREMENT PRIMARY KEY, customer INT) AUTO_INCREMENT=500',
        'CREATE TABLE items (orders INT)',
      );
      const client = await application(evenkeel);
      await client.query("SET sql_mode=''");
      await client.query('INSERT INTO customers (x) VALUES (1)');
      for (const sql of [
        'BEGIN',
        'INSERT INTO orders (customer) VALUES (LAST_INSERT_ID())',
        'INSERT INTO items VALUES (LAST_INSERT_ID())',
        'INSERT INTO s VALUES (1), (2), (3)',
        "INSERT INTO counts VALUES ('rows', ROW_COUNT())",
        'DELETE FROM s',
        'GET DIAGNOSTICS @n = ROW_COUNT',
        "INSERT INTO counts VALUES ('deleted', @n)",
        'INSERT INTO short VALUES (1000)',
      ]) {
        await client.query(sql);
      }
      assert.equal((await rowsOf(client, 'SHOW WARNINGS')).length, 1);
      await client.query('INSERT INTO s VALUES (11), (12)');
      await cut(evenkeel);
      assert.deepEqual(await rowsOf(client, 'SELECT ROW_COUNT() AS n'), [{ n: 2 }]);
      await client.query('COMMIT');
      assert.deepEqual(await rowsOf(client, 'SELECT * FROM orders'), [{ id: 500, customer: 7 }]);
      assert.deepEqual(await rowsOf(client, 'SELECT * FROM items'), [{ orders: 500 }]);
      assert.deepEqual(await rowsOf(client, 'SELECT * FROM counts ORDER BY what'), [
        { what: 'deleted', n: 3 },
        { what: 'rows', n: 3 },
      ]);
      assert.deepEqual(await rowsOf(client, 'SELECT n FROM s ORDER BY n'), [{ n: 11 }, { n: 12 }]);
      await client.end();
    },

    'leaves no number behind that another row would get': async (evenkeel) => {
      await through(
        evenkeel,
        'CREATE TABLE given (id INT AUTO_INCREMENT PRIMARY KEY, x INT)',
        'CREATE TABLE made (id INT AUTO_INCREMENT PRIMARY KEY, x INT)',
      );
      const client = await application(evenkeel);
      const made = async (of: Connection): Promise<number> =>
        (await of.query<ResultSetHeader>('INSERT INTO made (x) VALUES (1)'))[0].insertId;
      // One that was made is the same again; a row that came with its own is no reason to set one.
      await client.query('BEGIN');
      await client.query('INSERT INTO given (id, x) VALUES (900, 1)');
      const first = await made(client);
      await cut(evenkeel);
      assert.equal(await made(client), first + 1);
      await client.query('COMMIT');
      assert.deepEqual(await rowsOf(client, 'SELECT id FROM made ORDER BY id'), [{ id: first }, { id: first + 1 }]);
      await client.query('BEGIN');
      await client.query('INSERT INTO given (id, x) VALUES (1000, 1)');
      await cut(evenkeel);
      const next = await made(client).catch((error: { errno: number }) => error.errno);
      // MySQL does not let it be taken back: the transaction is given up.
      const isMysql = evenkeel.sandbox.flavor === 'mysql';
      assert.equal(next, isMysql ? 1213 : first + 2);
      await client.query('COMMIT');
      await client.end();
      const stranger = await application(evenkeel);
      assert.equal(await made(stranger), first + (isMysql ? 2 : 3));
      await stranger.end();
    },

    'gives no number to another row than the first time': async (evenkeel) => {
      const isMysql = evenkeel.sandbox.flavor === 'mysql';
      await through(
        evenkeel,
        'CREATE TABLE mails (id INT AUTO_INCREMENT PRIMARY KEY, mail VARCHAR(9) UNIQUE, n INT)',
        "INSERT INTO mails (mail, n) VALUES ('a', 0), ('x', 0), ('b', 0)",
        'CREATE TABLE plain (n INT PRIMARY KEY, x INT)',
        'INSERT INTO plain VALUES (1, 1)',
        'CREATE TABLE audit (id INT AUTO_INCREMENT PRIMARY KEY, x INT)',
      );
      const primary = await evenkeel.primary();
      const trigger =
        'CREATE TRIGGER app.audits AFTER UPDATE ON app.plain FOR EACH ROW INSERT INTO app.audit (x) VALUES (NEW.x)';
      await directly(evenkeel, primary, trigger);
      const client = await application(evenkeel);
      await client.query('BEGIN');
      await client.query("INSERT INTO mails (mail, n) VALUES ('a', 1), ('b', 1) ON DUPLICATE KEY UPDATE n = n + 1");
      await cut(evenkeel);
      await client.query('COMMIT');
      assert.deepEqual(await rowsOf(client, 'SELECT mail, n FROM mails ORDER BY mail'), [
        { mail: 'a', n: 1 },
        { mail: 'b', n: 1 },
        { mail: 'x', n: 0 },
      ]);
      await client.query('BEGIN');
      await client.query('INSERT INTO given (id, x) VALUES (2000, 1)');
      await client.query('UPDATE plain SET x = 2');
      await cut(evenkeel);
      const outcome = await client.query('COMMIT').then(
        () => 0,
        (error: { errno: number }) => error.errno,
      );
      assert.equal(outcome, isMysql ? 1213 : 0);
      const [rows] = await through(evenkeel, 'SELECT id FROM audit');
      assert.ok(
        rows.every(({ id }) => Number(id) < 100),
        JSON.stringify(rows),
      );
      await client.end();
    },

    'goes on after a lock wait that was in vain, where its server goes on': async (evenkeel) => {
      await through(evenkeel, 'CREATE TABLE waits (n INT PRIMARY KEY, x INT)', 'INSERT INTO waits VALUES (1, 0)');
      const [one, other] = [await application(evenkeel), await application(evenkeel)];
      await other.query('BEGIN');
      await other.query('UPDATE waits SET x = 1 WHERE n = 1');
      await one.query('SET innodb_lock_wait_timeout = 1');
      await one.query('BEGIN');
      await one.query('INSERT INTO waits VALUES (2, 0)');
      await assert.rejects(one.query('UPDATE waits SET x = 2 WHERE n = 1'), { errno: 1205 });
      await one.query('INSERT INTO waits VALUES (3, 0)');
      await other.query('ROLLBACK');
      // Run again it would wait for nobody.
      await cut(evenkeel);
      await one.query('COMMIT');
      assert.deepEqual(await rowsOf(one, 'SELECT x FROM waits WHERE n = 1'), [{ x: 0 }]);
      assert.deepEqual(await rowsOf(one, 'SELECT n FROM waits ORDER BY n'), [{ n: 1 }, { n: 2 }, { n: 3 }]);
      await Promise.all([one.end(), other.end()]);
    },

    'commits whatever others have committed since its snapshot': async (evenkeel) => {
      if (evenkeel.sandbox.flavor === 'mysql') return; // no such setting
      const [one, other] = [await application(evenkeel), await application(evenkeel)];
      await one.query('SET innodb_snapshot_isolation = ON');
      for (let n = 600; n < 605; n++) {
        await one.query('BEGIN');
        await one.query('SELECT n FROM s');
        for (let more = 0; more < 3; more++) await other.query('UPDATE made SET x = x + 1');
        await one.query(`INSERT INTO s VALUES (${n})`);
        await one.query('COMMIT');
      }
      await one.query('DELETE FROM s');
      await Promise.all([one.end(), other.end()]);
    },

    'is asked about, and no number of it closed before, however long its client waits': async (evenkeel) => {
      const client = await application(evenkeel);
      await client.query('BEGIN');
      await client.query('INSERT INTO s VALUES (500)');
      await cut(evenkeel);
      await delay(4500); // holes are closed after two seconds
      await client.query('INSERT INTO s VALUES (501)');
      await client.query('COMMIT');
      assert.deepEqual(await rowsOf(client, 'SELECT n FROM s WHERE n >= 500 ORDER BY n'), [{ n: 500 }, { n: 501 }]);
      await client.query('DELETE FROM s');
      // One that only reads, and fails, has no number to be asked about.
      await client.query('START TRANSACTION READ ONLY');
      await client.query('SELECT n FROM s');
      await assert.rejects(client.query('SELECT * FROM no_such_table'), { errno: 1146 });
      await cut(evenkeel);
      const answer = await Promise.race([rowsOf(client, 'SELECT n FROM s'), delay(20_000).then(() => 'no answer')]);
      assert.deepEqual(answer, []);
      await client.query('COMMIT');
      await client.end();
    },

    'has the id of its first run in a function as well, or does not go on': async (evenkeel) => {
      await directly(
        evenkeel,
        await evenkeel.primary(),
        'CREATE FUNCTION app.newest() RETURNS BIGINT NO SQL RETURN LAST_INSERT_ID()',
      );
      const client = await application(evenkeel);
      const [{ insertId: first }] = await client.query<ResultSetHeader>('INSERT INTO made (x) VALUES (1)');
      for (const [n, asks] of [
        [900, `INSERT INTO s SELECT 900 WHERE newest() = ${first}`],
        [901, `INSERT INTO s SELECT 901 WHERE LAST_INSERT_ID() = ${first} AND ROW_COUNT() < 9`],
      ] as const) {
        await client.query(`SET @a = LAST_INSERT_ID(${first})`);
        if (n === 900) await client.query('SELECT LAST_INSERT_ID()');
        await client.query('BEGIN');
        await client.query(asks);
        const [{ insertId: second }] = await client.query<ResultSetHeader>('INSERT INTO made (x) VALUES (2)');
        assert.deepEqual(await rowsOf(client, 'SELECT LAST_INSERT_ID() AS id'), [{ id: second }]);
        await cut(evenkeel);
        const committed = await client.query('COMMIT').then(
          () => [{ n }],
          (error: { errno: number }) => (error.errno === 1213 ? [] : [{ errno: error.errno }]),
        );
        assert.deepEqual(await rowsOf(client, `SELECT n FROM s WHERE n = ${n}`), committed);
        if (n === 900) assert.equal(committed.length, 1);
      }
      await client.query('DELETE FROM s');
      await client.end();
    },

    'takes a file wherever its text says so': async (evenkeel) => {
      await directly(evenkeel, await evenkeel.primary(), 'SET GLOBAL local_infile = ON');
      const client = await mysql.createConnection({ ...evenkeel.login('writer'), flags: ['LOCAL_FILES'] });
      const load = "LOAD DATA LOCAL INFILE 'given' INTO TABLE s";
      const texts = [
        load,
        `/* a */ ${load}`,
        `/*!50000 ${load} */`,
        `/*!50000 LOAD */ DATA LOCAL INFILE 'given' INTO TABLE s`,
      ];
      if (evenkeel.sandbox.flavor === 'mariadb') texts.push(`SET STATEMENT max_statement_time = 10 FOR ${load}`);
      for (const sql of texts) {
        const infileStreamFactory = (): Readable => Readable.from(['801\n802\n'], { objectMode: false });
        const answer = client
          .query<ResultSetHeader>({ sql, infileStreamFactory })
          .then(([{ affectedRows }]) => affectedRows);
        assert.equal(await Promise.race([answer, delay(20_000).then(() => 'no answer')]), 2, sql);
        await client.query('DELETE FROM s');
      }
      await client.end();
    },

    'is asked about on a connection of which no stranger has a say': async (evenkeel) => {
      const [one, stranger] = [await application(evenkeel), await application(evenkeel)];
      const settings = [
        'SESSION TRANSACTION READ ONLY',
        'sql_select_limit = 0',
        'sql_big_selects = 0, max_join_size = 1',
      ];
      for (const [at, setting] of settings.entries()) {
        await cut(evenkeel);
        await stranger.query(`SET ${setting}`);
        await one.query('BEGIN');
        await one.query(`INSERT INTO s VALUES (${950 + at})`);
        // A connection with the setting that is free for anybody.
        await stranger.query('SELECT n FROM s WHERE n = 1');
        const committed = await losesCommit(evenkeel, () =>
          one.query('COMMIT').then(
            () => 'OK',
            (error: Error) => error.message,
          ),
        );
        assert.equal(committed, 'OK', setting);
        assert.deepEqual(await rowsOf(one, `SELECT n FROM s WHERE n = ${950 + at}`), [{ n: 950 + at }], setting);
      }
      await one.query('DELETE FROM s');
      await Promise.all([one.end(), stranger.end()]);
    },

    'is none that a KILL QUERY left to strangers': async (evenkeel) => {
      const primary = await evenkeel.primary();
      const { user, password } = evenkeel.sandbox.app;
      const login = { ...evenkeel.login('writer'), user, password };
      const [one, killer] = [await application(evenkeel), await application(evenkeel)];
      const stranger = await mysql.createConnection({ ...login, database: 'information_schema' });
      for (let n = 970; n < 973; n++) {
        await cut(evenkeel);
        // The one connection that is free has another schema: what goes ahead of the write is awaited.
        await stranger.query('SELECT 1 FROM tables LIMIT 1');
        await evenkeel.signalNode(primary, 'SIGSTOP');
        const write = one.query(`INSERT INTO s VALUES (${n})`).then(
          () => 'OK',
          (error: { errno: number }) => error.errno,
        );
        await delay(50);
        const kill = killer.query(`KILL QUERY ${one.threadId}`);
        await delay(100);
        await evenkeel.signalNode(primary, 'SIGCONT');
        await kill;
        const told = await write;
        assert.ok(told === 1317 || told === 'OK', `${told}`);
        // Whoever gets that connection next writes what stays.
        const next = [await application(evenkeel), await application(evenkeel)];
        for (const [at, client] of next.entries()) {
          await client.query('SELECT n FROM s WHERE n = 1');
          await client.query(`INSERT INTO s VALUES (${n * 10 + at})`);
        }
        const stays = await past(evenkeel);
        assert.deepEqual(await rowsOf(stays, `SELECT n FROM s WHERE n DIV 10 = ${n} OR n = ${n} ORDER BY n`), [
          ...(told === 'OK' ? [{ n }] : []),
          { n: n * 10 },
          { n: n * 10 + 1 },
        ]);
        for (const client of [...next, stays]) await client.end();
      }
      await one.query('DELETE FROM s');
      for (const client of [one, killer, stranger]) await client.end();
    },

    'tells of user variables that went with its server': async (evenkeel) => {
      const client = await application(evenkeel);
      await client.query('INSERT INTO s VALUES (980)');
      await client.query('SET @x = 1');
      await client.query('BEGIN');
      await client.query('SELECT n INTO @x FROM s WHERE n = 980');
      await cut(evenkeel);
      await client.query('ROLLBACK');
      await assert.rejects(client.query('INSERT INTO s VALUES (@x)'), { errno: 9106 });
      await client.query('SET @x = 1');
      await client.query('BEGIN');
      await client.query('SELECT n INTO @x FROM s WHERE n = 980');
      await cut(evenkeel);
      await client.query('UPDATE s SET n = @x + 1 WHERE n = 980');
      await client.query('COMMIT');
      assert.deepEqual(await rowsOf(client, 'SELECT n, @x AS x FROM s'), [{ n: 981, x: 980 }]);
      await client.query('DELETE FROM s');
      await client.end();
    },

    'waits for no connection that is gone': async (evenkeel) => {
      const slow = `WITH RECURSIVE counted AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM counted WHERE n < 900)
        SELECT COUNT(*) AS pairs FROM counted AS a JOIN counted AS b JOIN (SELECT 1 AS x UNION SELECT 2) AS c ON a.n + b.n + c.x <> -1`;
      const [asks, reads] = [await application(evenkeel), await application(evenkeel)];
      await cut(evenkeel);
      await reads.query('SELECT COUNT(*) FROM made WHERE id > 0 FOR UPDATE');
      for (const client of [asks, reads]) await client.query('DELETE FROM made WHERE id < 0');
      const [{ insertId }] = await asks.query<ResultSetHeader>('INSERT INTO made (x) VALUES (1)');
      const read = reads.query(slow);
      const asked = rowsOf(asks, 'SELECT LAST_INSERT_ID() AS id');
      await delay(200);
      await cut(evenkeel, (command) => command === 'Sleep');
      await read;
      const answer = await Promise.race([asked, delay(20_000).then(() => 'no answer')]);
      assert.deepEqual(answer, [{ id: insertId }]);
      await Promise.all([asks.end(), reads.end()]);
    },

    'is not left open where its connection is released': async (evenkeel) => {
      const client = await application(evenkeel);
      client.on('error', () => undefined);
      await client.query('BEGIN');
      await client.query('INSERT INTO s VALUES (77)');
      const primary = await evenkeel.primary();
      await evenkeel.signalNode(primary, 'SIGSTOP');
      const ended = client.query('ROLLBACK RELEASE').then(
        () => 'OK',
        (error: Error & { code: string }) => error.code,
      );
      await delay(100);
      await evenkeel.signalNode(primary, 'SIGKILL');
      await evenkeel.restartNode(primary);
      const outcome = await Promise.race([ended, delay(30_000).then(() => 'no answer')]);
      assert.notEqual(outcome, 'no answer');
      await evenkeel.healthy();
      const [rows] = await through(evenkeel, 'SELECT n FROM s WHERE n = 77');
      assert.deepEqual(rows, []);
    },

    'may begin with a CALL: whether it was committed is known where it need not have a number of its own': async (
      evenkeel,
    ) => {
      const primary = await evenkeel.primary();
      await directly(evenkeel, primary, 'CREATE PROCEDURE app.called() SELECT 1', 'GRANT EXECUTE ON app.* TO app');
      const client = await application(evenkeel);
      await client.query('BEGIN');
      await client.query('CALL called()');
      await client.query('INSERT INTO s VALUES (88)');
      await evenkeel.signalNode(primary, 'SIGSTOP');
      const ended = client.query('COMMIT').then(
        () => 0,
        (error: Error & { errno: number }) => error.errno,
      );
      await delay(100);
      await evenkeel.signalNode(primary, 'SIGKILL');
      await evenkeel.restartNode(primary);
      assert.equal(await ended, evenkeel.sandbox.flavor === 'mysql' ? 9104 : 1213);
      await client.end();
      await evenkeel.healthy();
      const [rows] = await through(evenkeel, 'SELECT n FROM s WHERE n = 88');
      assert.deepEqual(rows, []);
    },

    'begins at once where the server says that autocommit is off': async (evenkeel) => {
      await directly(evenkeel, await evenkeel.primary(), 'SET GLOBAL autocommit = 0');
      await evenkeel.stop();
      await evenkeel.start();
      for (let round = 0; round < 3; round++) {
        for (const open of [past, proxied]) {
          const client = await open(evenkeel);
          await client.query('INSERT INTO s VALUES (200)');
          await client.query('ROLLBACK');
          assert.deepEqual(await rowsOf(client, 'SELECT n FROM s WHERE n = 200'), []);
          await client.query('COMMIT');
          await client.end();
        }
      }
      await directly(evenkeel, await evenkeel.primary(), 'SET GLOBAL autocommit = 1');
    },
  },
);
