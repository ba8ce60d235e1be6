// An operator's stories of what is no death, and of what others do to the cluster behind Evenkeel's back: noticed, named,
// followed, and never answered with a failover.
import assert from 'node:assert/strict';
import mysql from 'mysql2/promise';
import type { SandboxNode } from '../../src/sandbox/index.ts';
import {
  addressOf,
  application,
  byHand,
  directly,
  type Evenkeel,
  Load,
  reached,
  stories,
  succeeds,
  through,
  until,
  valueOn,
  writableNodes,
} from './harness/index.ts';

const SQL = {
  mysql: {
    ...byHand.mysql,
    writable: 'SET GLOBAL read_only = 0',
    position: 'SELECT @@global.gtid_executed',
    wait: (position: string) => `SELECT WAIT_FOR_EXECUTED_GTID_SET('${position.replaceAll('\n', '')}', 5)`,
    delay: (seconds: number) => `CHANGE REPLICATION SOURCE TO SOURCE_DELAY = ${seconds}`,
  },
  mariadb: {
    ...byHand.mariadb,
    writable: 'SET GLOBAL read_only = 0',
    position: 'SELECT @@global.gtid_binlog_pos',
    wait: (position: string) => `SELECT MASTER_GTID_WAIT('${position}', 5)`,
    delay: (seconds: number) => `CHANGE MASTER TO MASTER_DELAY = ${seconds}`,
  },
} as const;

async function replicaOf(evenkeel: Evenkeel): Promise<SandboxNode> {
  const [replica] = await evenkeel.replicas();
  assert.ok(replica);
  return replica;
}

async function named(evenkeel: Evenkeel, node: SandboxNode, state: string, detail: RegExp): Promise<void> {
  await until(`${node.name} to be named ${state}`, 10_000, async () => {
    const { nodes = [], problems = [] } = (await evenkeel.status()).clusters[0] ?? {};
    const one = nodes.find((each) => each.node === addressOf(node));
    return (
      one?.state === state && detail.test(one.detail) && problems.some(({ text }) => text.includes(addressOf(node)))
    );
  });
}

/** The primary stays, under the same epoch, and no client sees an error: not even one whose write was in flight. */
async function unmoved(evenkeel: Evenkeel, work: (primary: SandboxNode) => Promise<void>): Promise<void> {
  const before = (await evenkeel.status()).clusters[0];
  const load = await Load.start(evenkeel, { clients: 8, pauseMs: 10 });
  await work(await evenkeel.primary());
  await load.more(64);
  await load.stop();
  assert.deepEqual([load.errors, load.broken], [[], []]);
  await evenkeel.healthy();
  const after = (await evenkeel.status()).clusters[0];
  assert.deepEqual([after?.primary, after?.epoch], [before?.primary, before?.epoch]);
}

stories(
  'what is no death',
  { replication: 'async', nodes: 3 },
  {
    'a server that stands still for a moment is waited for': async (evenkeel) => {
      await unmoved(evenkeel, async (primary) => {
        await evenkeel.signalNode(primary, 'SIGSTOP');
        await new Promise((resolve) => setTimeout(resolve, 300));
        await evenkeel.signalNode(primary, 'SIGCONT');
      });
    },

    'a server without a free connection lives': async (evenkeel) => {
      await unmoved(evenkeel, async (primary) => {
        const limit = Number(await valueOn(evenkeel, primary, 'SELECT @@global.max_connections'));
        const side: mysql.Connection[] = [];
        const { host, port } = primary;
        try {
          const used = 'SELECT COUNT(*) FROM information_schema.processlist';
          await directly(
            evenkeel,
            primary,
            `SET GLOBAL max_connections = ${Number(await valueOn(evenkeel, primary, used)) + 2}`,
          );
          for (let n = 0; n < 20; n++) {
            const one = await mysql
              .createConnection({ host, port, ...evenkeel.sandbox.app })
              .catch((error: { errno?: number }) => {
                assert.equal(error.errno, 1040);
                return null;
              });
            if (one === null) break;
            side.push(one);
          }
          // Long enough for several looks, and for more than one fresh one.
          const epoch = (await evenkeel.status()).clusters[0]?.epoch;
          const until = performance.now() + 3000;
          while (performance.now() < until) {
            const cluster = (await evenkeel.status()).clusters[0];
            assert.deepEqual([cluster?.epoch, cluster?.primary], [epoch, addressOf(primary)]);
            await new Promise((resolve) => setTimeout(resolve, 50));
          }
        } finally {
          for (const one of side) one.destroy();
          await until('a connection', 5000, () =>
            succeeds(directly(evenkeel, primary, `SET GLOBAL max_connections = ${limit}`)),
          );
        }
      });
    },

    'a client whose server connection a DBA kills goes on, and nobody fails over': async (evenkeel) => {
      const primary = await evenkeel.primary();
      const before = (await evenkeel.status()).clusters[0];
      const client = await application(evenkeel);
      const broken: string[] = [];
      client.on('error', (error: Error) => broken.push(error.message));
      const [rows] = await directly(evenkeel, primary, 'SHOW PROCESSLIST');
      const { user } = evenkeel.sandbox.app;
      await client.query('SET SESSION sort_buffer_size = 300000');
      for (const row of rows) {
        if (row['User'] === user) await directly(evenkeel, primary, `KILL ${row['Id']}`).catch(() => undefined);
      }
      const [sizes] = await client.query('SELECT @@sort_buffer_size AS size');
      assert.deepEqual(sizes, [{ size: 300000 }]);
      assert.deepEqual(broken, []);
      client.destroy();
      const after = (await evenkeel.status()).clusters[0];
      assert.deepEqual([after?.primary, after?.epoch], [before?.primary, before?.epoch]);
    },
  },
);

