// A session outlives its server connection: what it built up is there again on the next one, what cannot be is said
// once, by name; and with more clients than server connections nobody sees another's state.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import mysql from 'mysql2/promise';
import { seed } from '../seed.ts';
import { type Evenkeel, until, withEvenkeel } from './harness/index.ts';

interface Stage {
  t: test.TestContext;
  ek: Evenkeel;
  /** The administrator's connection to the current primary. */
  onPrimary: (...statements: string[]) => Promise<void>;
}

type Rows = mysql.RowDataPacket[];

for (const flavor of ['mysql', 'mariadb'] as const) {
  test(`sessions in front of ${flavor}`, { timeout: 120_000 }, async (t) => {
    const config = 'pool: { maxPerNode: 4 }';
    await withEvenkeel({ flavor, replication: 'async', nodes: 2, workers: 1, config }, async (ek) => {
      const onPrimary: Stage['onPrimary'] = async (...statements) => {
        const admin = await mysql.createConnection(ek.direct(await ek.primary()));
        for (const statement of statements) await admin.query(statement);
        await admin.end();
      };
      for (const schema of ['one', 'two', 'three']) {
        const table = `${schema}.own (id INT AUTO_INCREMENT PRIMARY KEY, client INT, n INT, KEY (client))`;
        await onPrimary(`CREATE DATABASE ${schema}`, `CREATE TABLE ${table}`, `GRANT ALL ON ${schema}.* TO app@'%'`);
      }
      const stage: Stage = { t, ek, onPrimary };
      await restored(stage);
      await lost(stage);
      await checksStayOn(stage);
      await strangers(stage);
      await roomToPrepare(stage);
      if (flavor === 'mysql') await reported(stage);
    });
  });
}

/** Kills every server connection of the application at the server, behind the proxy's back, and waits until they are gone. */
async function severAll(ek: Evenkeel): Promise<void> {
  const admin = await mysql.createConnection(ek.direct(await ek.primary()));
  const theirs = async (): Promise<number[]> => {
    const [rows] = await admin.query<Rows>("SELECT id FROM information_schema.processlist WHERE user = 'app'");
    return rows.map((row) => Number(row['id'] ?? row['ID']));
  };
  const killed = await theirs();
  assert.ok(killed.length > 0, 'there is nothing to kill');
  for (const id of killed) await admin.query(`KILL ${id}`).catch(() => {}); // gone by itself meanwhile
  await until('the connections to end', 10_000, async () => (await theirs()).every((id) => !killed.includes(id)));
  await admin.end();
}

const STATE = `SELECT DATABASE() AS d, @@sql_mode AS m, @@time_zone AS z, @@autocommit AS a, @@sql_safe_updates AS u,
  @@wait_timeout AS w, @@group_concat_max_len AS g, @@character_set_client AS c, @@character_set_results AS r,
  @@collation_connection AS l, @@div_precision_increment AS p, @@unique_checks AS q, @@max_execution AS i,
  @n AS n, HEX(@s) AS s, @d AS dd, @z AS zz, HEX(@h) AS h, LAST_INSERT_ID() AS last`;

