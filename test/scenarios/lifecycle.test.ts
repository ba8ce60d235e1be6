// An operator's stories of Evenkeel's own processes: stopped, killed, started twice, and started again over clients that
// never noticed.
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import type { Connection, RowDataPacket } from 'mysql2/promise';
import { application, type Evenkeel, Load, stories, succeeds, through, until } from './harness/index.ts';

const options = { replication: 'async', nodes: 2, apart: true } as const;

async function addressTaken(evenkeel: Evenkeel): Promise<boolean> {
  return await new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(true));
    server.listen(evenkeel.ports.writer, '127.0.0.1', () => server.close(() => resolve(false)));
  });
}

/** Connections until every worker has one; which is whose is found out by killing. */
async function crowd(evenkeel: Evenkeel, count: number, broken: Set<Connection>): Promise<Connection[]> {
  const all = await Promise.all(Array.from({ length: count }, () => application(evenkeel)));
  for (const one of all) one.on('error', () => broken.add(one));
  return all;
}

const answers = (connection: Connection): Promise<boolean> => succeeds(connection.query('SELECT 1'));

stories("Evenkeel's own processes", options, {
  'SIGTERM lets open transactions end, takes nobody new, and exits with 0': async (evenkeel) => {
    await through(evenkeel, 'CREATE TABLE ends (n INT PRIMARY KEY)');
    const open = await application(evenkeel);
    const idle = await application(evenkeel);
    open.on('error', () => undefined);
    idle.on('error', () => undefined);
    await open.query('BEGIN');
    await open.query('INSERT INTO ends VALUES (1)');
    const workers = await evenkeel.workerPids();
    const exit = evenkeel.stop('SIGTERM');
    await until('new connections to be refused', 10_000, () =>
      application(evenkeel).then(
        (connection) => (connection.destroy(), false),
        () => true,
      ),
    );
    await open.query('INSERT INTO ends VALUES (2)');
    await open.query('COMMIT');
    assert.equal(await exit, 0);
    for (const pid of workers) assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
    await evenkeel.start();
    const [rows] = await through(evenkeel, 'SELECT COUNT(*) AS count FROM ends');
    assert.equal(rows[0]?.['count'], 2);
    open.destroy();
    idle.destroy();
  },

  'a killed worker costs its own clients only, and is replaced': async (evenkeel) => {
    const broken = new Set<Connection>();
    const all = await crowd(evenkeel, 24, broken);
    const [victim, other] = await evenkeel.workerPids();
    assert.ok(victim && other);
    process.kill(victim, 'SIGKILL');
    await until('the worker to be replaced', 10_000, async () => {
      const pids = await evenkeel.workerPids();
      return pids.length === 2 && !pids.includes(victim) && pids.includes(other);
    });
    const alive = await Promise.all(all.map(answers));
    assert.ok(alive.includes(true), 'the other worker has its clients still');
    assert.ok(alive.includes(false), 'the killed one had clients');
    await until('both to serve', 10_000, async () => (await evenkeel.fetch('/readyz')).status === 200);
    for (const one of await crowd(evenkeel, 8, broken)) {
      assert.ok(await answers(one));
      one.destroy();
    }
    const metrics = await (await evenkeel.fetch('/metrics')).text();
    assert.match(metrics, /worker_restarts.* 1$/m);
    for (const one of all) one.destroy();
  },

  'a control process that is killed costs nothing: clients go on, and the next one takes the workers over': async (
    evenkeel,
  ) => {
    const load = await Load.start(evenkeel, { clients: 8, pauseMs: 10 });
    const kept = await application(evenkeel);
    const [ids] = await kept.query<RowDataPacket[]>('SELECT CONNECTION_ID() AS id');
    const workers = await evenkeel.workerPids();
    await evenkeel.stop('SIGKILL');
    assert.ok(await addressTaken(evenkeel));
    await load.more(100);
    await through(evenkeel, 'SELECT 1');
    await evenkeel.start();
    assert.deepEqual(new Set(await evenkeel.workerPids()), new Set(workers));
    await load.more(100);
    const [again] = await kept.query<RowDataPacket[]>('SELECT CONNECTION_ID() AS id');
    assert.deepEqual(again, ids);
    const primary = await evenkeel.primary();
    // It does its work: the clients that it took over are held in a switchover as all others.
    assert.equal((await evenkeel.switchover()).outcome, 'done');
    await load.more(100);
    assert.notEqual(await evenkeel.primary(), primary);
    assert.deepEqual(await load.lostOn(await evenkeel.primary()), []);
    assert.deepEqual([load.errors, load.broken], [[], []]);
    kept.destroy();
  },

  'a second start on the same state directory says so and leaves the first one alone': async (evenkeel) => {
    const { code, stderr } = await evenkeel.run('start');
    assert.equal(code, 1);
    assert.match(stderr, /cannot start: .*(state directory|already)/i);
    await through(evenkeel, 'SELECT 1');
  },

  'an address that is in use is named, and nothing is left running': async (evenkeel) => {
    assert.equal(await evenkeel.stop('SIGTERM'), 0);
    const squatter = createServer();
    await new Promise<void>((resolve) => squatter.listen(evenkeel.ports.writer, '127.0.0.1', resolve));
    try {
      const { code, stderr } = await evenkeel.run('start');
      assert.equal(code, 1);
      assert.match(
        stderr,
        new RegExp(`127\\.0\\.0\\.1:${evenkeel.ports.writer}.*in use|in use.*${evenkeel.ports.writer}`),
      );
      assert.deepEqual(await evenkeel.workerPids(), []);
    } finally {
      await new Promise((resolve) => squatter.close(resolve));
    }
    await evenkeel.start();
    await through(evenkeel, 'SELECT 1');
  },
});
