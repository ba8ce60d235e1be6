// What keeps writes in flight changes nothing else, costs no more than it must, and owns up where it cannot be had.
import assert from 'node:assert/strict';
import type { ResultSetHeader, RowDataPacket } from 'mysql2/promise';
import {
  addressOf,
  application,
  directly,
  type Evenkeel,
  losesCommit,
  stories,
  succeeds,
  through,
  until,
  valueOn,
} from './harness/index.ts';

const fate = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'done',
    (error: Error & { errno: number }) => `${error.errno} ${error.message}`,
  );

/** How many transactions the primary has logged. */
async function logged(evenkeel: Evenkeel): Promise<number> {
  const primary = await evenkeel.primary();
  if (evenkeel.sandbox.flavor === 'mariadb') {
    return Number(
      String(await valueOn(evenkeel, primary, 'SELECT @@gtid_binlog_pos'))
        .split('-')
        .at(-1),
    );
  }
  const set = String(await valueOn(evenkeel, primary, 'SELECT @@global.gtid_executed'));
  let count = 0;
  for (const [, from, to] of set.matchAll(/:(\d+)(?:-(\d+))?/g)) count += Number(to ?? from) - Number(from) + 1;
  return count;
}

async function counted(evenkeel: Evenkeel, name: string, reason: string): Promise<number> {
  const text = await (await evenkeel.fetch('/metrics')).text();
  const found = new RegExp(`^evenkeel_${name}_total\\{[^}]*reason="${reason}"[^}]*\\} (\\d+)`, 'm').exec(text);
  return Number(found?.[1] ?? 0);
}

