// The MariaDB connector for Node.js as applications use it: promises, pools, batches, pipelined statements, streams.
import mariadb from 'mariadb';
import { fails, login, other, say } from './say.mjs';

/** Rows carry their columns as `meta`; those are said on their own. */
const rowsOf = (rows) => (Array.isArray(rows) ? rows.map((row) => (Array.isArray(row) ? rowsOf(row) : row)) : rows);
const metaOf = (rows) =>
  rows.meta.map((c) => [
    c.name(),
    c.orgName(),
    c.table(),
    c.db(),
    c.type,
    c.columnLength,
    c.flags,
    c.scale,
    c.collation?.name,
  ]);

async function types(db) {
  await db.query(`CREATE TABLE things (
    id BIGINT AUTO_INCREMENT PRIMARY KEY, small TINYINT(1), big BIGINT, price DECIMAL(20,6), d DOUBLE, day DATE, at DATETIME(6),
    t TIME, y YEAR, name VARCHAR(100), raw BLOB, doc JSON, bits BIT(1), kind ENUM('a','b'), UNIQUE KEY name_key (name))
    ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`);
  const row = [
    1,
    9007199254740993n,
    '12345678901234.123456',
    0.1,
    '2024-02-29',
    '2024-02-29 13:14:15.123456',
    '-12:34:56',
    2024,
    'Zoë 🐘',
    Buffer.from([0, 255, 39]),
    { a: [1, null, 'ü'] },
    true,
    'b',
  ];
  const columns = 'small,big,price,d,day,at,t,y,name,raw,doc,bits,kind';
  const marks = row.map(() => '?').join();
  say('inserted', await db.query(`INSERT INTO things (${columns}) VALUES (${marks})`, row));
  say(
    'inserted prepared',
    await db.execute(
      `INSERT INTO things (${columns}) VALUES (${marks})`,
      row.map((v) => (v === 'Zoë 🐘' ? null : v)),
    ),
  );
  say(
    'inserted nothing',
    await db.execute(
      `INSERT INTO things (${columns}) VALUES (${marks})`,
      row.map(() => null),
    ),
  );
  for (const way of ['query', 'execute']) {
    const rows = await db[way]('SELECT * FROM things ORDER BY id');
    say(`rows by ${way}`, rowsOf(rows));
    say(`columns by ${way}`, metaOf(rows));
  }
  say(
    'as numbers and strings',
    rowsOf(
      await db.query({
        sql: 'SELECT big, price, day, at FROM things',
        bigIntAsNumber: true,
        decimalAsNumber: true,
        dateStrings: true,
      }),
    ),
  );
  say('rows as arrays', rowsOf(await db.query({ sql: 'SELECT id, name FROM things ORDER BY id', rowsAsArray: true })));
  say(
    'nested',
    rowsOf(
      await db.query({ sql: 'SELECT t.id, o.id FROM things t JOIN things o USING (id) ORDER BY 1', nestTables: true }),
    ),
  );
  say(
    'a batch',
    await db.batch('INSERT INTO things (small, name) VALUES (?, ?)', [
      [1, 'n1'],
      [0, 'n2'],
      [null, 'n3'],
    ]),
  );
  await db.query('SET autocommit = 1');
  say(
    'a batch with names',
    await db.batch({ namedPlaceholders: true, sql: 'UPDATE things SET small = :s WHERE name = :n' }, [
      { s: 0, n: 'n1' },
      { s: 1, n: 'n9' },
    ]),
  );
  say(
    'returned',
    await db.query("INSERT INTO things (name) VALUES ('r1') RETURNING id, name").then(rowsOf, (error) => error.errno),
  );
  say('last insert id', rowsOf(await db.query('SELECT LAST_INSERT_ID() AS id')));
}

async function prepared(db) {
  const statement = await db.prepare('SELECT ? AS a, ? + 1 AS b, CONCAT(?, ?) AS c');
  for (const set of [
    [1, 2, 'x', 'y'],
    [null, 2, null, 'y'],
    ['text', 2.5, 'ü', '🐘'],
    [10n, null, '', 'z'],
  ])
    say('executed', rowsOf(await statement.execute(set)));
  for (let i = 0; i < 60; i++) await statement.execute([i, i % 3 === 0 ? null : i, `${i}`, 'n']);
  say('executed after many', rowsOf(await statement.execute([9, 9, '9', '9'])));
  statement.close();
  // More statements than the driver keeps prepared.
  let sum = 0;
  for (let i = 0; i < 300; i++) sum += Number((await db.execute(`SELECT ${i} + ? AS n`, [1]))[0].n);
  say('three hundred statements', sum);
  await fails('prepare of nonsense', async () => await db.prepare('SELEC ?'));
  await db.query('CREATE TABLE changing (a INT)');
  await db.query('INSERT INTO changing VALUES (1)');
  say('before', rowsOf(await db.execute('SELECT * FROM changing')));
  await db.query("ALTER TABLE changing ADD COLUMN b VARCHAR(10) DEFAULT 'new'");
  say('after', rowsOf(await db.execute('SELECT * FROM changing')));
}

