// An operator's stories of planned changes of primary: under load, with transactions that end in time and with one that
// does not, refused before anything is held, and taken back where they fail on the way.
import assert from 'node:assert/strict';
import { setTimeout } from 'node:timers/promises';
import type { SandboxNode } from '../../src/sandbox/index.ts';
import {
  addressOf,
  application,
  directly,
  type Evenkeel,
  Load,
  reached,
  stories,
  through,
  until,
  valueOn,
  writableNodes,
} from './harness/index.ts';

const cluster = '    switchover: { drainTimeout: 1s, catchUpTimeout: 2s, maxLag: 1s }';

async function replicaOf(evenkeel: Evenkeel): Promise<SandboxNode> {
  const [replica] = await evenkeel.replicas();
  assert.ok(replica);
  return replica;
}

/** Checks and catching up are over: statements wait. */
async function holding(evenkeel: Evenkeel): Promise<boolean> {
  return /held \(switchover\)/.test(await (await evenkeel.fetch('/readyz')).text());
}

/** A switchover that is refused: exit status 1, a reason, and nothing changed. */
async function refused(evenkeel: Evenkeel, args: string[], why: RegExp): Promise<void> {
  const { epoch, primary } = (await evenkeel.status()).clusters[0] ?? {};
  const { code, stderr, stdout } = await evenkeel.run('switchover', ...args);
  assert.equal(code, 1, stdout + stderr);
  assert.match(stderr, why);
  const after = (await evenkeel.status()).clusters[0];
  assert.deepEqual([after?.epoch, after?.primary], [epoch, primary]);
}

/** How many holds there were, once every worker has told: each does every second. */
async function holds(evenkeel: Evenkeel): Promise<string> {
  await setTimeout(2500);
  const text = await (await evenkeel.fetch('/metrics')).text();
  return text
    .split('\n')
    .filter((line) => /hold_started.*switchover/.test(line))
    .join('\n');
}

const stopReplication = { mysql: 'STOP REPLICA', mariadb: 'STOP SLAVE' } as const;
const startReplication = { mysql: 'START REPLICA', mariadb: 'START SLAVE' } as const;
const delayed = {
  mysql: (seconds: number) => `CHANGE REPLICATION SOURCE TO SOURCE_DELAY = ${seconds}`,
  mariadb: (seconds: number) => `CHANGE MASTER TO MASTER_DELAY = ${seconds}`,
} as const;

