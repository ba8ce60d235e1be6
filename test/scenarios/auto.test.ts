// `route: auto` on real servers: what leaves the primary, and that a session never reads what is older than its own writes,
// whichever replica answers, however far behind it is, and whoever is the primary by then.
import assert from 'node:assert/strict';
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise';
import { freePorts } from '../../src/sandbox/index.ts';
import {
  autoEndpoints,
  directly,
  type Evenkeel,
  holdBack,
  leavesPrimary,
  replicated,
  selectsOn,
  stories,
  through,
  until,
} from './harness/index.ts';

const [port = 0, globalPort = 0] = await freePorts(2);
const OPTIONS = {
  replication: 'semisync',
  nodes: 3,
  workers: 1,
  endpoints: autoEndpoints(port, globalPort),
} as const;

const clientOf = (evenkeel: Evenkeel): Promise<Connection> => mysql.createConnection({ ...evenkeel.login(), port });

const rowsOf = async (client: Connection, sql: string): Promise<Record<string, unknown>[]> =>
  (await client.query<RowDataPacket[]>(sql))[0];

stories('reads leave the primary', OPTIONS, {
  'each alone, while writes, locks and what is asked of the server stay': async (evenkeel) => {
    await through(evenkeel, 'CREATE TABLE things (id INT PRIMARY KEY, n INT)', 'INSERT INTO things VALUES (1, 0)');
    const client = await clientOf(evenkeel);
    const primary = await evenkeel.primary();
    assert.ok(await leavesPrimary(evenkeel, 200, () => client.query('SELECT n FROM things')));
    assert.ok(await leavesPrimary(evenkeel, 200, () => client.execute('SELECT n FROM things WHERE id = ?', [1])));
    const written = (n: number): Promise<unknown> =>
      client.query(`UPDATE things SET n = ${n} WHERE id = 1`).then(() => client.query('SELECT n FROM things'));
    assert.ok(await leavesPrimary(evenkeel, 100, written), 'after writes, too');
    for (const sql of ['SELECT n FROM things FOR UPDATE', 'SELECT @@port, n FROM things']) {
      assert.ok(!(await leavesPrimary(evenkeel, 50, () => client.query(sql))), sql);
    }
    assert.deepEqual(await rowsOf(client, 'SELECT @@port AS port'), [{ port: primary.port }]);
    await client.query('BEGIN');
    assert.ok(!(await leavesPrimary(evenkeel, 50, () => client.query('SELECT n FROM things'))));
    await client.query('COMMIT');
    await client.query('START TRANSACTION READ ONLY');
    const [first] = await rowsOf(client, 'SELECT @@port AS port');
    assert.notEqual(first?.['port'], primary.port);
    assert.ok(await leavesPrimary(evenkeel, 50, () => client.query('SELECT n FROM things')));
    assert.deepEqual(await rowsOf(client, 'SELECT @@port AS port'), [first]);
    await client.query('COMMIT');
    await client.query('START TRANSACTION READ ONLY');
    assert.deepEqual(await rowsOf(client, 'SELECT n FROM things'), [{ n: 99 }]);
    // What a replica must not have moves the whole of it to the primary.
    assert.deepEqual(await rowsOf(client, "SELECT GET_LOCK('mine', 1) AS got"), [{ got: 1 }]);
    assert.deepEqual(await rowsOf(client, 'SELECT @@port AS port'), [{ port: primary.port }]);
    await assert.rejects(client.query('UPDATE things SET n = 0'), { errno: 1792 });
    await client.query('COMMIT');
    await client.query("SELECT RELEASE_LOCK('mine')");
    await client.end();
  },

  'what a session has built up, and what it asks of its last statement, is there wherever it reads': async (
    evenkeel,
  ) => {
    await through(evenkeel, 'CREATE TABLE words (id INT AUTO_INCREMENT PRIMARY KEY, word VARCHAR(20))');
    const client = await clientOf(evenkeel);
    await client.query("SET @mine = 'kept', SESSION time_zone = '+03:00'");
    await client.query("INSERT INTO words (word) VALUES ('a'), ('b'), ('c')");
    const asked = (): Promise<Record<string, unknown>[]> =>
      rowsOf(client, "SELECT @mine AS mine, DATE_FORMAT(FROM_UNIXTIME(0), '%H') AS hour, COUNT(*) AS words FROM words");
    assert.ok(
      await leavesPrimary(evenkeel, 50, async () =>
        assert.deepEqual(await asked(), [{ mine: 'kept', hour: '03', words: 3 }]),
      ),
    );
    for (let round = 0; round < 5; round++) {
      assert.deepEqual(await rowsOf(client, 'SELECT LAST_INSERT_ID() AS id'), [{ id: 1 }]);
      await client.query('SELECT word FROM words LIMIT 2');
      assert.deepEqual(await rowsOf(client, 'SELECT FOUND_ROWS() AS found'), [{ found: 2 }]);
      await client.query("SELECT CAST('x' AS SIGNED) FROM words LIMIT 1");
      const [warning] = await rowsOf(client, 'SHOW WARNINGS');
      assert.equal(warning?.['Code'], 1292);
      await client.execute("SELECT CAST('y' AS SIGNED), word FROM words WHERE id = ?", [1]);
      const [again] = await rowsOf(client, 'SHOW WARNINGS');
      assert.match(String(again?.['Message']), /'y'/);
      await assert.rejects(client.query('SELECT nothing FROM words'), { errno: 1054 });
      const [error] = await rowsOf(client, 'SHOW ERRORS');
      assert.equal(error?.['Code'], 1054);
    }
    await client.end();
  },

  'a session sees its own writes, however far behind the replicas are': async (evenkeel) => {
    await through(evenkeel, 'CREATE TABLE mine (id INT PRIMARY KEY, n INT)', 'INSERT INTO mine VALUES (1, 0)');
    const [behind, other] = await evenkeel.replicas();
    const [client, stranger] = [await clientOf(evenkeel), await clientOf(evenkeel)];
    // What a stranger may read shows that the replicas are read from at all while they are behind.
    assert.ok(behind !== undefined && other !== undefined);
    await replicated(evenkeel, 'mine');
    const release = await Promise.all([behind, other].map((node) => holdBack(evenkeel, node, 'mine')));
    let stale = 0;
    for (let n = 1; n <= 30; n++) {
      await client.query(`UPDATE mine SET n = ${n} WHERE id = 1`);
      assert.deepEqual(await rowsOf(client, 'SELECT n FROM mine'), [{ n }]);
      const [seen] = await rowsOf(stranger, 'SELECT n FROM mine');
      if (seen?.['n'] !== n) stale++;
    }
    assert.ok(stale > 0, 'no read of the stranger was answered by a replica that is behind');
    await client.query('BEGIN');
    await client.query('INSERT INTO mine VALUES (2, 2)');
    await client.query('COMMIT');
    await client.query('START TRANSACTION READ ONLY');
    assert.deepEqual(await rowsOf(client, 'SELECT n FROM mine WHERE id = 2'), [{ n: 2 }]);
    await client.query('COMMIT');
    // What fails may have left something behind all the same.
    await assert.rejects(client.query('INSERT INTO mine VALUES (3, 3), (1, 1)'), { errno: 1062 });
    assert.deepEqual(await rowsOf(client, 'SELECT COUNT(*) AS n FROM mine'), [{ n: 2 }]);
    for (const done of release) done();
    await client.end();
    await stranger.end();
  },

  'with `causal: global` a read sees what anybody has written, past Evenkeel, too, and over a change of primary':
    async (evenkeel) => {
      await through(
        evenkeel,
        'CREATE TABLE anybodys (id INT PRIMARY KEY, n INT)',
        'INSERT INTO anybodys VALUES (1, 0)',
      );
      await replicated(evenkeel, 'anybodys');
      const readers = await Promise.all(
        Array.from({ length: 4 }, () => mysql.createConnection({ ...evenkeel.login(), port: globalPort })),
      );
      const sql = 'SELECT n FROM anybodys';
      const read = (reader: Connection): Promise<Record<string, unknown>[]> => rowsOf(reader, sql);
      const writer = await mysql.createConnection({ ...evenkeel.direct(await evenkeel.primary()), database: 'app' });
      let n = 0;
      const all = async (rounds: number, write: (statement: string) => Promise<unknown>): Promise<void> => {
        for (const last = n + rounds; n < last; ) {
          await write(`UPDATE anybodys SET n = ${++n}`);
          for (const seen of await Promise.all(readers.map(read))) assert.deepEqual(seen, [{ n }]);
        }
      };
      // The primary is asked something before each: who reads is counted where it is read.
      const readOnReplicas = async (): Promise<void> => {
        const replicas = await evenkeel.replicas();
        const selects = async (): Promise<number> =>
          (await Promise.all(replicas.map((node) => selectsOn(evenkeel, node)))).reduce((sum, each) => sum + each, 0);
        const before = await selects();
        for (let round = 0; round < 100; round++) await read(readers[round % 4] as Connection);
        assert.ok((await selects()) - before >= 90);
      };
      await all(50, (statement) => writer.query(statement));
      await readOnReplicas();
      const release = await Promise.all(
        (await evenkeel.replicas()).map((node) => holdBack(evenkeel, node, 'anybodys')),
      );
      await all(10, (statement) => writer.query(statement));
      for (const done of release) done();
      await writer.end();
      await evenkeel.switchover();
      await all(10, (statement) => through(evenkeel, statement));
      await readOnReplicas();
      for (const reader of readers) await reader.end();
    },

  'another session sees what a token names, and what its client wants on the primary is read there': async (
    evenkeel,
  ) => {
    await through(evenkeel, 'CREATE TABLE shared (n INT)', 'INSERT INTO shared VALUES (0)');
    const replicas = await evenkeel.replicas();
    const [writer, reader] = [await clientOf(evenkeel), await clientOf(evenkeel)];
    await replicated(evenkeel, 'shared');
    const release = await Promise.all(replicas.map((node) => holdBack(evenkeel, node, 'shared')));
    await writer.query('UPDATE shared SET n = 1');
    const position = evenkeel.sandbox.flavor === 'mysql' ? 'gtid_executed' : 'gtid_binlog_pos';
    const [row] = await rowsOf(writer, `SELECT REPLACE(@@global.${position}, '\n', '') AS token`);
    assert.deepEqual(await rowsOf(reader, 'SELECT n FROM shared'), [{ n: 0 }], 'the replicas are not behind');
    assert.deepEqual(await rowsOf(reader, '/* evenkeel: route=primary */ SELECT n FROM shared'), [{ n: 1 }]);
    assert.deepEqual(await rowsOf(reader, 'SELECT n FROM shared'), [{ n: 0 }]);
    await reader.query("SET @evenkeel_route = 'primary'");
    assert.deepEqual(await rowsOf(reader, 'SELECT n FROM shared'), [{ n: 1 }]);
    await reader.query('SET @evenkeel_route = NULL');
    assert.deepEqual(await rowsOf(reader, 'SELECT n FROM shared'), [{ n: 0 }]);
    if (evenkeel.sandbox.flavor === 'mysql') {
      const sql = 'SELECT n FROM shared';
      const [rows] = await reader.query({ sql, attributes: { evenkeel_route: 'primary' } });
      assert.deepEqual(rows, [{ n: 1 }]);
      await assert.rejects(reader.query({ sql, attributes: { evenkeel_route: 'moon' } }), { errno: 9112 });
      const prepared = 'SELECT n + ? AS n FROM shared WHERE ? IS NOT NULL';
      for (const attributes of [{ evenkeel_route: 'primary' }, {}, { evenkeel_route: 'primary', other: 'one' }]) {
        const [executed] = await reader.execute({ sql: prepared, values: [10, 'text'], attributes });
        assert.deepEqual(executed, [{ n: 'evenkeel_route' in attributes ? 11 : 10 }]);
      }
      const wrong = reader.execute({ sql: prepared, values: [1, 'text'], attributes: { evenkeel_route: 'moon' } });
      await assert.rejects(wrong, { errno: 9112 });
    }
    await assert.rejects(rowsOf(reader, '/* evenkeel: after=yesterday */ SELECT n FROM shared'), { errno: 9112 });
    assert.deepEqual(await rowsOf(reader, `SELECT n FROM shared /* evenkeel: after=${String(row?.['token'])} */`), [
      { n: 1 },
    ]);
    assert.deepEqual(await rowsOf(reader, 'SELECT n FROM shared'), [{ n: 1 }], 'it counts from then on');
    for (const done of release) done();
    await writer.end();
    await reader.end();
  },

  'what a replica does not have, or whom it does not let in, the primary does': async (evenkeel) => {
    const primary = await evenkeel.primary();
    const client = await clientOf(evenkeel);
    assert.ok(await leavesPrimary(evenkeel, 50, () => client.query('SELECT 1')));
    await directly(evenkeel, primary, 'SET sql_log_bin = 0', 'CREATE TABLE app.alone (id INT PRIMARY KEY)');
    for (let round = 0; round < 4; round++) assert.deepEqual(await rowsOf(client, 'SELECT id FROM alone'), []);
    await directly(evenkeel, primary, 'SET sql_log_bin = 0', 'DROP TABLE app.alone');
    await assert.rejects(client.query('SELECT id FROM alone'), { errno: 1146 });
    await client.end();
    const create = "CREATE USER nobody@'%' IDENTIFIED BY 'one'";
    await directly(evenkeel, primary, 'SET sql_log_bin = 0', create, "GRANT SELECT ON app.* TO nobody@'%'");
    const login = { ...evenkeel.login(), port, user: 'nobody', password: 'one' };
    const lonely = await mysql.createConnection(login);
    for (let round = 0; round < 4; round++) assert.deepEqual(await rowsOf(lonely, 'SELECT 1 AS one'), [{ one: 1 }]);
    await lonely.end();
    await directly(evenkeel, primary, 'SET sql_log_bin = 0', "DROP USER nobody@'%'");
  },

  'a session sees what it wrote before a failover, and reads go on meanwhile': async (evenkeel) => {
    await through(evenkeel, 'CREATE TABLE kept (n INT PRIMARY KEY)', 'INSERT INTO kept VALUES (0)');
    const [client, reader] = [await clientOf(evenkeel), await clientOf(evenkeel)];
    const old = await evenkeel.primary();
    for (let n = 1; n <= 5; n++) await client.query(`INSERT INTO kept VALUES (${n})`);
    await evenkeel.signalNode(old, 'SIGKILL');
    // Those who have not written need no primary.
    const write = client.query('INSERT INTO kept VALUES (6)');
    assert.ok((await rowsOf(reader, 'SELECT n FROM kept')).length >= 1);
    await write;
    for (let round = 0; round < 20; round++) {
      assert.deepEqual(await rowsOf(client, 'SELECT COUNT(*) AS n FROM kept'), [{ n: 7 }]);
    }
    await evenkeel.promotedFrom(old);
    for (let n = 7; n <= 20; n++) {
      await client.query(`INSERT INTO kept VALUES (${n})`);
      assert.deepEqual(await rowsOf(client, 'SELECT MAX(n) AS n FROM kept'), [{ n }]);
    }
    await client.end();
    await reader.end();
    await evenkeel.restartNode(old);
  },

  'a read that is killed on a replica, on a connection of its own, is not run again on the primary': async (
    evenkeel,
  ) => {
    await through(evenkeel, 'CREATE TABLE locked (n INT)', 'INSERT INTO locked VALUES (1)');
    const [client, killer] = [await clientOf(evenkeel), await clientOf(evenkeel)];
    const replicas = await evenkeel.replicas();
    await replicated(evenkeel, 'locked');
    // The old primary has just come back.
    await until('all nodes to be well', 10_000, async () => {
      const { clusters } = await evenkeel.status();
      return clusters[0]?.nodes.every(({ state }) => state === 'ok') === true;
    });
    // Who reads it waits behind what is to be applied.
    const locks = await Promise.all(replicas.map((node) => holdBack(evenkeel, node, 'locked')));
    await through(evenkeel, 'ALTER TABLE locked ADD COLUMN m INT');
    const waiting = (words: string): Promise<boolean[]> => {
      const sql = `SELECT 1 FROM information_schema.processlist WHERE info LIKE '${words}%'`;
      return Promise.all(replicas.map(async (node) => (await directly(evenkeel, node, sql))[0].length > 0));
    };
    await until(
      'the replicas to be about it',
      10_000,
      async () => !(await waiting('ALTER TABLE locked')).includes(false),
    );
    // Too long to share a connection; and stopped before there is anything of an answer.
    const told = client.query(`SELECT n FROM locked /* ${'long '.repeat(4000)} */`).then(
      () => 'answered',
      (error: { errno: number }) => error.errno,
    );
    let outcome: unknown = null;
    void told.then((what) => {
      outcome = what;
    });
    await until('a replica to be asked', 10_000, async () => {
      assert.equal(outcome, null, 'it is answered already');
      return (await waiting('SELECT n FROM locked')).includes(true);
    });
    await killer.query(`KILL QUERY ${client.threadId}`);
    assert.equal(await told, 1317);
    for (const release of locks) release();
    await Promise.all([client.end(), killer.end()]);
  },

  'a replica that dies under reads is left for another, unseen': async (evenkeel) => {
    await through(evenkeel, 'CREATE TABLE read_on (id INT PRIMARY KEY)', 'INSERT INTO read_on VALUES (1)');
    await replicated(evenkeel, 'read_on');
    const [victim] = await evenkeel.replicas();
    assert.ok(victim !== undefined);
    const clients = await Promise.all(Array.from({ length: 16 }, () => clientOf(evenkeel)));
    const errors: string[] = [];
    let reads = 0;
    const work = { on: true };
    const loops = clients.map(async (client, at) => {
      while (work.on) {
        try {
          // One in four in a read-only transaction.
          if (at % 4 === 0) await client.query('START TRANSACTION READ ONLY');
          assert.equal((await rowsOf(client, 'SELECT id FROM read_on')).length, 1);
          if (at % 4 === 0) await client.query('COMMIT');
          reads++;
        } catch (error) {
          errors.push(String(error));
          return;
        }
      }
    });
    await until('reads', 10_000, () => reads > 400);
    await evenkeel.signalNode(victim, 'SIGKILL');
    const then = reads;
    await until('the reads to go on', 10_000, () => reads > then + 800);
    work.on = false;
    await Promise.all(loops);
    assert.deepEqual(errors, []);
    for (const client of clients) await client.end();
  },
});
