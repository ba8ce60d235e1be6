// What becomes of what was in flight when a primary died: one client a kind of statement, one kill -9 for all of them.
import assert from 'node:assert/strict';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { application, directly, stories, through, until } from './harness/index.ts';

const fate = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'done',
    (error: Error & { errno: number }) => `${error.errno} ${error.message}`,
  );

/** Runs for about a second on any machine, without a function that could have an effect. */
const slowRead = `WITH RECURSIVE counted AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM counted WHERE n < 900)
  SELECT COUNT(*) AS pairs FROM counted AS a JOIN counted AS b JOIN (SELECT 1 AS x UNION SELECT 2 UNION SELECT 3) AS c ON a.n + b.n + c.x <> -1`;

stories(
  'what was in flight when the primary died',
  { replication: 'semisync', nodes: 3, apart: true },
  {
    'each kind of statement gets the answer that is true, and every session goes on': async (evenkeel) => {
      await through(evenkeel, 'CREATE TABLE flight (n INT PRIMARY KEY)', 'INSERT INTO flight VALUES (1)');
      const names = ['write', 'read', 'open', 'idle', 'locker', 'temporary', 'prepared'] as const;
      const by = {} as Record<(typeof names)[number], Connection>;
      const broken: string[] = [];
      for (const name of names) {
        by[name] = await application(evenkeel);
        by[name].on('error', (error: Error) => broken.push(`${name}: ${error.message}`));
      }
      await by.open.query('BEGIN');
      await by.open.query('INSERT INTO flight VALUES (2)');
      await by.idle.query('SET NAMES latin1');
      await by.temporary.query('CREATE TEMPORARY TABLE mine (n INT)');
      const statement = await by.prepared.prepare('SELECT n FROM flight WHERE n = ?');
      // The row that the write needs is locked by a transaction: so it is in flight for as long as we like.
      await by.locker.query('BEGIN');
      await by.locker.query('UPDATE flight SET n = n WHERE n = 1');
      const write = fate(by.write.query('UPDATE flight SET n = 3 WHERE n = 1'));
      const read = by.read.query<RowDataPacket[]>(slowRead);
      const primary = await evenkeel.primary();
      await until('both to run', 10_000, async () => {
        const [rows] = await directly(evenkeel, primary, 'SHOW PROCESSLIST');
        const running = rows.map((row) => String(row['Info']));
        return (
          running.some((text) => text.startsWith('UPDATE flight SET n = 3')) &&
          running.some((text) => text.startsWith('WITH'))
        );
      });
      await evenkeel.signalNode(primary, 'SIGKILL');
      try {
        assert.match(await write, /^9104 .*\(Evenkeel: outcome-unknown; unknown\)$/);
        const [pairs] = await read;
        assert.equal(Number(pairs[0]?.['pairs']), 900 * 900 * 3);
        const lost = /^1213 .*try restarting transaction/;
        assert.match(await fate(by.open.query('INSERT INTO flight VALUES (4)')), lost);
        assert.match(await fate(by.locker.query('COMMIT')), lost);
        assert.match(await fate(by.temporary.query('SELECT * FROM mine')), /state-lost; not executed/);
        const [charset] = await by.idle.query<RowDataPacket[]>('SELECT @@character_set_client AS name');
        assert.equal(charset[0]?.['name'], 'latin1');
        const [found] = await statement.execute([1]);
        assert.deepEqual(found, [{ n: 1 }]);

        for (const name of names) assert.equal(await fate(by[name].query('SELECT n FROM flight')), 'done', name);
        await by.open.query('BEGIN');
        await by.open.query('INSERT INTO flight VALUES (5)');
        await by.open.query('COMMIT');
        const [rows] = await by.idle.query('SELECT n FROM flight ORDER BY n');
        assert.deepEqual(rows, [{ n: 1 }, { n: 5 }]);
        assert.deepEqual(broken, []);
      } finally {
        for (const name of names) by[name].destroy();
      }
    },
  },
);
