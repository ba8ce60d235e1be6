// mysql2 as applications use it: the promise API, a pool, text and prepared statements, streams.
import { Readable } from 'node:stream';
import plainMysql from 'mysql2';
import mysql from 'mysql2/promise';
import { fails, login, other, say } from './say.mjs';

const isMariadb = (version) => /mariadb/i.test(version);

async function connecting() {
  const connection = await mysql.createConnection(login);
  const [[row]] = await connection.query(
    'SELECT VERSION() AS version, @@version_comment AS comment, CONNECTION_ID() AS id, DATABASE() AS db, USER() LIKE ? AS user',
    [`${login.user}@%`],
  );
  say('the connection id is the one of the handshake', row.id === connection.threadId);
  say('the first answers', { ...row, id: 0 });
  const [[settings]] = await connection.query(
    `SELECT @@character_set_client cs, @@collation_connection co, @@sql_mode m, @@time_zone tz, @@autocommit a,
            @@max_allowed_packet p, @@net_write_timeout w, @@wait_timeout t, @@${isMariadb(row.version) ? 'tx' : 'transaction'}_isolation i`,
  );
  say('the session as it begins', settings);
  await connection.ping();
  await connection.end();
  const latin = await mysql.createConnection({
    ...login,
    charset: 'latin1_swedish_ci',
    timezone: 'Z',
    dateStrings: true,
  });
  say(
    'another character set',
    (await latin.query("SELECT @@character_set_client cs, @@collation_connection co, HEX('ü') h"))[0],
  );
  await latin.query('SET NAMES utf8mb4 COLLATE utf8mb4_unicode_ci');
  say(
    'SET NAMES',
    (await latin.query("SELECT @@character_set_client cs, @@collation_connection co, 'x' = 'X' AS same"))[0],
  );
  await latin.end();
  await fails('a wrong password', async () => {
    await mysql.createConnection({ ...login, password: 'wrong' });
  });
  await fails('a schema that is not there', async () => {
    await mysql.createConnection({ ...login, database: 'd_missing' });
  });
}

async function types(db) {
  await db.query(`CREATE TABLE things (
    id INT AUTO_INCREMENT PRIMARY KEY, small TINYINT, big BIGINT, huge BIGINT UNSIGNED, price DECIMAL(20,6), f FLOAT, d DOUBLE,
    day DATE, at DATETIME(6), ts TIMESTAMP NULL, t TIME(3), y YEAR, name VARCHAR(100) CHARACTER SET utf8mb4, txt TEXT,
    raw BLOB, fixed BINARY(4), doc JSON, bits BIT(10), kind ENUM('a','b'), tags SET('x','y','z'), UNIQUE KEY name_key (name)) ENGINE=InnoDB`);
  await db.query("SET time_zone = '+00:00'");
  const values = [
    [
      -128,
      '-9223372036854775808',
      '18446744073709551615',
      '12345678901234.123456',
      1.5,
      0.1,
      '2024-02-29',
      '2024-02-29 13:14:15.123456',
      '2024-02-29 13:14:15',
      '-12:34:56.789',
      2024,
      'Zoë 🐘',
      'text',
      Buffer.from([0, 255, 39, 92]),
      Buffer.from('ab'),
      '{"a": [1, null, "ü"]}',
      5,
      'b',
      'x,z',
    ],
    Array(19).fill(null),
  ];
  const columns = 'small,big,huge,price,f,d,day,at,ts,t,y,name,txt,raw,fixed,doc,bits,kind,tags';
  for (const row of values) {
    const [text] = await db.query(`INSERT INTO things (${columns}) VALUES (?)`, [row]);
    say('inserted as text', text);
    const [prepared] = await db.execute(
      `INSERT INTO things (${columns}) VALUES (${row.map(() => '?').join()})`,
      row.map((v, i) => (i === 11 && v !== null ? `${v} 2` : v)),
    );
    say('inserted prepared', prepared);
  }
  for (const way of ['query', 'execute']) {
    const [rows, fields] = await db[way]('SELECT * FROM things ORDER BY id');
    say(`rows by ${way}`, rows);
    say(
      `columns by ${way}`,
      fields.map((f) => [
        f.name,
        f.columnType,
        f.characterSet,
        f.columnLength,
        f.flags,
        f.decimals,
        f.table,
        f.schema,
        f.orgName,
      ]),
    );
  }
  const [array] = await db.query({ sql: 'SELECT 1 AS a, 2 AS a', rowsAsArray: true });
  say('two columns of one name', array);
  const [nested] = await db.query({
    sql: 'SELECT things.id, o.id FROM things JOIN things o USING (id) ORDER BY 1',
    nestTables: '_',
  });
  say('nested tables', nested);
  say(
    'bulk insert',
    (
      await db.query('INSERT INTO things (small, name) VALUES ?', [
        [
          [1, 'n1'],
          [2, 'n2'],
          [3, 'n3'],
        ],
      ])
    )[0],
  );
  say('update counts found rows', (await db.query('UPDATE things SET small = 1 WHERE name LIKE ?', ['n%']))[0]);
  say(
    'upsert',
    (
      await db.query(
        "INSERT INTO things (name, small) VALUES ('n1', 7) ON DUPLICATE KEY UPDATE small = VALUES(small), id = LAST_INSERT_ID(id)",
      )
    )[0],
  );
  say('last insert id', (await db.query('SELECT LAST_INSERT_ID() AS id'))[0]);
}

