// Many sessions on two server connections, in the corners: each is as it would be alone on a connection of its own.
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise';
import { Capability, Command, commandPacket, queryPacket } from '../../src/wire/index.ts';
import { directly, type Evenkeel, stories, through } from './harness/index.ts';
import { RawClient, ServerSaid } from './raw-client.ts';

type Row = Record<string, unknown>;

const clientOf = (evenkeel: Evenkeel): Promise<Connection> =>
  mysql.createConnection({ ...evenkeel.login(), multipleStatements: true });
const rowsOf = async (client: Connection, sql: string): Promise<Row[]> => (await client.query<RowDataPacket[]>(sql))[0];

const rawOf = (evenkeel: Evenkeel): Promise<RawClient> =>
  RawClient.login(evenkeel.login(), { capabilities: Capability.DEPRECATE_EOF });

async function run(client: RawClient, sql: string): Promise<void> {
  client.write(queryPacket(sql, client.capabilities));
  await client.results();
}

/** Its id. */
async function prepare(client: RawClient, sql: string): Promise<number> {
  const prepared = await client.command(Command.STMT_PREPARE, sql);
  const definitions = prepared.readUInt16LE(5) + prepared.readUInt16LE(7);
  for (let n = 0; n < definitions; n++) await client.packet();
  return prepared.readUInt32LE(1);
}

async function execute(client: RawClient, id: number, cursor: boolean): Promise<void> {
  const head = Buffer.alloc(9);
  head.writeUInt32LE(id, 0);
  head[4] = cursor ? 1 : 0;
  head.writeUInt32LE(1, 5);
  client.write(commandPacket(Command.STMT_EXECUTE, head));
  await client.results();
}

/** The last byte of each row, or the error's number. */
async function fetch(client: RawClient, id: number, count: number): Promise<string | number> {
  const args = Buffer.alloc(8);
  args.writeUInt32LE(id, 0);
  args.writeUInt32LE(count, 4);
  client.write(commandPacket(Command.STMT_FETCH, args));
  const rows: Buffer[] = [];
  try {
    await client.rows(rows);
  } catch (error) {
    if (error instanceof ServerSaid) return error.err.errno;
    throw error;
  }
  return rows.map((row) => row.toString('latin1').at(-1)).join('');
}

const idOf = (id: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(id);
  return bytes;
};