async function restored({ t, ek }: Stage): Promise<void> {
  const mariadb = ek.sandbox.flavor === 'mariadb';
  const isolation = mariadb ? 'tx_isolation' : 'transaction_isolation';
  const state = STATE.replace('max_execution', isolation);
  const settings: [string, string[]][] = [
    ['nothing but the login', []],
    ['the default schema', ['USE two']],
    ['a character set', ['SET NAMES latin1']],
    ['a character set with a collation', ['SET NAMES utf8mb4 COLLATE utf8mb4_bin', 'SET character_set_results = NULL']],
    [
      'variables of every kind',
      [
        "SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES', time_zone = '+05:30', sql_safe_updates = 1",
        'SET SESSION wait_timeout = 1234, group_concat_max_len = 4096, div_precision_increment = 9, unique_checks = 0',
        'SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE',
      ],
    ],
    ['autocommit off', ['SET autocommit = 0']],
    ['user variables', ["SET @n = -5, @d = 1.25, @z = NULL, @h = x'00ff', @s = 'it''s plain'"]],
    ['user variables that were computed', ["SELECT 7 * 6.5, CONCAT('a', 0xc3a9) INTO @n, @s", 'SET @d = @n / 3e0']],
    ['the last insert id', ['INSERT INTO one.own VALUES (NULL, 0, 1)', 'COMMIT']],
    ['a named time zone of numbers', ["SET time_zone = '-03:00'", 'SET @n = 18446744073709551615']],
  ];
  const everything = settings.filter(([name]) => name !== 'a character set').flatMap(([, statements]) => statements);
  for (const [name, statements] of [...settings, ['all of it', everything] as const]) {
    await t.test(`a killed server connection is replaced by one with ${name}`, async () => {
      const client = await mysql.createConnection(ek.login());
      for (const statement of statements) await client.query(statement);
      const calculate = async (): Promise<unknown> =>
        (await client.execute<Rows>('SELECT ? * 2 + ? AS r', [20, 2]))[0][0]?.['r'];
      assert.equal(await calculate(), 42);
      const [before] = await client.query<Rows>(state);
      await severAll(ek);
      assert.deepEqual((await client.query<Rows>(state))[0], before);
      assert.equal(await calculate(), 42);
      await client.end();
    });
  }

  await t.test('a switchover leaves the whole session as it was', async () => {
    const client = await mysql.createConnection(ek.login());
    for (const statement of everything) await client.query(statement);
    const prepared = await client.prepare('SELECT ? AS one, @n AS two');
    assert.ok(prepared);
    const execute = async (): Promise<unknown> => (await (prepared.execute(['x']) as Promise<[Rows, unknown]>))[0];
    const [before] = await client.query<Rows>(state);
    const rows = await execute();
    const record = await ek.switchover();
    assert.equal(record.outcome, 'done');
    assert.deepEqual((await client.query<Rows>(state))[0], before);
    assert.deepEqual(await execute(), rows);
    await client.end();
    await ek.healthy();
  });

  await t.test('an isolation level for the next transaction only is there for the next transaction', async () => {
    const client = await mysql.createConnection(ek.login());
    await client.query('SET TRANSACTION READ ONLY');
    await severAll(ek);
    await client.query('BEGIN');
    await assert.rejects(client.query('INSERT INTO one.own VALUES (NULL, 0, 1)'), { errno: 1792 });
    await client.query('ROLLBACK');
    await client.query('INSERT INTO one.own VALUES (NULL, 0, 1)');
    await client.end();
  });
}

async function lost({ t, ek }: Stage): Promise<void> {
  const pins: [RegExp, string][] = [
    [/temporary-table/, 'CREATE TEMPORARY TABLE passing (n INT)'],
    [/table-lock/, 'LOCK TABLES one.own READ'],
    [/named-lock/, "SELECT GET_LOCK('mine', 1)"],
    [/user-variable/, "SET @long = REPEAT('x', 100000)"],
    [/session-tracking/, "SET session_track_system_variables = ''"],
    [/sql-prepare/, "PREPARE p FROM 'SELECT 1'"],
  ];
  for (const [what, statement] of pins) {
    await t.test(`the loss of what ${statement.slice(0, 22)} made is told once, and by name`, async () => {
      const client = await mysql.createConnection({ ...ek.login(), database: 'one' });
      await client.query(statement);
      await severAll(ek);
      await assert.rejects(client.query('SELECT 1'), (error: { errno?: number; message: string }) => {
        assert.equal(error.errno, 9106);
        assert.match(error.message, what);
        assert.match(error.message, /not executed/);
        return true;
      });
      const [rows] = await client.query<Rows>('SELECT DATABASE() AS d');
      assert.equal(rows[0]?.['d'], 'one');
      await client.end();
    });
  }

  await t.test('an open transaction whose server connection is killed goes on, or ends as it is told to', async () => {
    const [count] = await rowsOf(ek, 'SELECT COUNT(*) AS n FROM one.own WHERE client = 99');
    for (const next of ['INSERT INTO own VALUES (NULL, 99, 2)', 'SELECT 1', 'COMMIT', 'ROLLBACK']) {
      const client = await mysql.createConnection({ ...ek.login(), database: 'one' });
      await client.query('BEGIN');
      await client.query('INSERT INTO own VALUES (NULL, 99, 1)');
      await severAll(ek);
      await client.query(next);
      assert.equal((await client.query<Rows>('SELECT 1 AS one'))[0][0]?.['one'], 1);
      await client.query('ROLLBACK');
      await client.end();
    }
    const [after] = await rowsOf(ek, 'SELECT COUNT(*) AS n FROM one.own WHERE client = 99');
    assert.equal(Number(after?.['n']), Number(count?.['n']) + 1);
  });
}