async function prepared(db) {
  const statement = await db.prepare('SELECT ? AS a, ? + 1 AS b, CONCAT(?, ?) AS c');
  for (const set of [
    [1, 2, 'x', 'y'],
    [null, 2, null, 'y'],
    ['text', 2.5, 'ü', '🐘'],
    [new Date(Date.UTC(2024, 0, 2, 3, 4, 5)), null, Buffer.from('b'), ''],
    [true, false, '', 'z'],
  ]) {
    say('executed', (await statement.execute(set))[0]);
  }
  for (let i = 0; i < 50; i++) await statement.execute([i, i % 3 === 0 ? null : i, `${i}`, 'n']);
  say('executed after many', (await statement.execute([9, 9, '9', '9']))[0]);
  await statement.close();
  say(
    'a date as a value',
    (
      await db.execute('SELECT DATE_ADD(?, INTERVAL 1 DAY) AS d, ? AS s', [
        new Date(Date.UTC(2024, 0, 2, 3, 4, 5)),
        'x',
      ])
    )[0].length,
  );
  await fails('executed after close', async () => (await statement.execute([1, 2, 'x', 'y']))[0]);
  for (let i = 0; i < 40; i++) {
    const [[row]] = await db.execute(`SELECT ${i} + ? AS n`, [i]);
    if (Number(row.n) !== 2 * i) say('wrong sum', { i, n: row.n });
  }
  await fails('prepare of nonsense', async () => await db.prepare('SELEC ?'));
  await fails('too few values', async () => await db.execute('SELECT ?, ?', [1]));
  say(
    'a schema change under a prepared statement',
    (await db.execute('SELECT * FROM changing', []).catch((e) => [e.code]))[0],
  );
  await db.query('CREATE TABLE changing (a INT)');
  await db.query('INSERT INTO changing VALUES (1)');
  say('before', (await db.execute('SELECT * FROM changing'))[0]);
  await db.query("ALTER TABLE changing ADD COLUMN b VARCHAR(10) DEFAULT 'new'");
  say('after', (await db.execute('SELECT * FROM changing'))[0]);
}

async function transactions(db, second) {
  await db.query('CREATE TABLE account (id INT PRIMARY KEY, amount INT NOT NULL) ENGINE=InnoDB');
  await db.query('INSERT INTO account VALUES (1, 100), (2, 100)');
  await db.beginTransaction();
  await db.execute('UPDATE account SET amount = amount - ? WHERE id = ?', [30, 1]);
  say('seen from outside', (await second.query('SELECT * FROM account'))[0]);
  await db.query('SAVEPOINT one');
  await db.execute('UPDATE account SET amount = 0 WHERE id = ?', [2]);
  await db.query('ROLLBACK TO SAVEPOINT one');
  await db.commit();
  say('after commit', (await second.query('SELECT * FROM account'))[0]);
  await db.query('SET autocommit = 0');
  await db.query('DELETE FROM account');
  say('inside', (await db.query('SELECT COUNT(*) AS n FROM account'))[0]);
  await db.rollback();
  await db.query('SET autocommit = 1');
  say('after rollback', (await db.query('SELECT COUNT(*) AS n FROM account'))[0]);
  await db.query('SET TRANSACTION ISOLATION LEVEL READ COMMITTED');
  await db.beginTransaction();
  say('first read', (await db.query('SELECT amount FROM account WHERE id = 1'))[0]);
  await second.query('UPDATE account SET amount = amount + 1 WHERE id = 1');
  say('read committed', (await db.query('SELECT amount FROM account WHERE id = 1'))[0]);
  await db.commit();
  await db.beginTransaction();
  say('first read', (await db.query('SELECT amount FROM account WHERE id = 1'))[0]);
  await second.query('UPDATE account SET amount = amount + 1 WHERE id = 1');
  say('repeatable read again', (await db.query('SELECT amount FROM account WHERE id = 1'))[0]);
  await db.commit();
  await db.query('START TRANSACTION READ ONLY');
  await fails('a write in a read-only transaction', async () => await db.query('DELETE FROM account'));
  await db.query('COMMIT');
  await db.query('SET SESSION innodb_lock_wait_timeout = 1');
  await second.beginTransaction();
  await second.query('SELECT * FROM account WHERE id = 1 FOR UPDATE');
  await fails('a lock that is not given', async () => await db.query('UPDATE account SET amount = 1 WHERE id = 1'));
  await second.rollback();
}

