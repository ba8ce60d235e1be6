// Rules of the configuration on real servers: what they refuse, slow down, stop and send elsewhere, and that nothing else
// is touched by them.
import assert from 'node:assert/strict';
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise';
import { application, type Evenkeel, selectsOn, stories, through, until } from './harness/index.ts';

/** Of a thousand rows with themselves: for hours, unless it begins with none of them. */
const crossJoin = (below: number | '?'): string =>
  `SELECT COUNT(*) FROM many a, many b, many c, many d WHERE a.n < ${below} AND a.n + b.n + c.n + d.n > 0`;
const SLOW = crossJoin(1000);
const FAST = crossJoin(0);

const RULES = `
rules:
  - { name: dumps, statement: "SELECT * FROM things", endpoint: writer, refuse: "use the reader" }
  - { name: counts, statement: "SELECT COUNT(*) FROM things WHERE n > 1", endpoint: writer, route: replica, timeout: 20s }
  - { name: few, statement: "INSERT INTO few VALUES (1)", maxPerSecond: 2 }
  - { name: quick, statement: "${FAST}", timeout: 300ms }
  - { name: begins, statement: "START TRANSACTION", endpoint: reader, refuse: "not here" }
  - { name: nobody, schema: information_schema, refuse: "not through Evenkeel" }
`;

const rowsOf = async (client: Connection, sql: string): Promise<Record<string, unknown>[]> =>
  (await client.query<RowDataPacket[]>(sql))[0];

async function selectsOnReplica(evenkeel: Evenkeel): Promise<number> {
  const [replica] = await evenkeel.replicas();
  assert.ok(replica);
  return selectsOn(evenkeel, replica);
}

async function metric(evenkeel: Evenkeel, rule: string): Promise<number> {
  const text = await (await evenkeel.fetch('/metrics')).text();
  return Number(new RegExp(`evenkeel_ruled_statements_total\\{reason="${rule}"\\} (\\d+)`).exec(text)?.[1] ?? 0);
}