stories(
  'what keeps writes in flight',
  // A heartbeat would be counted among the transactions.
  { replication: 'async', nodes: 1, workers: 1, cluster: '    heartbeat: { enabled: false }' },
  {
    'every way to end a transaction is the one that it was': async (evenkeel) => {
      await through(evenkeel, 'CREATE TABLE ends (n INT PRIMARY KEY)');
      const one = await application(evenkeel);
      const other = await application(evenkeel);
      const seen = async (): Promise<number[]> =>
        (await other.query<RowDataPacket[]>('SELECT n FROM ends ORDER BY n'))[0].map((row) => Number(row['n']));
      try {
        for (const sql of ['BEGIN', 'INSERT INTO ends VALUES (1)', 'COMMIT']) await one.query(sql);
        assert.deepEqual(await seen(), [1]);
        for (const sql of ['BEGIN', 'INSERT INTO ends VALUES (2)', 'COMMIT AND CHAIN', 'INSERT INTO ends VALUES (3)']) {
          await one.query(sql);
        }
        assert.deepEqual(await seen(), [1, 2]);
        for (const sql of ['ROLLBACK AND CHAIN', 'INSERT INTO ends VALUES (4)', 'CREATE TABLE implied (n INT)']) {
          await one.query(sql);
        }
        assert.deepEqual(await seen(), [1, 2, 4]);
        for (const sql of ['SET autocommit = 0', 'INSERT INTO ends VALUES (5)', 'SELECT 1', 'SET autocommit = 1']) {
          await one.query(sql);
        }
        assert.deepEqual(await seen(), [1, 2, 4, 5]);
        for (const sql of [
          'BEGIN',
          'INSERT INTO ends VALUES (6)',
          'BEGIN',
          'INSERT INTO ends VALUES (7)',
          'ROLLBACK',
        ]) {
          await one.query(sql);
        }
        assert.deepEqual(await seen(), [1, 2, 4, 5, 6]);
        for (const sql of ['BEGIN', 'INSERT INTO ends VALUES (8)', 'SAVEPOINT s', 'INSERT INTO ends VALUES (9)']) {
          await one.query(sql);
        }
        for (const sql of ['ROLLBACK TO s', 'COMMIT']) await one.query(sql);
        assert.deepEqual(await seen(), [1, 2, 4, 5, 6, 8]);
        // With autocommit off one that fails may have begun a transaction, or not.
        await one.query('SET autocommit = 0');
        for (const [n, sql] of ['SELECT none FROM ends', 'INSERT INTO ends VALUES (90), (90)'].entries()) {
          assert.match(await fate(one.query(sql)), /^10(54|62) /);
          await one.query('SELECT COUNT(*) FROM ends');
          await one.query(`INSERT INTO ends VALUES (${50 + n})`);
          await one.query('COMMIT');
        }
        await one.query('SET autocommit = 1');
        assert.deepEqual(await seen(), [1, 2, 4, 5, 6, 8, 50, 51]);
        assert.match(await fate(one.query('INSERT INTO ends VALUES (8)')), /^1062/);
        const [warnings] = await one.query<RowDataPacket[]>('SHOW WARNINGS');
        assert.equal(warnings[0]?.['Code'], 1062);
        const [done] = await one.query<ResultSetHeader>('UPDATE ends SET n = n + 100 WHERE n < 3');
        assert.equal(done.affectedRows, 2);
        assert.equal(done.serverStatus & 1, 0, 'no transaction is shown to be open');
      } finally {
        one.destroy();
        other.destroy();
      }
    },

    'what fails before it would commit implicitly commits nothing': async (evenkeel) => {
      await through(evenkeel, 'CREATE TABLE undone (n INT PRIMARY KEY)');
      const one = await application(evenkeel);
      try {
        for (const [n, sql] of [
          'CREATE TABLE broken (n INTT)',
          'ALTER TABLE',
          'DROP TABLE a,',
          'LOCK TABLES a',
        ].entries()) {
          await one.query('BEGIN');
          await one.query('INSERT INTO undone VALUES (?)', [n]);
          assert.match(await fate(one.query(sql)), /^(1064|4161) /, sql);
          await one.query('ROLLBACK');
        }
        const [rows] = await one.query<RowDataPacket[]>('SELECT COUNT(*) AS many FROM undone');
        assert.equal(rows[0]?.['many'], 0);
        await one.query('BEGIN');
        await one.query('INSERT INTO undone VALUES (9)');
        assert.match(await fate(one.query('DROP TABLE there_is_none')), /^1051 /);
        await one.query('ROLLBACK');
        const [kept] = await one.query<RowDataPacket[]>('SELECT COUNT(*) AS many FROM undone');
        assert.equal(kept[0]?.['many'], 1, 'it was read, so it committed');
      } finally {
        one.destroy();
      }
    },

    'what only reads leaves nothing in the log, and a write that its text hides is kept': async (evenkeel) => {
      await through(evenkeel, 'CREATE TABLE notes (n INT AUTO_INCREMENT PRIMARY KEY)');
      const primary = await evenkeel.primary();
      await directly(
        evenkeel,
        primary,
        'SET GLOBAL log_bin_trust_function_creators = 1',
        'CREATE FUNCTION app.noting() RETURNS INT MODIFIES SQL DATA BEGIN INSERT INTO app.notes VALUES (); RETURN 1; END',
        'CREATE VIEW app.hiding AS SELECT app.noting() AS one',
      );
      const one = await application(evenkeel);
      try {
        for (const sql of ['BEGIN', 'INSERT INTO notes VALUES ()', 'COMMIT']) await one.query(sql);
        const before = await logged(evenkeel);
        for (let n = 0; n < 5; n++) for (const sql of ['BEGIN', 'SELECT n FROM notes', 'COMMIT']) await one.query(sql);
        for (const sql of ['BEGIN', 'INSERT INTO notes VALUES ()', 'ROLLBACK']) await one.query(sql);
        assert.match(await fate(one.query('INSERT INTO notes VALUES (1)')), /^1062/);
        assert.equal(await logged(evenkeel), before);
        for (const sql of ['BEGIN', 'SELECT one FROM hiding', 'COMMIT']) await one.query(sql);
        const [rows] = await one.query<RowDataPacket[]>('SELECT COUNT(*) AS many FROM notes');
        assert.equal(rows[0]?.['many'], 2);
        assert.equal(await logged(evenkeel), before + 1);
      } finally {
        one.destroy();
      }
    },

    'a COMMIT of nothing but what a text hides is asked about': async (evenkeel) => {
      const one = await application(evenkeel);
      const count = async (): Promise<number> => {
        const [rows] = await one.query<RowDataPacket[]>('SELECT COUNT(*) AS many FROM notes');
        return Number(rows[0]?.['many']);
      };
      try {
        const before = await count();
        await one.query('BEGIN');
        await one.query('SELECT one FROM hiding');
        assert.equal(await losesCommit(evenkeel, () => fate(one.query('COMMIT'))), 'done');
        assert.equal(await count(), before + 1);
      } finally {
        one.destroy();
      }
    },

    'a number that a table without transactions has used is not used again': async (evenkeel) => {
      await through(evenkeel, 'CREATE TABLE kept (n INT)', 'CREATE TABLE loose (n INT) ENGINE=MyISAM');
      const one = await application(evenkeel);
      try {
        for (const sql of ['BEGIN', 'INSERT INTO loose VALUES (1)', 'ROLLBACK']) await one.query(sql);
        for (let n = 0; n < 5; n++) {
          for (const sql of ['BEGIN', `INSERT INTO kept VALUES (${n})`, 'COMMIT']) await one.query(sql);
          await one.query(`INSERT INTO kept VALUES (${n + 100})`);
        }
        const [rows] = await one.query<RowDataPacket[]>('SELECT COUNT(*) AS many FROM kept');
        assert.equal(rows[0]?.['many'], 10);
      } finally {
        one.destroy();
      }
    },

    'a procedure that commits inside a transaction works, at the latest the second time': async (evenkeel) => {
      await through(evenkeel, 'CREATE TABLE inside (n INT)');
      await directly(
        evenkeel,
        await evenkeel.primary(),
        'CREATE PROCEDURE app.commits() BEGIN INSERT INTO inside VALUES (1); COMMIT; INSERT INTO inside VALUES (2); END',
      );
      const one = await application(evenkeel);
      const call = async (): Promise<string> => {
        await one.query('BEGIN');
        await one.query('SELECT n FROM inside');
        const told = await fate(one.query('CALL commits()'));
        await one.query('COMMIT');
        return told;
      };
      try {
        const first = await call();
        if (evenkeel.sandbox.flavor === 'mysql') {
          assert.match(first, /^1837 /);
          await until('it to be counted', 5000, async () => {
            return (await counted(evenkeel, 'not_witnessed', 'commits-inside')) > 0;
          });
        } else assert.equal(first, 'done');
        assert.equal(await call(), 'done');
      } finally {
        one.destroy();
      }
    },
  },
);