async function errors(db) {
  await fails('syntax', async () => await db.query('SELEC 1'));
  await fails('missing table', async () => await db.query('SELECT * FROM missing'));
  await fails('missing column', async () => await db.execute('SELECT missing FROM things'));
  await fails('duplicate key', async () => await db.query("INSERT INTO things (name) VALUES ('n1')"));
  await fails('too long', async () => await db.execute('INSERT INTO things (name) VALUES (?)', ['x'.repeat(200)]));
  await fails(
    'signal',
    async () => await db.query("SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'own words', MYSQL_ERRNO = 3999"),
  );
  await fails('two statements without asking', async () => await db.query('SELECT 1; SELECT 2'));
  await db.query('SELECT 1/0, CAST("12x" AS SIGNED)');
  say('warnings', (await db.query('SHOW WARNINGS'))[0]);
  say('count of warnings', (await db.query('SELECT @@warning_count AS n'))[0]);
  await db.query('INSERT IGNORE INTO things (name) VALUES ("n1"), ("n4")');
  say('row count', (await db.query('SELECT ROW_COUNT() AS n'))[0]);
  await db.query('SELECT SQL_CALC_FOUND_ROWS id FROM things ORDER BY id LIMIT 2');
  say('found rows', (await db.query('SELECT FOUND_ROWS() AS n'))[0]);
  await db.query('SET @a = 1, @b = "ü", @c = NULL, @d = 1.50, @e = x\'00ff\'');
  await db.query('SELECT @f := COUNT(*) FROM account');
  say('user variables', (await db.query('SELECT @a a, @b b, @c c, @d d, @e e, @f f, @unset u'))[0]);
  await db.query('SELECT 1 INTO @g');
  say('prepared with a user variable', (await db.execute('SELECT @g + ? AS n', [1]))[0]);
  await db.query("SET SESSION sql_mode = 'ANSI_QUOTES'");
  say('ANSI quotes', (await db.query('SELECT "id" FROM things ORDER BY "id" LIMIT 1'))[0]);
  await db.query('SET SESSION sql_mode = DEFAULT');
}

async function many() {
  const db = await mysql.createConnection({ ...login, multipleStatements: true });
  const [results] = await db.query(
    "SELECT 1 AS a; INSERT INTO changing VALUES (2, 'x'); SELECT COUNT(*) AS n FROM changing; SET @m = 4; SELECT @m AS m",
  );
  say('several statements', results);
  await fails('the second of three fails', async () => await db.query('SELECT 1; SELECT * FROM missing; SELECT 3'));
  await db.query(
    'CREATE PROCEDURE sums(IN n INT, OUT twice INT, INOUT both_ways INT) BEGIN SELECT n AS n; SELECT n AS a, n * n AS b UNION SELECT 0, 0; SET twice = 2 * n; SET both_ways = both_ways + n; END',
  );
  await db.query('SET @io = 10');
  say('a procedure', (await db.query('CALL sums(3, @out, @io)'))[0]);
  say('its OUT parameters', (await db.query('SELECT @out, @io'))[0]);
  say('a procedure, prepared', (await db.execute('CALL sums(?, @out, @io)', [4]))[0]);
  say('its OUT parameters', (await db.query('SELECT @out, @io'))[0]);
  say(
    'LOAD DATA LOCAL',
    (
      await db.query({
        sql: "LOAD DATA LOCAL INFILE 'any' INTO TABLE changing FIELDS TERMINATED BY ','",
        infileStreamFactory: () => Readable.from([Buffer.from('10,ten\n11,eleven\n12,'), Buffer.from('twelve\n')]),
      })
    )[0],
  );
  say('loaded', (await db.query('SELECT * FROM changing ORDER BY a'))[0]);
  await db.end();
}