stories(
  'what others do to the cluster',
  { replication: 'async', nodes: 3 },
  {
    'a replica that is delayed, and one that broke, are named with the reason': async (evenkeel) => {
      const sql = SQL[evenkeel.sandbox.flavor];
      const [late, broken] = await evenkeel.replicas();
      assert.ok(late && broken);
      await directly(evenkeel, late, sql.stop, sql.delay(3600), sql.start);
      await named(evenkeel, late, 'delayed', /3600 s later on purpose/);
      await directly(evenkeel, late, sql.stop, sql.delay(0), sql.start);

      await through(evenkeel, 'CREATE TABLE breaks (n INT PRIMARY KEY)');
      await until('the table', 5000, () => succeeds(valueOn(evenkeel, broken, 'SELECT COUNT(*) FROM app.breaks')));
      // Behind the replica's back, without a trace in its log: so it is no errant transaction.
      await directly(
        evenkeel,
        broken,
        'SET SESSION sql_log_bin = 0',
        'SET GLOBAL read_only = 0',
        'INSERT INTO app.breaks VALUES (1)',
        sql.readOnly,
      );
      await through(evenkeel, 'INSERT INTO breaks VALUES (1)');
      await named(evenkeel, broken, 'replication-broken', /1062/);
      await directly(
        evenkeel,
        broken,
        'SET SESSION sql_log_bin = 0',
        'SET GLOBAL read_only = 0',
        'DELETE FROM app.breaks',
        sql.readOnly,
        sql.stop,
        sql.start,
      );
    },

    'a second node that takes writes is named, made read-only, and gets no writes of ours': async (evenkeel) => {
      const primary = await evenkeel.primary();
      const second = await replicaOf(evenkeel);
      await directly(evenkeel, second, 'SET GLOBAL read_only = 0');
      await until('both to be named', 5000, async () => {
        const { problems = [] } = (await evenkeel.status()).clusters[0] ?? {};
        const text = problems.find(({ code }) => code === 'two-writers')?.text ?? '';
        return text.includes(addressOf(primary)) && text.includes(addressOf(second));
      });
      assert.deepEqual(await reached(evenkeel), primary);
      await evenkeel.healthy();
      assert.deepEqual(await writableNodes(evenkeel), [addressOf(primary)]);
    },

    'a switchover by hand is followed under a hold, and clients go on': async (evenkeel) => {
      const sql = SQL[evenkeel.sandbox.flavor];
      const old = await evenkeel.primary();
      const next = await replicaOf(evenkeel);
      const load = await Load.start(evenkeel, { clients: 8, pauseMs: 10 });
      await directly(evenkeel, old, sql.readOnly);
      const position = String(await valueOn(evenkeel, old, sql.position));
      await directly(evenkeel, next, sql.wait(position), ...sql.detach, sql.writable);
      const promotedAt = performance.now();
      await evenkeel.promotedFrom(old, 10_000);
      const noticedMs = performance.now() - promotedAt;
      assert.ok(noticedMs < 5000, `noticed after ${noticedMs} ms`);
      // What the operator left undone, Evenkeel does: the other two follow the new primary.
      await load.more();
      assert.deepEqual(await load.lostOn(next), []);
      assert.deepEqual([load.errors, load.broken], [[], []]);
      await evenkeel.healthy();
      const followed = (await evenkeel.history()).find(({ kind }) => kind === 'follow');
      assert.deepEqual([followed?.outcome, followed?.from, followed?.to], ['done', addressOf(old), addressOf(next)]);
    },
  },
);
