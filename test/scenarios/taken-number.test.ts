// A replayed transaction brings the AUTO_INCREMENT numbers along that its client was shown on the former primary. An INSERT
// that was given the same number on the new primary a moment before, and comes second, is run again: it is not its
// client's error. The collision itself takes microseconds; a trigger says what the server says then, once.
import assert from 'node:assert/strict';
import type { Connection, ResultSetHeader } from 'mysql2/promise';
import { application, directly, type Evenkeel, stories, through, until, valueOn } from './harness/index.ts';

const TAKEN = "Duplicate entry ''7'' for key ''numbered.PRIMARY''";
/** What an AUTO_INCREMENT counter has counted is not taken back with the statement. */
const TRIGGER = `CREATE TRIGGER collides BEFORE INSERT ON app.numbered FOR EACH ROW BEGIN
  INSERT INTO app.tries VALUES (NULL);
  IF (SELECT MAX(id) FROM app.tries) = 1 THEN SIGNAL SQLSTATE '23000' SET MYSQL_ERRNO = 1062, MESSAGE_TEXT = '${TAKEN}'; END IF;
END`;

async function collides(
  evenkeel: Evenkeel,
  insert: (client: Connection) => Promise<unknown>,
): Promise<'inserted' | number> {
  await directly(evenkeel, await evenkeel.primary(), 'TRUNCATE app.tries');
  const client = await application(evenkeel);
  try {
    return await insert(client).then(
      () => 'inserted' as const,
      (error: { errno: number }) => error.errno,
    );
  } finally {
    client.destroy();
  }
}

const insertAlone = (client: Connection): Promise<unknown> =>
  client.query("INSERT INTO numbered (who) VALUES ('alone')");

async function insertWithin(client: Connection): Promise<void> {
  await client.query('BEGIN');
  await client.query("INSERT INTO beside VALUES ('before')");
  const [{ insertId }] = await client.execute<ResultSetHeader>('INSERT INTO numbered (who) VALUES (?)', ['within']);
  assert.ok(insertId > 0);
  await client.query("INSERT INTO beside VALUES ('behind')");
  await client.query('COMMIT');
}

async function insertFirst(client: Connection): Promise<void> {
  await client.query('BEGIN');
  await client.query("INSERT INTO numbered (who) VALUES ('first')");
  await client.query('COMMIT');
}

stories(
  'numbers that a replay brings along',
  { replication: 'semisync', nodes: 3 },
  {
    'an INSERT that comes second is run again for as long as transactions may be replayed': async (evenkeel) => {
      await through(evenkeel, 'CREATE TABLE numbered (id INT AUTO_INCREMENT PRIMARY KEY, who VARCHAR(10))');
      await through(evenkeel, 'CREATE TABLE beside (what VARCHAR(10))');
      await through(evenkeel, 'CREATE TABLE tries (id INT AUTO_INCREMENT PRIMARY KEY)');
      const old = await evenkeel.primary();
      await directly(evenkeel, old, 'SET GLOBAL log_bin_trust_function_creators = 1', 'USE app', TRIGGER);
      assert.equal(await collides(evenkeel, insertAlone), 1062, 'nobody was promoted: the server knows');
      for (const node of await evenkeel.replicas()) {
        const there = async () =>
          Number(await valueOn(evenkeel, node, 'SELECT COUNT(*) FROM information_schema.triggers')) > 0;
        await until(`the trigger on ${node.name}`, 10_000, there);
      }
      await evenkeel.signalNode(old, 'SIGKILL');
      const next = await evenkeel.promotedFrom(old);
      assert.equal(await collides(evenkeel, insertAlone), 'inserted');
      assert.equal(await collides(evenkeel, insertWithin), 'inserted');
      assert.equal(await collides(evenkeel, insertFirst), 'inserted');
      const own = (client: Connection) => client.query("INSERT INTO numbered VALUES (7, 'own')");
      assert.equal(await collides(evenkeel, own), 1062, 'the client gave the number itself');
      const several = (client: Connection) => client.query("INSERT INTO numbered (who) VALUES ('a'), ('b')");
      assert.equal(await collides(evenkeel, several), 1062, 'of some engines the first row would stay');
      const rows = await valueOn(evenkeel, next, 'SELECT GROUP_CONCAT(who ORDER BY id) FROM app.numbered');
      assert.equal(rows, 'alone,within,first');
      assert.equal(
        await valueOn(evenkeel, next, 'SELECT GROUP_CONCAT(what ORDER BY what) FROM app.beside'),
        'before,behind',
      );
      await evenkeel.restartNode(old);
    },
  },
);