/** MySQL 9.7 sets foreign_key_checks and unique_checks to 0 by `= DEFAULT`. */
async function checksStayOn({ t, ek }: Stage): Promise<void> {
  await t.test('who switches foreign key checks off switches them off for nobody else', async () => {
    const ask = 'SELECT @@foreign_key_checks AS f, @@unique_checks AS u';
    const one = await mysql.createConnection(ek.login());
    await one.query('SET foreign_key_checks = 0, unique_checks = 0');
    const others = await Promise.all(Array.from({ length: 8 }, async () => mysql.createConnection(ek.login())));
    for (const other of others) assert.deepEqual((await other.query<Rows>(ask))[0], [{ f: 1, u: 1 }]);
    assert.deepEqual((await one.query<Rows>(ask))[0], [{ f: 0, u: 0 }]);
    await one.end();
    for (const other of others) assert.deepEqual((await other.query<Rows>(ask))[0], [{ f: 1, u: 1 }]);
    for (const other of others) await other.end();
  });
}

async function rowsOf(ek: Evenkeel, sql: string): Promise<Rows> {
  const client = await mysql.createConnection(ek.login());
  const [rows] = await client.query<Rows>(sql);
  await client.end();
  return rows;
}

const CLIENTS = 40;
const STEPS = 25;