stories(
  'sessions that share two server connections',
  { replication: 'async', nodes: 1, workers: 1, config: 'pool: { maxPerNode: 2 }' },
  {
    'a statement that is reset ends no transaction': async (evenkeel) => {
      await through(
        evenkeel,
        'CREATE TABLE things (id INT PRIMARY KEY, n INT)',
        'CREATE TABLE letters (owner INT, v CHAR(1))',
        "INSERT INTO letters VALUES (1, 'a'), (1, 'b'), (1, 'c'), (2, 'x'), (2, 'y'), (2, 'z')",
      );
      const [one, other] = [await rawOf(evenkeel), await clientOf(evenkeel)];
      const id = await prepare(one, 'SELECT n FROM things');
      // On the connection where it was prepared.
      await other.query('BEGIN');
      await other.query('SELECT n FROM things');
      for (const sql of ['BEGIN', 'INSERT INTO things VALUES (1, 1)']) await run(one, sql);
      await one.command(Command.STMT_RESET, idOf(id));
      for (const sql of ['INSERT INTO things VALUES (2, 2)', 'ROLLBACK', 'BEGIN']) await run(one, sql);
      await one.command(Command.STMT_RESET, idOf(id));
      for (const sql of ['INSERT INTO things VALUES (3, 3)', 'ROLLBACK']) await run(one, sql);
      await other.query('COMMIT');
      assert.deepEqual(await rowsOf(other, 'SELECT id FROM things'), []);
      one.socket.destroy();
      await other.end();
    },

    'a statement that is prepared anew takes nothing from the transaction that it comes in': async (evenkeel) => {
      await through(evenkeel, 'CREATE DATABASE IF NOT EXISTS elsewhere').catch(async () => {
        const primary = await evenkeel.primary();
        await directly(evenkeel, primary, 'CREATE DATABASE elsewhere', 'GRANT ALL ON elsewhere.* TO app');
      });
      const [one, other] = [await clientOf(evenkeel), await clientOf(evenkeel)];
      await one.query('SET autocommit = 0');
      const statement = await one.prepare('SELECT n FROM things WHERE id = 1');
      await one.query('ROLLBACK');
      await one.query('SET autocommit = 1');
      await other.query('BEGIN');
      await other.query('SELECT n FROM things');
      await one.query('SET foreign_key_checks = 0');
      await one.query('USE elsewhere');
      await one.query('BEGIN');
      await one.query('INSERT INTO app.things VALUES (1, 5)');
      assert.deepEqual((await statement.execute([]))[0], [{ n: 5 }]);
      await one.query('ROLLBACK');
      await other.query('COMMIT');
      assert.deepEqual(await rowsOf(other, 'SELECT id FROM things'), []);
      await Promise.all([one.end(), other.end()]);
    },

    'each has its own cursor, for as long as it is open': async (evenkeel) => {
      const [one, other] = [await rawOf(evenkeel), await rawOf(evenkeel)];
      const sql = (owner: number): string => `SELECT v FROM letters WHERE owner = ${owner} ORDER BY v`;
      const mine = await prepare(one, sql(1));
      const unrelated = await prepare(one, 'SELECT 1');
      await execute(one, mine, true);
      assert.equal(await fetch(one, mine, 1), 'a');
      one.write(commandPacket(Command.STMT_CLOSE, idOf(unrelated)));
      const theirs = await prepare(other, sql(1));
      await execute(other, theirs, true);
      assert.equal(await fetch(other, theirs, 2), 'ab');
      assert.equal(await fetch(one, mine, 10), 'bc');
      other.write(commandPacket(Command.STMT_CLOSE, idOf(theirs)));
      // Who never opened one has none, whoever left one there.
      const third = await rawOf(evenkeel);
      const same = await prepare(third, sql(1));
      assert.equal(await fetch(third, same, 10), 1421);
      // What opens none keeps nothing.
      const write = await prepare(one, 'UPDATE letters SET v = v WHERE owner = 3');
      await execute(one, write, true);
      const text = await (await evenkeel.fetch('/metrics')).text();
      assert.doesNotMatch(text, /pinned_sessions\{endpoint="writer",reason="cursor"\} [1-9]/);
      for (const client of [one, other, third]) client.socket.destroy();
    },

    'locks that are taken among other statements keep their connection, each until its own end': async (evenkeel) => {
      const [one, other] = [await clientOf(evenkeel), await clientOf(evenkeel)];
      const blocked = async (lock: string, unlock: string): Promise<void> => {
        await one.query(lock);
        let done = false;
        const write = other.query('UPDATE letters SET v = v WHERE owner = 3').then(() => (done = true));
        await delay(150);
        assert.equal(done, false, lock);
        await one.query(unlock);
        await write;
      };
      await blocked('LOCK TABLES letters WRITE; SELECT 1', 'UNLOCK TABLES');
      await blocked('LOCK TABLES letters WRITE; SELECT 1', 'SELECT 1; UNLOCK TABLES');
      await Promise.all([one.end(), other.end()]);
    },

    'the next transaction is as it was told to be, and nothing is done twice for that': async (evenkeel) => {
      const client = await clientOf(evenkeel);
      await client.query('SET @x = 0');
      await client.query('SET TRANSACTION ISOLATION LEVEL READ COMMITTED; INSERT INTO things VALUES (10, 1)');
      await client
        .query("SET @x = @x + 1, @@transaction_isolation = 'SERIALIZABLE'")
        .catch(() => client.query("SET @x = @x + 1, @@tx_isolation = 'SERIALIZABLE'"));
      const [rows] = await directly(
        evenkeel,
        await evenkeel.primary(),
        `SELECT id FROM information_schema.processlist WHERE user='${evenkeel.sandbox.app.user}'`,
      );
      for (const row of rows)
        await directly(evenkeel, await evenkeel.primary(), `KILL ${row['id'] ?? row['ID']}`).catch(() => undefined);
      await delay(100);
      // That the level is lost may be said; nothing is run again.
      await client.query('SELECT 1').catch((error: { errno: number }) => assert.equal(error.errno, 9106));
      const [row] = await rowsOf(client, 'SELECT COUNT(*) AS n, @x AS x FROM things WHERE id = 10');
      assert.equal(row?.['n'], 1);
      assert.ok(Number(row?.['x']) <= 1);
      await client.end();
    },

    'settings that servers tell as nothing, and a limit of no rows, travel': async (evenkeel) => {
      const [one, other] = [await clientOf(evenkeel), await clientOf(evenkeel)];
      const isMysql = evenkeel.sandbox.flavor === 'mysql';
      await one.query(isMysql ? 'SET innodb_tmpdir = DEFAULT' : 'SET default_tmp_storage_engine = DEFAULT');
      if (!isMysql) await one.query('SET system_versioning_asof = DEFAULT');
      await one.query('CREATE TABLE made (id INT AUTO_INCREMENT PRIMARY KEY, n INT)');
      await one.query('SET sql_select_limit = 0');
      await one.query('INSERT INTO made (n) VALUES (1)');
      for (let round = 0; round < 3; round++) {
        await other.query('UPDATE things SET n = 2 WHERE id = 10');
        await other.query('BEGIN');
        await other.query('SELECT n FROM things FOR UPDATE');
        await one.query('UPDATE made SET n = LAST_INSERT_ID()');
        await other.query('COMMIT');
      }
      assert.deepEqual(await rowsOf(other, 'SELECT n FROM made'), [{ n: 1 }]);
      await Promise.all([one.end(), other.end()]);
    },

    'a chain by completion_type is one, also of what was begun and not sent': async (evenkeel) => {
      const client = await clientOf(evenkeel);
      for (const sql of ['SET completion_type = 1', 'BEGIN', 'COMMIT', 'INSERT INTO things VALUES (30, 1)', 'ROLLBACK'])
        await client.query(sql);
      await client.query('SET completion_type = 0');
      await client.query('ROLLBACK');
      assert.deepEqual(await rowsOf(client, 'SELECT id FROM things WHERE id = 30'), []);
      await client.end();
    },
  },
);
