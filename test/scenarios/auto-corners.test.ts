// `route: auto` in its corners: transactions without a word of their end, texts that are read by another sql_mode or character set than
// the usual ones, what is asked of the statement before. Everything is as on the primary, and nothing is older than it may be.
import assert from 'node:assert/strict';
import mysql, { type Connection, type ConnectionOptions, type RowDataPacket } from 'mysql2/promise';
import { freePorts } from '../../src/sandbox/index.ts';
import {
  autoEndpoints,
  directly,
  type Evenkeel,
  holdBack,
  replicated,
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

type Row = Record<string, unknown>;

const clientOf = (evenkeel: Evenkeel, more: ConnectionOptions = {}): Promise<Connection> =>
  mysql.createConnection({ ...evenkeel.login(), port, ...more });

const rowsOf = async (client: Connection, sql: string): Promise<Row[]> => (await client.query<RowDataPacket[]>(sql))[0];

/** A table of one row, `n` is 0, that all nodes have; `hold` keeps replicas from applying more until what it returns is called. */
async function table(evenkeel: Evenkeel, name: string): Promise<{ hold: () => Promise<() => void> }> {
  await through(
    evenkeel,
    `CREATE TABLE ${name} (id INT AUTO_INCREMENT PRIMARY KEY, n INT)`,
    `INSERT INTO ${name} VALUES (1, 0)`,
  );
  await replicated(evenkeel, name);
  const hold = async (): Promise<() => void> => {
    const held = await Promise.all((await evenkeel.replicas()).map((node) => holdBack(evenkeel, node, name)));
    return () => {
      for (const release of held) release();
    };
  };
  return { hold };
}

/** With a lock that its text hides from a careless reader: it must be on the connection that the session keeps. */
async function locks(client: Connection, take: () => Promise<unknown>): Promise<void> {
  await take();
  assert.deepEqual(await rowsOf(client, "SELECT IS_USED_LOCK('mine') IS NOT NULL AS held"), [{ held: 1 }]);
  await client.query('DO RELEASE_LOCK("mine")').catch(() => client.query("DO RELEASE_LOCK('mine')"));
}

stories('reads leave the primary, corners', OPTIONS, {
  'a transaction that begins behind a read-only one is what its own words say': async (evenkeel) => {
    await table(evenkeel, 'begun');
    const client = await clientOf(evenkeel);
    const primary = (await evenkeel.primary()).port;
    const port_ = async (): Promise<unknown> => (await rowsOf(client, 'SELECT @@port AS port'))[0]?.['port'];
    await client.query('START TRANSACTION READ ONLY');
    await rowsOf(client, 'SELECT n, @seen := n FROM begun');
    assert.notEqual(await port_(), primary);
    await client.query('START TRANSACTION READ WRITE');
    await client.query('UPDATE begun SET n = @seen + 1');
    assert.equal(await port_(), primary);
    await client.query('COMMIT');
    assert.deepEqual(await rowsOf(client, 'SELECT n FROM begun'), [{ n: 1 }]);
    // Without a word MySQL goes on read-only, and MariaDB does not.
    await client.query('START TRANSACTION READ ONLY');
    await rowsOf(client, 'SELECT n FROM begun');
    await client.query('BEGIN');
    const writes = client.query('UPDATE begun SET n = 2');
    if (evenkeel.sandbox.flavor === 'mysql') await assert.rejects(writes, { errno: 1792 });
    else await writes;
    await client.query('ROLLBACK');
    await client.query('START TRANSACTION READ ONLY');
    await rowsOf(client, 'SELECT n FROM begun');
    await client.query('COMMIT AND CHAIN');
    assert.deepEqual(await rowsOf(client, "SELECT IS_FREE_LOCK('x') AS free"), [{ free: 1 }]);
    await assert.rejects(client.query('UPDATE begun SET n = 3'), { errno: 1792 });
    await client.query('COMMIT');
    await client.end();
  },

  'the second read-only transaction is as new as it would be alone': async (evenkeel) => {
    const { hold } = await table(evenkeel, 'second');
    const [all, token] = [await clientOf(evenkeel, { port: globalPort }), await clientOf(evenkeel)];
    for (const client of [all, token]) {
      await client.query('START TRANSACTION READ ONLY');
      assert.deepEqual(await rowsOf(client, 'SELECT n FROM second'), [{ n: 0 }]);
    }
    const release = await hold();
    await through(evenkeel, 'UPDATE second SET n = 1');
    await all.query('START TRANSACTION READ ONLY');
    assert.deepEqual(await rowsOf(all, 'SELECT n FROM second'), [{ n: 1 }]);
    await all.query('COMMIT AND CHAIN');
    assert.deepEqual(await rowsOf(all, 'SELECT n FROM second'), [{ n: 1 }]);
    await all.query('COMMIT');
    const position = evenkeel.sandbox.flavor === 'mysql' ? 'gtid_executed' : 'gtid_binlog_pos';
    const [told] = await through(evenkeel, `SELECT REPLACE(@@global.${position}, '\\n', '') AS gtids`);
    await token.query(`/* evenkeel: after=${String(told[0]?.['gtids'])} */ START TRANSACTION READ ONLY`);
    assert.deepEqual(await rowsOf(token, 'SELECT n FROM second'), [{ n: 1 }]);
    await token.query('COMMIT');
    release();
    await Promise.all([all.end(), token.end()]);
  },

  'an error of a replica that is behind is not shown in a transaction, either': async (evenkeel) => {
    const { hold } = await table(evenkeel, 'blocks');
    const client = await clientOf(evenkeel);
    const release = await hold();
    await through(evenkeel, 'UPDATE blocks SET n = 1', 'CREATE TABLE fresh (n INT)');
    await client.query('START TRANSACTION READ ONLY');
    assert.deepEqual(await rowsOf(client, 'SELECT n FROM fresh'), []);
    await assert.rejects(client.query('SELECT nothing FROM fresh'), { errno: 1054 });
    assert.deepEqual(await rowsOf(client, 'SELECT n FROM fresh'), []);
    await client.query('COMMIT');
    release();
    await client.end();
  },

  'what is asked along with counts is as new as any read, and the primary’s': async (evenkeel) => {
    const { hold } = await table(evenkeel, 'counted');
    const [client, all] = [await clientOf(evenkeel), await clientOf(evenkeel, { port: globalPort })];
    for (const each of [client, all]) await rowsOf(each, 'SELECT n FROM counted');
    const { port: primary } = await evenkeel.primary();
    assert.deepEqual(await rowsOf(client, 'SELECT FOUND_ROWS() AS f, @@port AS port'), [{ f: 1, port: primary }]);
    const release = await hold();
    await through(evenkeel, 'UPDATE counted SET n = 1');
    assert.deepEqual(await rowsOf(all, 'SELECT n, FOUND_ROWS() AS f FROM counted'), [{ n: 1, f: 1 }]);
    release();
    // Where the connection is gone that has them, that is said.
    await rowsOf(client, `SELECT CAST('x' AS SIGNED) FROM counted /* ${'x'.repeat(17_000)} */`);
    await assert.rejects(client.query('GET DIAGNOSTICS @n = NUMBER'), { errno: 9106 });
    await Promise.all([client.end(), all.end()]);
  },

  'hints at both ends of a text count': async (evenkeel) => {
    const { hold } = await table(evenkeel, 'hinted');
    const client = await clientOf(evenkeel);
    const release = await hold();
    await through(evenkeel, 'UPDATE hinted SET n = 1');
    const position = evenkeel.sandbox.flavor === 'mysql' ? 'gtid_executed' : 'gtid_binlog_pos';
    const [told] = await through(evenkeel, `SELECT REPLACE(@@global.${position}, '\\n', '') AS gtids`);
    const after = `/* evenkeel: after=${String(told[0]?.['gtids'])} */`;
    await rowsOf(client, `/* evenkeel: route=primary */ SELECT n FROM hinted ${after}`);
    assert.deepEqual(await rowsOf(client, 'SELECT n FROM hinted'), [{ n: 1 }]);
    release();
    await client.end();
  },

  'a text is read as its server reads it': async (evenkeel) => {
    const sjis = await clientOf(evenkeel, { charset: 'SJIS_JAPANESE_CI' });
    await locks(sjis, () => sjis.query("SELECT '表' <> '', GET_LOCK('mine', 0) AS got /* it's */"));
    await sjis.end();
    const client = await clientOf(evenkeel);
    await client.query("SET sql_mode = 'ANSI_QUOTES'");
    const statement = await client.prepare(`SELECT "get_lock"('mine', 0) AS got`);
    await client.query("SET sql_mode = ''");
    await locks(client, () => statement.execute([]));
    await client.end();
    // Prepared in a schema that is every server's own.
    const { port: primary } = await evenkeel.primary();
    if (evenkeel.sandbox.flavor === 'mysql') {
      const { user } = evenkeel.sandbox.app;
      await directly(evenkeel, await evenkeel.primary(), `GRANT SELECT ON performance_schema.* TO ${user}`);
      const other = await clientOf(evenkeel);
      await until('the grant to count', 10_000, () =>
        other.query('USE performance_schema').then(
          () => true,
          () => false,
        ),
      );
      const sql = "SELECT VARIABLE_VALUE AS port FROM global_variables WHERE VARIABLE_NAME='port'";
      const asks = await other.prepare(sql);
      await other.query('USE app');
      for (let round = 0; round < 5; round++) {
        assert.deepEqual((await asks.execute([]))[0], [{ port: String(primary) }]);
      }
      await other.end();
    }
  },

  'rows that are asked for by NULL are the session’s own': async (evenkeel) => {
    await table(evenkeel, 'nulls');
    const clients = await Promise.all([
      clientOf(evenkeel),
      clientOf(evenkeel, { port: evenkeel.ports.writer }),
      clientOf(evenkeel, { port: evenkeel.ports.writer }),
    ]);
    for (const client of clients) await client.query('SET sql_auto_is_null = 1');
    for (const [at, client] of clients.entries()) await client.query(`INSERT INTO nulls (n) VALUES (${1000 + at})`);
    for (const [at, client] of clients.entries()) {
      assert.deepEqual(await rowsOf(client, 'SELECT n FROM nulls WHERE id IS NULL'), [{ n: 1000 + at }]);
      await client.query('SET sql_auto_is_null = 0');
      assert.deepEqual(await rowsOf(client, 'SELECT n FROM nulls WHERE id IS NULL'), []);
      await client.end();
    }
  },

  'the sql_mode that is global counts for whoever logs in': async (evenkeel) => {
    const { nodes } = evenkeel.sandbox;
    const setAll = (mode: string): Promise<unknown> =>
      Promise.all(nodes.map((node) => directly(evenkeel, node, `SET GLOBAL sql_mode = '${mode}'`)));
    const [[before]] = await directly(evenkeel, nodes[0] as (typeof nodes)[0], 'SELECT @@global.sql_mode AS mode');
    await setAll('ANSI_QUOTES');
    await evenkeel.stop();
    await evenkeel.start();
    const client = await clientOf(evenkeel);
    await locks(client, () => client.query(`SELECT "get_lock"('mine', 0) AS got`));
    await client.end();
    await setAll(String(before?.['mode']));
  },
});