/** A small generator of numbers below `n`, the same for the same seed. */
function random(seed: number): (n: number) => number {
  let state = seed >>> 0;
  return (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

async function strangers({ t, ek }: Stage): Promise<void> {
  await t.test(`${CLIENTS} clients on 4 server connections see their own state only (FC_SEED=${seed})`, async () => {
    await Promise.all(Array.from({ length: CLIENTS }, (_, i) => stranger(ek, i + 100, random(seed * 1000 + i))));
    const admin = await mysql.createConnection(ek.direct(await ek.primary()));
    const [rows] = await admin.query<Rows>(
      "SELECT COUNT(*) AS n FROM information_schema.processlist WHERE user = 'app'",
    );
    assert.ok(Number(rows[0]?.['n']) <= 4, `${rows[0]?.['n']} server connections`);
    await admin.end();
  });
}

/** One client with a model of its session; every answer is compared with the model. */
async function stranger(ek: Evenkeel, me: number, below: (n: number) => number): Promise<void> {
  const client = await mysql.createConnection({ ...ek.login(), database: 'one' });
  const session = { d: 'one', v: null as number | null, w: 28_800, g: 0, t: 'SYSTEM' };
  const rows = { one: 0, two: 0, three: 0 } as Record<string, number>;
  session.g = Number((await client.query<Rows>('SELECT @@group_concat_max_len AS g'))[0][0]?.['g']);
  session.w = Number((await client.query<Rows>('SELECT @@wait_timeout AS w'))[0][0]?.['w']);
  const check = async (): Promise<void> => {
    // Named, since a prepared statement goes on meaning the schema in which it was prepared.
    const sql = `SELECT '${session.d}' AS d, CAST(@v AS SIGNED) AS v, @@wait_timeout AS w, @@group_concat_max_len AS g, @@time_zone AS t`;
    const [here] = await client.query<Rows>('SELECT DATABASE() AS d');
    assert.equal(here[0]?.['d'], session.d);
    const [seen] = below(2) === 0 ? await client.query<Rows>(sql) : await client.execute<Rows>(sql);
    assert.deepEqual({ ...seen[0] }, session);
    const [count] = await client.execute<Rows>(`SELECT COUNT(*) AS n FROM ${session.d}.own WHERE client = ?`, [me]);
    assert.equal(count[0]?.['n'], rows[session.d]);
  };
  for (let step = 0; step < STEPS; step++) {
    switch (below(6)) {
      case 0:
        session.d = ['one', 'two', 'three'][below(3)] ?? 'one';
        await client.query(`USE ${session.d}`);
        break;
      case 1:
        session.v = below(1000);
        await client.query(`SET @v = ${session.v}`);
        break;
      case 2:
        session.w = 1000 + below(1000);
        session.g = 1000 + below(1000);
        await client.query(`SET SESSION wait_timeout = ${session.w}, group_concat_max_len = ${session.g}`);
        break;
      case 3:
        session.t = `+0${below(10)}:00`;
        await client.query(`SET time_zone = '${session.t}'`);
        break;
      case 4: {
        const keep = below(2) === 0;
        await client.query('BEGIN');
        await client.execute(`INSERT INTO ${session.d}.own VALUES (NULL, ?, ?)`, [me, step]);
        rows[session.d] = (rows[session.d] ?? 0) + 1;
        await check();
        await client.query(keep ? 'COMMIT' : 'ROLLBACK');
        if (!keep) rows[session.d] = (rows[session.d] ?? 0) - 1;
        break;
      }
      default: {
        const [result] = await client.query<mysql.ResultSetHeader>(`INSERT INTO own VALUES (NULL, ${me}, ${step})`);
        rows[session.d] = (rows[session.d] ?? 0) + 1;
        const [last] = await client.query<Rows>('SELECT LAST_INSERT_ID() AS id');
        assert.equal(last[0]?.['id'], result.insertId);
      }
    }
    await check();
  }
  await client.end();
}

async function roomToPrepare({ t, ek, onPrimary }: Stage): Promise<void> {
  await t.test("at the server's limit of prepared statements, what is kept for later makes room", async () => {
    const client = await mysql.createConnection(ek.login());
    const other = await mysql.createConnection(ek.login());
    const sum = async (statement: mysql.PreparedStatementInfo): Promise<number> =>
      Number(((await statement.execute([1])) as [Rows, unknown])[0][0]?.['sum']);
    const kept = await client.prepare('SELECT 1000 + ? AS sum');
    try {
      await onPrimary('SET GLOBAL max_prepared_stmt_count = 6');
      for (let n = 0; n < 20; n++) {
        const closed = await client.prepare(`SELECT ${n} + ? AS sum`);
        assert.equal(await sum(closed), n + 1);
        await closed.close();
      }
      // In a transaction, too, which loses nothing by it; another session's statement comes back when it is needed.
      await other.query('BEGIN');
      await other.query('SET @there = 5');
      for (let n = 100; n < 110; n++) assert.equal(await sum(await other.prepare(`SELECT ${n} + ? AS sum`)), n + 1);
      const [[there]] = await other.query<Rows>('SELECT @there AS n');
      assert.equal(Number(there?.['n']), 5);
      await other.query('COMMIT');
      assert.equal(await sum(kept), 1001);
      await onPrimary('SET GLOBAL max_prepared_stmt_count = 0');
      await assert.rejects(other.prepare('SELECT 200 + ? AS sum'), { errno: 1461 });
    } finally {
      await onPrimary('SET GLOBAL max_prepared_stmt_count = 16382');
    }
    client.destroy();
    other.destroy();
  });
}

/** A server looks at the whole list of variables whenever one of them changes, so it names those of sessions alone. */
async function reported({ t, ek, onPrimary }: Stage): Promise<void> {
  await t.test('servers report the variables that a session can have of its own, and no others', async () => {
    const client = await mysql.createConnection(ek.login());
    const [[row]] = await client.query<Rows>('SELECT @@SESSION.session_track_system_variables AS list');
    await client.end();
    const list = new Set(String(row?.['list']).split(','));
    assert.ok(list.has('sql_mode') && list.has('time_zone') && list.size > 100, String(list.size));
    const admin = await mysql.createConnection(ek.direct(await ek.primary()));
    const [all] = await admin.query<Rows>('SELECT variable_name AS name FROM performance_schema.session_variables');
    const left = all.map(({ name }) => String(name)).filter((name) => !list.has(name));
    const known = (name: string) => name.startsWith('session_track_') || ['statement_id', 'gtid_next'].includes(name);
    for (const name of left.filter((one) => !known(one))) {
      await assert.rejects(admin.query(`SELECT @@SESSION.${name}`), { errno: 1238 }, name);
    }
    await admin.end();
  });

  await t.test('a GTID that a client chooses, whatever the text, is for nobody else', async () => {
    await onPrimary(`CREATE PROCEDURE one.choose(gtid VARCHAR(100)) SET @@SESSION.gtid_next = gtid`);
    const ways = [
      ["SET gtid_next='GTID'"],
      ["SET time_zone='+03:00', @@SESSION.gtid_next='GTID'"],
      ["PREPARE p FROM \"SET time_zone='+04:00', gtid_next='GTID'\"", 'EXECUTE p'],
      ["CALL one.choose('GTID')"],
    ];
    for (const [n, way] of ways.entries()) {
      const gtid = `dddddddd-0000-4000-a000-000000000001:${n + 1}`;
      const client = await mysql.createConnection(ek.login());
      for (const sql of way) await client.query(sql.replace('GTID', gtid));
      const others = await Promise.all(Array.from({ length: 8 }, () => mysql.createConnection(ek.login())));
      for (const other of others) await other.query('INSERT INTO one.own (client, n) VALUES (0, 0)');
      const [[mine]] = await client.query<Rows>('SELECT @@SESSION.gtid_next AS gtid');
      assert.equal(mine?.['gtid'], gtid);
      await client.query('ROLLBACK');
      await client.query("SET gtid_next='AUTOMATIC'");
      await Promise.all([client, ...others].map((one) => one.end()));
    }
  });
}
