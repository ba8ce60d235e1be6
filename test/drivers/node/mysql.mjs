// The old `mysql` driver as applications still use it: callbacks, text protocol, mysql_native_password.
import { promisify } from 'node:util';
import mysql from 'mysql';
import { fails, login, other, say } from './say.mjs';

const columns = (fields) =>
  fields.map((f) => [f.name, f.orgName, f.table, f.db, f.type, f.charsetNr, f.length, f.flags, f.decimals]);

function open(options = {}) {
  const connection = mysql.createConnection({ ...login, ...options });
  const call = (name) => promisify(connection[name].bind(connection));
  return {
    connection,
    ask: (sql, values) =>
      new Promise((resolve, reject) =>
        connection.query(sql, values, (error, rows) => (error ? reject(error) : resolve(rows))),
      ),
    fields: (sql) =>
      new Promise((resolve, reject) =>
        connection.query(sql, (error, _, fields) => (error ? reject(error) : resolve(fields))),
      ),
    connect: call('connect'),
    end: call('end'),
    begin: call('beginTransaction'),
    commit: call('commit'),
    rollback: call('rollback'),
    ping: call('ping'),
    changeUser: call('changeUser'),
    statistics: call('statistics'),
  };
}

async function types(db) {
  await db.ask(`CREATE TABLE things (
    id INT AUTO_INCREMENT PRIMARY KEY, big BIGINT, price DECIMAL(20,6), d DOUBLE, day DATE, at DATETIME, ts TIMESTAMP NULL, t TIME, y YEAR,
    name VARCHAR(100), raw BLOB, doc JSON, bits BIT(3), kind ENUM('a','b'), UNIQUE KEY name_key (name)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`);
  const row = {
    big: '9007199254740993',
    price: '1.500000',
    d: 0.1,
    day: '2024-02-29',
    at: '2024-02-29 13:14:15',
    ts: new Date(2024, 0, 2),
    t: '12:00:01',
    y: 1999,
    name: 'Zoë',
    raw: Buffer.from([0, 39, 92, 255]),
    doc: '{"a": 1}',
    bits: 5,
    kind: 'a',
  };
  say('inserted', await db.ask('INSERT INTO things SET ?', row));
  say('inserted nothing', await db.ask('INSERT INTO things SET name = ?', [null]));
  say(
    'bulk',
    await db.ask('INSERT INTO things (name, d) VALUES ?', [
      [
        ['n1', 1],
        ['n2', null],
      ],
    ]),
  );
  say('rows', await db.ask('SELECT * FROM things ORDER BY id'));
  say('columns', columns(await db.fields('SELECT things.*, 1 + 1 AS sum FROM things')));
  say(
    'escaped names',
    await db.ask('SELECT ?? FROM ?? WHERE ?? IN (?) ORDER BY 1', ['name', 'things', 'name', ['n1', 'n2', "x'\\"]]),
  );
  say(
    'nested',
    await db.ask({
      sql: 'SELECT t.id, o.id FROM things t JOIN things o USING (id) ORDER BY 1 LIMIT 2',
      nestTables: true,
    }),
  );
  say('update', await db.ask("UPDATE things SET d = 1 WHERE name LIKE 'n%'"));
  say('upsert', await db.ask("INSERT INTO things (name, d) VALUES ('n1', 7) ON DUPLICATE KEY UPDATE d = VALUES(d)"));
  say('replace', await db.ask("REPLACE INTO things (name, d) VALUES ('n1', 8)"));
  say('last insert id', await db.ask('SELECT LAST_INSERT_ID() AS id'));
}

async function transactions(db, second) {
  await db.ask('CREATE TABLE account (id INT PRIMARY KEY, amount INT) ENGINE=InnoDB');
  await db.begin();
  await db.ask('INSERT INTO account VALUES (1, 10)');
  await db.ask('SAVEPOINT s');
  await db.ask('INSERT INTO account VALUES (2, 10)');
  await db.ask('ROLLBACK TO s');
  say('inside and outside', [await db.ask('SELECT * FROM account'), await second.ask('SELECT * FROM account')]);
  await db.commit();
  await db.begin();
  await db.ask('DELETE FROM account');
  await db.rollback();
  say('after', await second.ask('SELECT * FROM account'));
  await db.begin();
  await db.ask('UPDATE account SET amount = 1');
  // DDL commits what went before.
  await db.ask('CREATE TABLE other_table (a INT, b VARCHAR(10))');
  await db.rollback();
  say('committed by DDL', await second.ask('SELECT * FROM account'));
}