stories(
  'rules of the configuration',
  { replication: 'async', nodes: 2, workers: 1, config: RULES },
  {
    'a statement that is refused is told why, and the transaction that it came in goes on': async (evenkeel) => {
      await through(evenkeel, 'CREATE TABLE things (id INT PRIMARY KEY, n INT)', 'INSERT INTO things VALUES (1, 0)');
      const client = await application(evenkeel);
      await client.beginTransaction();
      await client.query('UPDATE things SET n = 5');
      const told = { errno: 9113, sqlMessage: /dumps: use the reader .*not executed/ };
      await assert.rejects(client.query('select *  FROM things'), told);
      await assert.rejects(client.execute('SELECT * FROM things'), told);
      await client.commit();
      assert.deepEqual(await rowsOf(client, 'SELECT n FROM things'), [{ n: 5 }]);
      const reader = await mysql.createConnection({ ...evenkeel.login(), port: evenkeel.ports.reader });
      await reader.query('SELECT * FROM things');
      await assert.rejects(reader.query('START TRANSACTION'), { errno: 9113 });
      await until('both to be counted', 5000, async () => (await metric(evenkeel, 'dumps')) === 2);
      await Promise.all([client.end(), reader.end()]);
    },

    'by schema, whoever asks': async (evenkeel) => {
      const client = await application(evenkeel);
      await client.query('SELECT 1');
      await client.query('USE information_schema');
      await assert.rejects(client.query('SELECT 1'), { errno: 9113 });
      await assert.rejects(client.query(`USE ${evenkeel.login().database}`), { errno: 9113 }, 'by its text, too');
      await client.changeUser({ database: evenkeel.login().database });
      await client.query('SELECT 1');
      await client.end();
    },

    'no more than so many a second: the others are not executed': async (evenkeel) => {
      await through(evenkeel, 'CREATE TABLE few (n INT)');
      const client = await application(evenkeel);
      let [acknowledged, refused] = [0, 0];
      for (let n = 0; n < 60; n++) {
        await client.query(`INSERT INTO few VALUES (${n})`).then(
          () => acknowledged++,
          (error: { errno: number }) => {
            assert.equal(error.errno, 9114);
            refused++;
          },
        );
      }
      assert.ok(refused > 0 && acknowledged > 0, `${acknowledged}, ${refused}`);
      assert.deepEqual(await rowsOf(client, 'SELECT COUNT(*) AS rows_there FROM few'), [{ rows_there: acknowledged }]);
      await client.end();
    },

    'a read whose time is over is stopped, at its server and in a hold, and the session goes on': async (evenkeel) => {
      const rows = Array.from({ length: 1000 }, (_, n) => `(${n})`).join();
      await through(evenkeel, 'CREATE TABLE many (n INT PRIMARY KEY)', `INSERT INTO many VALUES ${rows}`);
      const client = await application(evenkeel);
      const begun = performance.now();
      await assert.rejects(client.query(SLOW), { errno: 1317 });
      await assert.rejects(client.execute(crossJoin('?'), [1000]), { errno: 1317 });
      await client.beginTransaction();
      await client.query('UPDATE things SET n = 6');
      await assert.rejects(client.query(SLOW), { errno: 1317 });
      await client.commit();
      assert.ok(performance.now() - begun < 30_000);
      assert.deepEqual(await rowsOf(client, 'SELECT n FROM things'), [{ n: 6 }]);
      await client.query(FAST);

      assert.equal((await evenkeel.run('pause', 'writer', '--for', '25s')).code, 0);
      await assert.rejects(client.query(FAST), { errno: 1317 });
      assert.equal((await evenkeel.run('resume', 'writer')).code, 0);
      await client.query(FAST);
      await client.end();
    },

    'what ran is told by its shape, account and schema, and the shape is an example for a rule': async (evenkeel) => {
      const client = await application(evenkeel);
      const { database, user } = evenkeel.login();
      for (const list of ['1', '1, 2', '1, 2, 3']) await client.query(`SELECT n FROM things WHERE id IN (${list})`);
      await client.execute('SELECT n FROM things WHERE id IN (?, ?)', [1, 2]);
      await assert.rejects(client.query("SELECT nothing FROM things WHERE id IN ('x')"));
      const asked = await evenkeel.run('digests', '--sort', 'count', '--limit', '1000', '--json');
      assert.equal(asked.code, 0, asked.stderr);
      const digests = JSON.parse(asked.stdout) as Record<string, unknown>[];
      const of = (statement: string) =>
        digests.filter((one) => one['statement'] === statement && one['schema'] === database && one['user'] === user);
      const [good] = of('select n from things where id in ( ? )');
      assert.deepEqual([good?.['count'], good?.['errors'], good?.['endpoint']], [4, 0, 'writer']);
      const [bad] = of('select nothing from things where id in ( ? )');
      assert.deepEqual([bad?.['count'], bad?.['errors']], [1, 1]);
      assert.match((await evenkeel.run('digests')).stdout, /^COUNT +ERRORS +TIME/);
      await client.end();
    },

    'reads that a rule sends to replicas go there, and see what their session has written': async (evenkeel) => {
      const client = await application(evenkeel);
      const before = await selectsOnReplica(evenkeel);
      for (let n = 1; n <= 50; n++) {
        await client.query('INSERT INTO things VALUES (?, 2)', [1 + n]);
        assert.deepEqual(await rowsOf(client, 'SELECT COUNT(*) FROM things WHERE n > 1'), [{ 'COUNT(*)': 1 + n }]);
      }
      const between = await selectsOnReplica(evenkeel);
      assert.ok(between - before >= 25, `${between - before} of 50`);
      for (let n = 0; n < 200; n++) await client.query('SELECT n FROM things WHERE id = 1');
      assert.ok((await selectsOnReplica(evenkeel)) - between < 100, 'others stay');
      await client.end();
    },
  },
);