stories(
  'a transaction',
  { replication: 'async', nodes: 3, apart: true },
  {
    'outlives several primaries': async (evenkeel) => {
      await through(evenkeel, 'CREATE TABLE long_ones (n INT PRIMARY KEY AUTO_INCREMENT, note VARCHAR(20))');
      await through(evenkeel, 'CREATE TABLE failing (n INT PRIMARY KEY)');
      // Nothing else promises that they outlive their primary, too.
      for (const replica of await evenkeel.replicas()) {
        await until('the tables to be replicated', 10_000, () =>
          succeeds(directly(evenkeel, replica, 'SELECT * FROM app.failing')),
        );
      }
      const one = await application(evenkeel);
      const failed = await application(evenkeel);
      try {
        await failed.query('SET autocommit = 0');
        assert.match(await fate(failed.query('INSERT INTO failing VALUES (1, 2)')), /^1136 /);
        assert.match(await fate(failed.query('INSERT INTO failing VALUES (1), (1)')), /^1062 /);
        await one.query("SET @word = 'kept'");
        await one.query('BEGIN');
        const [first] = await one.query<ResultSetHeader>('INSERT INTO long_ones (note) VALUES (@word)');
        for (let kills = 0; kills < 2; kills++) {
          const primary = await evenkeel.primary();
          await evenkeel.signalNode(primary, 'SIGKILL');
          await evenkeel.promotedFrom(primary);
          if (kills === 0) await one.query("SET @word = CONCAT(@word, '!')");
        }
        await one.query('INSERT INTO long_ones (note) VALUES (@word)');
        await one.query('COMMIT');
        const [rows] = await one.query<RowDataPacket[]>('SELECT n, note FROM long_ones ORDER BY n');
        assert.deepEqual(
          rows.map((row) => row['note']),
          ['kept', 'kept!'],
        );
        assert.equal(rows[0]?.['n'], first.insertId);
        // Nothing but an error was seen of its transaction, which goes on all the same.
        await failed.query('INSERT INTO failing VALUES (1)');
        await failed.query('COMMIT');
        assert.equal((await one.query<RowDataPacket[]>('SELECT n FROM failing'))[0].length, 1);
        await until('the replays to be counted', 5000, async () => (await counted(evenkeel, 'replays', 'same')) >= 2);
      } finally {
        failed.destroy();
        one.destroy();
      }
    },

    'of an account without the grants is in doubt, and check says so beforehand': async (evenkeel) => {
      const { flavor, app } = evenkeel.sandbox;
      const primary = await evenkeel.primary();
      const grant = flavor === 'mysql' ? 'REPLICATION_APPLIER ON *.*' : 'SELECT, INSERT, UPDATE ON evenkeel.ledger';
      await directly(evenkeel, primary, `REVOKE ${grant} FROM '${app.user}'@'%'`);
      const { stdout } = await evenkeel.run('check');
      assert.ok(stdout.includes(`mend: GRANT ${grant} TO '${app.user}'@'%'`), stdout);
      await through(evenkeel, 'CREATE TABLE doubts (n INT)');
      const [commits, opens] = await Promise.all([application(evenkeel), application(evenkeel)]);
      try {
        for (const client of [commits, opens])
          for (const sql of ['BEGIN', 'INSERT INTO doubts VALUES (1)']) await client.query(sql);
        await evenkeel.signalNode(primary, 'SIGSTOP');
        const pending = fate(commits.query('COMMIT'));
        await evenkeel.signalNode(primary, 'SIGKILL');
        assert.match(await pending, /^9104 .*outcome-unknown; unknown/);
        assert.match(await fate(opens.query('INSERT INTO doubts VALUES (2)')), /^1213 .*not executed/);
        assert.notEqual(addressOf(await evenkeel.promotedFrom(primary)), addressOf(primary));
      } finally {
        commits.destroy();
        opens.destroy();
      }
    },
  },
);