async function errors(db) {
  await fails('syntax', () => db.ask('SELEC 1'));
  await fails('missing table', () => db.ask('SELECT * FROM missing'));
  await fails('duplicate key', () => db.ask("INSERT INTO things (name) VALUES ('n1')"));
  await fails('too long', () => db.ask("INSERT INTO things (kind) VALUES ('zz')"));
  say('after errors', await db.ask('SELECT 1 AS a'));
  say('ignored', await db.ask("INSERT IGNORE INTO things (kind, name) VALUES ('zz', 'w')"));
  say('warnings', await db.ask('SHOW WARNINGS'));
  await db.ask('SELECT SQL_CALC_FOUND_ROWS id FROM things LIMIT 1');
  say('found rows', await db.ask('SELECT FOUND_ROWS() AS n'));
  await db.ask("DELETE FROM things WHERE name = 'w'");
  say('row count', await db.ask('SELECT ROW_COUNT() AS n'));
  await db.ask("SET @a = 5, @b = 'ü'");
  say('user variables', await db.ask('SELECT @a AS a, @b AS b, @a := @a + 1 AS c'));
  say('user variable again', await db.ask('SELECT @a AS a'));
  await fails('a statement that takes too long', () => db.ask({ sql: 'SELECT SLEEP(3)', timeout: 200 }));
}

async function many() {
  const db = open({ multipleStatements: true });
  say(
    'several statements',
    await db.ask("SELECT 1 AS a; SET @x = 3; SELECT @x AS x; INSERT INTO other_table VALUES (1, 'o')"),
  );
  await fails('the second of three fails', () => db.ask('SELECT 1; SELECT * FROM missing; SELECT 3'));
  await db.ask(
    'CREATE PROCEDURE sums(IN n INT, OUT twice INT) BEGIN SELECT n AS n; SELECT n AS a, n * n AS b; SET twice = 2 * n; END',
  );
  say('a procedure', await db.ask('CALL sums(3, @out); SELECT @out AS o'));
  const rows = [];
  await new Promise((resolve, reject) => {
    db.connection
      .query('SELECT * FROM information_schema.character_sets ORDER BY 1')
      .on('result', (row) => {
        db.connection.pause();
        rows.push(row);
        setImmediate(() => db.connection.resume());
      })
      .on('end', resolve)
      .on('error', reject);
  });
  say('streamed', rows.length);
  await db.end();
}

async function pooled() {
  const pool = mysql.createPool({ ...login, connectionLimit: 5 });
  const get = promisify(pool.getConnection.bind(pool));
  const answers = await Promise.all(
    Array.from({ length: 30 }, async (_, i) => {
      const db = await get();
      const ask = promisify(db.query.bind(db));
      try {
        await ask('SET @mine = ?', [i]);
        await ask('START TRANSACTION');
        await ask('INSERT INTO other_table VALUES (?, ?)', [100 + i, `p${i}`]);
        const [row] = await ask('SELECT @mine AS m');
        await ask(i % 2 ? 'COMMIT' : 'ROLLBACK');
        return [i, row.m];
      } finally {
        db.release();
      }
    }),
  );
  say('each its own variables', answers);
  say('what was committed', await promisify(pool.query.bind(pool))('SELECT a FROM other_table ORDER BY a'));
  await promisify(pool.end.bind(pool))();
}

const db = open();
const second = open({
  charset: 'LATIN1_SWEDISH_CI',
  dateStrings: true,
  supportBigNumbers: true,
  bigNumberStrings: true,
  flags: '-FOUND_ROWS',
});
await db.connect();
say(
  'the session as it begins',
  await db.ask(
    'SELECT @@character_set_client cs, @@collation_connection co, @@sql_mode m, @@autocommit a, DATABASE() db',
  ),
);
say(
  'with options',
  await second.ask(
    "SELECT @@character_set_client cs, @@collation_connection co, CAST('9007199254740993' AS SIGNED) AS big, 'é' AS e, HEX('é') AS h",
  ),
);
await fails('a wrong password', () => open({ password: 'wrong' }).connect());
await fails('a schema that is not there', () => open({ database: 'd_missing' }).connect());
await types(db);
say('affected, not found, rows', await second.ask("UPDATE things SET d = d WHERE name LIKE 'n%'"));
await transactions(db, second);
await errors(second);
const third = open();
await many();
await pooled();
await third.ping();
await third.ask('SET @kept = 1');
await third.changeUser({ user: other.user, password: other.password });
say('another user', await third.ask('SELECT CURRENT_USER() AS u, DATABASE() AS db, @kept AS v'));
say('statistics', typeof (await third.statistics()).uptime);
await third.end();
await db.end();