async function transactions(db, second) {
  await db.query('CREATE TABLE account (id INT PRIMARY KEY, amount INT NOT NULL) ENGINE=InnoDB');
  await db.query('INSERT INTO account VALUES (1, 100), (2, 100)');
  await db.beginTransaction();
  await db.execute('UPDATE account SET amount = amount - ? WHERE id = ?', [30, 1]);
  say('seen from outside', rowsOf(await second.query('SELECT * FROM account')));
  await db.query('SAVEPOINT one');
  await db.execute('UPDATE account SET amount = 0');
  await db.query('ROLLBACK TO one');
  await db.query('RELEASE SAVEPOINT one');
  await db.commit();
  say('after commit', rowsOf(await second.query('SELECT * FROM account')));
  await db.beginTransaction();
  await db.query('DELETE FROM account');
  await db.rollback();
  say('after rollback', rowsOf(await second.query('SELECT COUNT(*) AS n FROM account')));
  await db.query('SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE');
  await db.query('SET SESSION TRANSACTION READ ONLY');
  await db.beginTransaction();
  await fails('a read-only transaction', async () => await db.query('DELETE FROM account'));
  await db.rollback();
  await db.query('SET SESSION TRANSACTION READ WRITE');
  await db.query('SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ');
}

async function errors(db) {
  await fails('syntax', async () => await db.query('SELEC 1'));
  await fails('missing table', async () => await db.query('SELECT * FROM missing'));
  await fails('duplicate key', async () => await db.query("INSERT INTO things (name) VALUES ('n1')"));
  await fails('duplicate key, prepared', async () => await db.execute('INSERT INTO things (name) VALUES (?)', ['n1']));
  await fails(
    'duplicate key in a batch',
    async () => await db.batch('INSERT INTO things (name) VALUES (?)', [['m1'], ['n1'], ['m2']]),
  );
  await fails('foreign key', async () => {
    await db.query(
      'CREATE TABLE child (id INT PRIMARY KEY, parent INT, FOREIGN KEY (parent) REFERENCES account (id)) ENGINE=InnoDB',
    );
    await db.query('INSERT INTO child VALUES (1, 77)');
  });
  const answer = await db.query("INSERT IGNORE INTO things (name) VALUES ('n1')");
  say('warnings', [answer, rowsOf(await db.query('SHOW WARNINGS'))]);
  await db.query('SELECT SQL_CALC_FOUND_ROWS id FROM things LIMIT 1');
  say('found rows', rowsOf(await db.query('SELECT FOUND_ROWS() AS n')));
  await db.query('SET @a = 1, @b = "ü", @c = NULL, @d = 1.5');
  say('user variables', rowsOf(await db.query('SELECT @a a, @b b, @c c, @d d, @unset u')));
  await fails('a statement that takes too long', async () => await db.query({ sql: 'SELECT SLEEP(5)', timeout: 300 }));
  say('and the next', rowsOf(await db.query('SELECT 1 AS a')));
}

async function many() {
  const db = await mariadb.createConnection({
    ...login,
    multipleStatements: true,
    timezone: 'Z',
    insertIdAsNumber: true,
  });
  say(
    'several statements',
    rowsOf(await db.query("SELECT 1 AS a; INSERT INTO changing VALUES (2, 'x'); SELECT COUNT(*) AS n FROM changing")),
  );
  await fails('the second of three fails', async () => await db.query('SELECT 1; SELECT * FROM missing; SELECT 3'));
  await db.query(
    'CREATE PROCEDURE sums(IN n INT, OUT twice INT) BEGIN SELECT n AS n; SELECT n AS a, n * n AS b UNION SELECT 0, 0; SET twice = 2 * n; END',
  );
  say('a procedure', rowsOf(await db.query('CALL sums(3, @out)')));
  say('its OUT parameter', rowsOf(await db.query('SELECT @out AS o')));
  say('a procedure, prepared', rowsOf(await db.execute('CALL sums(?, ?)', [4, null])));
  // Sent without waiting, as the driver's pipelining does by default.
  const answers = await Promise.all(
    Array.from({ length: 30 }, (_, i) =>
      i % 7 === 3
        ? db.query('SELECT missing').catch((error) => error.errno)
        : db.query('SELECT ? AS n', [i]).then(rowsOf),
    ),
  );
  say('pipelined', answers);
  await db.end();
  const bulk = await mariadb.createConnection({ ...login, bulk: true, pipelining: false });
  say(
    'bulk',
    await bulk.batch(
      'INSERT INTO changing VALUES (?, ?)',
      Array.from({ length: 200 }, (_, i) => [1000 + i, i % 5 ? `b${i}` : null]),
    ),
  );
  say(
    'bulk arrived',
    rowsOf(await bulk.query('SELECT COUNT(*) AS n, COUNT(b) AS b, SUM(a) AS s FROM changing WHERE a >= 1000')),
  );
  await bulk.end();
}