stories(
  'a planned change of primary',
  { replication: 'semisync', nodes: 3, cluster },
  {
    'under load, with and without a named candidate, no client sees an error': async (evenkeel) => {
      const load = await Load.start(evenkeel, { clients: 16 });
      const to = await replicaOf(evenkeel);
      const first = await evenkeel.switchover(to);
      await load.more();
      assert.deepEqual([first.outcome, first.to, first.kind], ['done', addressOf(to), 'switchover']);
      assert.deepEqual(await reached(evenkeel), to);
      // Nobody waits for a login when the gate opens.
      const opened = first.steps.find(({ name }) => name === `open-connections ${addressOf(to)}`);
      assert.match(opened?.detail ?? '', /^[1-9]\d* connections open/);
      await evenkeel.healthy();

      const second = await evenkeel.switchover();
      await load.more();
      assert.equal(second.outcome, 'done');
      assert.equal(second.from, addressOf(to));
      assert.ok(second.epoch > first.epoch);
      assert.ok(second.longestStallMs > 0 && second.clientErrors === 0);
      const wanted =
        'id kind cluster from to epoch outcome reason startedAt durationMs longestStallMs clientErrors steps'.split(
          ' ',
        );
      assert.deepEqual(Object.keys(second).sort(), wanted.sort());
      for (const step of second.steps) {
        assert.deepEqual(Object.keys(step).sort(), ['detail', 'durationMs', 'name', 'startedMs']);
      }
      await evenkeel.healthy();
      assert.deepEqual(await load.lostOn(evenkeel.node(second.to ?? '')), []);
      assert.deepEqual([load.errors, load.broken], [[], []]);
      assert.deepEqual(await writableNodes(evenkeel), [second.to]);
      const said = await evenkeel.run('status', '--json');
      const { clusters, endpoints } = JSON.parse(said.stdout) as Record<
        'clusters' | 'endpoints',
        Record<string, unknown>[]
      >;
      const has = (one: unknown, keys: string) => {
        for (const key of keys.split(' ')) assert.ok(Object.hasOwn(one as object, key), key);
      };
      has(clusters[0], 'name epoch state primary nodes');
      has((clusters[0]?.['nodes'] as unknown[] | undefined)?.[0], 'node role state lagMs gtid');
      has(endpoints[0], 'name listen route clients held');
      const { code, stdout } = await evenkeel.run('history', '--json');
      assert.equal(code, 0);
      const records = JSON.parse(stdout) as { id: string }[];
      assert.deepEqual(
        records.slice(0, 2).map(({ id }) => id),
        [second.id, first.id],
      );
    },

    'under load of transactions nobody is told to try again': async (evenkeel) => {
      const load = await Load.start(evenkeel, { clients: 16, mode: 'transactions' });
      const { to, outcome } = await evenkeel.switchover();
      assert.equal(outcome, 'done');
      await load.more();
      assert.deepEqual(await load.lostOn(evenkeel.node(to ?? '')), []);
      assert.deepEqual([load.errors, load.broken], [[], []]);
    },

    'a drill on a cluster in use takes an explicit word, and leaves nothing behind': async (evenkeel) => {
      const { user, password } = evenkeel.sandbox.app;
      process.env['EVENKEEL_DRILL_PASSWORD'] = password;
      const drill = (...args: string[]) =>
        evenkeel.run('drill', '--cluster', 'shop', '--user', user, '--connections', '4', '--seconds', '0', ...args);
      const unsaid = await drill();
      assert.equal(unsaid.code, 2);
      assert.match(unsaid.stderr, /would be switched over .* say --i-mean-it/);
      const killing = await drill('--i-mean-it', '--faults', 'kill');
      assert.deepEqual([killing.code, /a kill is for sandboxes/.test(killing.stderr)], [2, true]);
      const taken = await drill('--i-mean-it', '--schema', 'app');
      assert.equal(taken.code, 1);
      assert.match(taken.stderr, /database exists; name another with --schema/);
      await directly(evenkeel, await evenkeel.primary(), `GRANT ALL ON evenkeel_drill.* TO '${user}'@'%'`);
      const { epoch = 0 } = (await evenkeel.status()).clusters[0] ?? {};
      const { code, stdout, stderr } = await drill('--i-mean-it', '--rounds', '2', '--json');
      assert.equal(code, 0, stdout + stderr);
      const { verdict, acknowledged, faults } = JSON.parse(stdout) as Record<string, unknown>;
      assert.deepEqual([verdict, (faults as unknown[]).length], ['pass', 2]);
      assert.ok(Number(acknowledged) > 0, stdout);
      assert.ok(((await evenkeel.status()).clusters[0]?.epoch ?? 0) >= epoch + 2);
      const [rows] = await through(evenkeel, "SHOW DATABASES LIKE 'evenkeel_drill'");
      assert.deepEqual(rows, []);
      await evenkeel.healthy();
    },

    'an open transaction may end; a stubborn one goes on on the new primary at the drain limit': async (evenkeel) => {
      await through(evenkeel, 'CREATE TABLE open_ones (n INT PRIMARY KEY)');
      const [ends, stays, idle] = await Promise.all([1, 2, 3].map(() => application(evenkeel)));
      assert.ok(ends && stays && idle);
      for (const [n, connection] of [ends, stays].entries()) {
        await connection.query('BEGIN');
        await connection.query('INSERT INTO open_ones VALUES (?)', [n]);
      }
      const done = evenkeel.switchover();
      await until('the hold', 5000, () => holding(evenkeel));
      const held = idle.query('INSERT INTO open_ones VALUES (10)');
      await ends.query('COMMIT');
      const { outcome, steps } = await done;
      assert.equal(outcome, 'done');
      assert.match(steps.find(({ name }) => name === 'drain')?.detail ?? '', /1/);
      await held;
      await stays.query('INSERT INTO open_ones VALUES (11)');
      assert.deepEqual((await idle.query('SELECT n FROM open_ones ORDER BY n'))[0], [{ n: 0 }, { n: 10 }]);
      await stays.query('COMMIT');
      const [rows] = await stays.query('SELECT n FROM open_ones ORDER BY n');
      assert.deepEqual(rows, [{ n: 0 }, { n: 1 }, { n: 10 }, { n: 11 }]);
      for (const connection of [ends, stays, idle]) connection.destroy();
    },

    'what speaks against it is said before anything is held': async (evenkeel) => {
      const { flavor } = evenkeel.sandbox;
      const primary = await evenkeel.primary();
      const replica = await replicaOf(evenkeel);
      const to = ['--to', addressOf(replica)];
      const before = await holds(evenkeel);
      await refused(evenkeel, ['--to', '127.0.0.1:1'], /no node 127\.0\.0\.1:1/);
      await refused(evenkeel, ['--to', addressOf(primary)], /is the primary already/);

      await directly(evenkeel, replica, stopReplication[flavor]);
      await refused(evenkeel, to, /stopped|does not receive/);
      await directly(evenkeel, replica, delayed[flavor](3600), startReplication[flavor]);
      await until('the delay to be named', 5000, async () => {
        const { nodes = [] } = (await evenkeel.status()).clusters[0] ?? {};
        return nodes.some(
          ({ node, state: is, detail }) => node === addressOf(replica) && is === 'delayed' && /3600/.test(detail),
        );
      });
      await refused(evenkeel, to, /delayed on purpose by 3600 s/);
      await directly(evenkeel, replica, stopReplication[flavor], delayed[flavor](0), startReplication[flavor]);
      await evenkeel.healthy();

      await evenkeel.signalNode(replica, 'SIGSTOP');
      try {
        await refused(evenkeel, to, /cannot be reached|no answer/);
      } finally {
        await evenkeel.signalNode(replica, 'SIGCONT');
      }
      assert.equal(await holds(evenkeel), before);
    },

    'a candidate that stops applying under the hold: everything goes back, and clients go on': async (evenkeel) => {
      await through(evenkeel, 'CREATE TABLE locked (n INT PRIMARY KEY)', 'INSERT INTO locked VALUES (0)');
      const primary = await evenkeel.primary();
      const replica = await replicaOf(evenkeel);
      const lock = await (await import('mysql2/promise')).createConnection(evenkeel.direct(replica));
      const writer = await application(evenkeel);
      const bystander = await application(evenkeel);
      await until('the candidate to have all', 5000, async () => {
        return (await valueOn(evenkeel, replica, 'SELECT COUNT(*) FROM app.locked').catch(() => 0)) === 1;
      });
      await lock.query('LOCK TABLES app.locked READ');
      await writer.query('BEGIN');
      await writer.query('INSERT INTO locked VALUES (1)');
      const order = evenkeel.run('switchover', '--json', '--to', addressOf(replica));
      await until('the hold', 5000, () => holding(evenkeel));
      const held = bystander.query('INSERT INTO locked VALUES (2)');
      await writer.query('COMMIT');
      const { code, stdout, stderr } = await order;
      assert.equal(code, 1);
      assert.notEqual(stdout, '', stderr);
      const record = JSON.parse(stdout) as { outcome: string; reason: string };
      assert.equal(record.outcome, 'rolled-back');
      assert.match(record.reason, /wait-for-position/);
      await held;
      assert.deepEqual(await reached(evenkeel), primary);
      assert.deepEqual(await writableNodes(evenkeel), [addressOf(primary)]);
      await lock.query('UNLOCK TABLES');
      const [rows] = await writer.query('SELECT n FROM locked ORDER BY n');
      assert.deepEqual(rows, [{ n: 0 }, { n: 1 }, { n: 2 }]);
      for (const connection of [lock, writer, bystander]) connection.destroy();
      await evenkeel.healthy();
      assert.equal((await evenkeel.switchover(replica)).outcome, 'done');
    },
  },
);