async function streaming() {
  const db = plainMysql.createConnection(login);
  const ask = (sql) =>
    new Promise((resolve, reject) => db.query(sql, (error, rows) => (error ? reject(error) : resolve(rows))));
  await ask('CREATE TABLE numbers (n INT PRIMARY KEY, filler VARCHAR(200))');
  for (let from = 0; from < 3000; from += 500) {
    await ask(
      `INSERT INTO numbers VALUES ${Array.from({ length: 500 }, (_, i) => `(${from + i}, REPEAT('x', 150))`).join()}`,
    );
  }
  let sum = 0;
  for await (const row of db.query('SELECT * FROM numbers').stream({ highWaterMark: 5 }))
    sum += row.n + row.filler.length;
  say('streamed', sum);
  sum = 0;
  for await (const row of db.execute('SELECT * FROM numbers WHERE n < ?', [1000]).stream()) sum += row.n;
  say('streamed, prepared', sum);
  const [[large]] = [await ask("SELECT REPEAT('a', 5000000) AS a")];
  say('a large value', large.a.length);
  await new Promise((resolve) => db.end(resolve));
}

async function pooled() {
  const pool = mysql.createPool({ ...login, connectionLimit: 6 });
  const answers = await Promise.all(
    Array.from({ length: 40 }, async (_, i) => {
      const db = await pool.getConnection();
      try {
        await db.query('SET @mine = ?, time_zone = ?', [i, i % 2 ? '+02:00' : '-03:00']);
        await db.beginTransaction();
        const [[a]] = await db.execute('SELECT @mine + ? AS n, @@time_zone AS tz', [1000]);
        await db.execute('INSERT INTO changing VALUES (?, ?)', [100 + i, `p${i}`]);
        const [[b]] = await db.query('SELECT COUNT(*) AS n FROM changing WHERE a = ?', [100 + i]);
        if (i % 3 === 0) await db.rollback();
        else await db.commit();
        return [i, a.n, a.tz, b.n];
      } finally {
        db.release();
      }
    }),
  );
  say('each its own variables', answers);
  say(
    'what was committed',
    (await pool.query('SELECT a FROM changing WHERE a >= 100 ORDER BY a'))[0].map((row) => row.a),
  );
  await pool.end();
}

async function changing(db) {
  await db.query("SET @kept = 1, time_zone = '+05:00'");
  await db.changeUser({ user: other.user, password: other.password, database: login.database });
  say(
    'another user',
    (
      await db.query('SELECT CURRENT_USER() AS u, DATABASE() = ? AS db, @kept AS v, @@time_zone AS tz', [
        login.database,
      ])
    )[0],
  );
  await fails('not for that user', async () => await db.query('DROP TABLE changing'));
  await db.changeUser({ ...login });
  if (typeof db.reset === 'function') {
    await db.query('SET @kept = 2');
    await db.reset();
    say('after reset', (await db.query('SELECT @kept AS v, DATABASE() = ? AS db', [login.database]))[0]);
  }
  await db.query('CREATE TEMPORARY TABLE scratch (a INT)');
  await db.query('INSERT INTO scratch VALUES (1), (2)');
  say('temporary table', (await db.query('SELECT SUM(a) AS s FROM scratch'))[0]);
  await db.query('DROP TEMPORARY TABLE scratch');
  say('named lock', (await db.query("SELECT GET_LOCK(CONCAT(DATABASE(), 'l'), 1) AS l"))[0]);
  say('named lock, released', (await db.query("SELECT RELEASE_LOCK(CONCAT(DATABASE(), 'l')) AS l"))[0]);
  await db.query('LOCK TABLES changing WRITE');
  await fails('a table that is not locked', async () => await db.query('SELECT * FROM account'));
  await db.query('UNLOCK TABLES');
  say(
    'columns',
    (
      await db.query(
        'SELECT column_name AS c, column_type AS t, is_nullable AS n FROM information_schema.columns WHERE table_schema = DATABASE() ORDER BY table_name, ordinal_position',
      )
    )[0],
  );
  say('SHOW', [
    (await db.query('SHOW TABLES'))[0],
    (await db.query('SHOW COLUMNS FROM things'))[0],
    (await db.query('SHOW CREATE TABLE changing'))[0],
    (await db.query("SHOW VARIABLES LIKE 'autocommit'"))[0],
  ]);
  await db.query('USE information_schema');
  say('USE', (await db.query('SELECT DATABASE() AS db'))[0]);
  await db.query(`USE ${login.database}`);
}

await connecting();
const db = await mysql.createConnection(login);
const second = await mysql.createConnection(login);
await types(db);
await prepared(db);
await transactions(db, second);
await errors(db);
await many();
await streaming();
await pooled();
await changing(db);
await db.end();
await second.end();