async function streaming(db) {
  await db.query('CREATE TABLE numbers (n INT PRIMARY KEY, filler VARCHAR(200))');
  await db.batch(
    'INSERT INTO numbers VALUES (?, ?)',
    Array.from({ length: 2000 }, (_, i) => [i, 'x'.repeat(150)]),
  );
  let sum = 0;
  for await (const row of db.queryStream('SELECT * FROM numbers')) sum += row.n + row.filler.length;
  say('streamed', sum);
  say('a large value', (await db.query('SELECT ? AS a', [Buffer.alloc(3_000_000, 97)]))[0].a.length);
}

async function pooled() {
  const pool = mariadb.createPool({ ...login, connectionLimit: 5, resetAfterUse: true });
  const answers = await Promise.all(
    Array.from({ length: 30 }, async (_, i) => {
      const db = await pool.getConnection();
      try {
        await db.query('SET @mine = ?', [i]);
        await db.beginTransaction();
        await db.execute('INSERT INTO changing VALUES (?, ?)', [2000 + i, `p${i}`]);
        const [a] = await db.execute('SELECT @mine + ? AS n', [1000]);
        if (i % 3 === 0) await db.rollback();
        else await db.commit();
        return [i, a.n];
      } finally {
        await db.release();
      }
    }),
  );
  say('each its own variables', answers);
  say(
    'what was committed',
    (await pool.query('SELECT a FROM changing WHERE a >= 2000 ORDER BY a')).map((row) => row.a),
  );
  await pool.end();
}

async function changing(db) {
  await db.query("SET @kept = 1, time_zone = '+05:00'");
  // The driver refuses to do this on MySQL.
  if (db.info.isMariaDB()) await anotherUser(db);
  await db.query('SET @kept = 2');
  await db.reset();
  say('after reset', rowsOf(await db.query('SELECT @kept AS v, DATABASE() AS db')));
  await db.query('CREATE TEMPORARY TABLE scratch AS SELECT 1 AS a UNION SELECT 2');
  say('temporary table', rowsOf(await db.query('SELECT SUM(a) AS s FROM scratch')));
  await db.reset();
  await fails('the temporary table after reset', async () => await db.query('SELECT * FROM scratch'));
  await db.ping();
  say('server version', [db.serverVersion(), db.info.isMariaDB()]);
  await db.importFile({ file: new URL('./dump.sql', import.meta.url).pathname });
  say('imported', rowsOf(await db.query('SELECT * FROM imported ORDER BY id')));
}

async function anotherUser(db) {
  await db.changeUser({ user: other.user, password: other.password, database: login.database });
  say('another user', rowsOf(await db.query('SELECT CURRENT_USER() AS u, DATABASE() AS db, @kept AS v')));
  await fails('not for that user', async () => await db.query('DROP TABLE changing'));
  await db.changeUser({ user: login.user, password: login.password, database: login.database });
}

const db = await mariadb.createConnection(login);
const second = await mariadb.createConnection({
  ...login,
  initSql: ["SET @init = 'done'"],
  sessionVariables: { wait_timeout: 9000 },
});
say(
  'the session as it begins',
  rowsOf(
    await db.query(
      'SELECT @@character_set_client cs, @@collation_connection co, @@sql_mode m, @@time_zone tz, @@autocommit a, DATABASE() db',
    ),
  ),
);
say('with settings of its own', rowsOf(await second.query('SELECT @init AS i, @@wait_timeout AS w')));
await fails('a wrong password', async () => {
  await mariadb.createConnection({ ...login, password: 'wrong' });
});
await types(db);
await prepared(db);
await transactions(db, second);
await errors(db);
await many();
await streaming(db);
await pooled();
await changing(db);
await db.end();
await second.end();
