// An operator's stories of a pause: everything waits, nothing fails, what had begun ends, and it is over by itself.
import assert from 'node:assert/strict';
import { connectWith } from '../../src/drill/driver.ts';
import { application, type Evenkeel, Load, stories, until } from './harness/index.ts';

const held = async (evenkeel: Evenkeel, endpoint = 0): Promise<number> =>
  (await evenkeel.status()).endpoints[endpoint]?.held ?? 0;

stories(
  'an endpoint that is paused',
  { replication: 'async', nodes: 2, workers: 2 },
  {
    'a transaction in progress ends, statements of all clients wait and then run in order, without an error': async (
      evenkeel,
    ) => {
      const load = await Load.start(evenkeel, { clients: 8, mode: 'transactions' });
      const [open, late] = await Promise.all([application(evenkeel), application(evenkeel)]);
      await open.query('CREATE TABLE paused (n INT PRIMARY KEY AUTO_INCREMENT, who CHAR(1))');
      await open.beginTransaction();
      await open.query("INSERT INTO paused (who) VALUES ('a')");
      const paused = await evenkeel.run('pause', 'writer', '--for', '25s', '--wait', '300ms', '--json');
      assert.equal(paused.code, 0, paused.stderr);
      assert.equal((JSON.parse(paused.stdout) as { inProgress: number }).inProgress, 1, 'the open transaction');

      await until('the load to wait', 5000, async () => (await held(evenkeel)) >= 8);
      const first = late.query("INSERT INTO paused (who) VALUES ('b')");
      await until('one more to wait', 5000, async () => (await held(evenkeel)) >= 9);
      await open.query("INSERT INTO paused (who) VALUES ('a')");
      await open.commit();
      const second = open.query("INSERT INTO paused (who) VALUES ('c')");
      await until('it to wait, too', 5000, async () => (await held(evenkeel)) >= 10);
      assert.match((await evenkeel.run('status')).stdout, /paused until 20/);
      const metrics = await (await evenkeel.fetch('/metrics')).text();
      assert.match(metrics, /evenkeel_endpoint_paused\{endpoint="writer"\} 1/);
      const again = await evenkeel.run('pause', 'writer', '--for', '25s');
      assert.match(again.stdout, /nothing is in progress any more/);

      const resumed = await evenkeel.run('resume', 'writer');
      assert.equal(resumed.code, 0, resumed.stderr);
      await Promise.all([first, second]);
      const [rows] = await open.query('SELECT GROUP_CONCAT(who ORDER BY n) AS who FROM paused');
      assert.match(JSON.stringify(rows), /"a,a,(b,c|c,b)"/);
      await load.more();
      await load.stop();
      assert.deepEqual([load.errors, load.broken], [[], []]);
      await Promise.all([open.end(), late.end()]);
    },

    'it ends by itself, in the workers alone where the control process is gone': async (evenkeel) => {
      const client = await application(evenkeel);
      const paused = await evenkeel.run('pause', 'writer', '--for', '1500ms');
      assert.equal(paused.code, 0, paused.stderr);
      let answered = false;
      const waiting = client.query('SELECT 1').then(() => (answered = true));
      await until('it to wait', 5000, async () => (await held(evenkeel)) === 1);
      await evenkeel.stop('SIGKILL');
      assert.equal(answered, false);
      await waiting;
      await evenkeel.start();
      assert.equal((await evenkeel.run('resume', 'writer')).code, 1, 'it is over');
      await client.end();
    },

    "a drill's client that gives up while it waits closes its connection, and asks for nothing else": async (
      evenkeel,
    ) => {
      const clients = [];
      for (const driver of ['mysql2', 'mariadb'] as const) clients.push(await connectWith(driver, evenkeel.login()));
      assert.equal((await evenkeel.run('pause', 'writer', '--for', '20s')).code, 0);
      for (const client of clients) client.query('SELECT 1', []).catch(() => {});
      await until('both to wait', 5000, async () => (await held(evenkeel)) === 2);
      for (const client of clients) client.destroy();
      await until('both to be gone', 5000, async () => (await evenkeel.status()).endpoints[0]?.clients === 0);
      assert.equal((await evenkeel.run('resume', 'writer')).code, 0);
      assert.doesNotMatch(await (await evenkeel.fetch('/metrics')).text(), /^evenkeel_kills_total.* [1-9]/m);
    },

    'one endpoint is paused, others go on; what waits can be killed; a pause longer than statements may wait is refused':
      async (evenkeel) => {
        const reader = await application(evenkeel, 'reader');
        const [stopped, killer] = [await application(evenkeel), await application(evenkeel)];
        assert.equal((await evenkeel.run('pause', 'writer', '--for', '20s')).code, 0);
        await reader.query('SELECT 1');
        // What waits can be stopped, and its connection goes on.
        const waits = assert.rejects(stopped.query('SELECT 1'), { errno: 1317 });
        await until('it to wait', 5000, async () => (await held(evenkeel)) === 1);
        await killer.query(`KILL QUERY ${stopped.threadId}`);
        await waits;
        assert.equal((await evenkeel.run('resume', 'writer')).code, 0);
        const long = await evenkeel.run('pause', 'reader', '--for', '29s');
        assert.equal(long.code, 1);
        assert.match(long.stderr, /hold\.timeout/);
        assert.equal((await evenkeel.run('pause', 'nobody')).code, 1);
        await stopped.query('SELECT 1');
        for (const client of [reader, stopped, killer]) await client.end();
      },
  },
);
