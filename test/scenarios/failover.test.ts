// An operator's stories of primaries that die without notice, with clients at work: what the clients see, what becomes
// of their writes, who takes writes afterwards, and what was recorded.
import assert from 'node:assert/strict';
import mysql, { type RowDataPacket } from 'mysql2/promise';
import type { SandboxNode } from '../../src/sandbox/index.ts';
import {
  addressOf,
  type Evenkeel,
  Load,
  reached,
  stories,
  through,
  until,
  valueOn,
  writableNodes,
} from './harness/index.ts';

const semisync = { replication: 'semisync', nodes: 3 } as const;

/** Every node that is in order has the same rows, and no node but the primary takes writes. */
async function inAgreement(evenkeel: Evenkeel, returned: SandboxNode, table: string): Promise<void> {
  // A write that the killed primary had logged and no replica had received is the primary's alone: errant.
  await until('the returned node to be in its place, or kept out and named', 30_000, async () => {
    const { nodes = [], problems = [], state } = (await evenkeel.status()).clusters[0] ?? {};
    const errant = nodes.find(({ node }) => node === addressOf(returned))?.state === 'errant';
    return errant
      ? problems.some(({ node, text }) => node === addressOf(returned) && /kept out/.test(text))
      : state === 'healthy';
  });
  const primary = await evenkeel.primary();
  assert.deepEqual(await writableNodes(evenkeel), [addressOf(primary)]);
  const sum = `SELECT CONCAT(COUNT(*), ' ', COALESCE(SUM(n), 0)) FROM app.${table}`;
  const wanted = await valueOn(evenkeel, primary, sum);
  const sound = (await evenkeel.status()).clusters[0]?.nodes.filter(({ state }) => state !== 'errant') ?? [];
  assert.ok(sound.length >= 2);
  for (const { node } of sound) {
    await until(`${node} to have what the primary has`, 10_000, async () => {
      return (await valueOn(evenkeel, evenkeel.node(node), sum)) === wanted;
    });
  }
}

function noErrors(load: Load): void {
  assert.deepEqual([load.broken, load.errors], [[], []]);
}

async function afterKill(evenkeel: Evenkeel, story: (dead: SandboxNode) => Promise<void>): Promise<SandboxNode> {
  const dead = await evenkeel.primary();
  await evenkeel.signalNode(dead, 'SIGKILL');
  try {
    await story(dead);
  } finally {
    await evenkeel.restartNode(dead);
  }
  return dead;
}

stories(
  'a primary that dies under load',
  { ...semisync, apart: true },
  {
    'kill -9 under writers and readers: no acknowledged write is lost, no connection, and no statement': async (
      evenkeel,
    ) => {
      const load = await Load.start(evenkeel, { clients: 32 });
      const returned = await afterKill(evenkeel, async (dead) => {
        const next = await evenkeel.promotedFrom(dead);
        await load.more();
        assert.deepEqual(await load.lostOn(next), []);
        noErrors(load);
        assert.deepEqual(await writableNodes(evenkeel), [addressOf(next)]);
      });
      await inAgreement(evenkeel, returned, load.table);
      const [record] = (await evenkeel.history()).filter(({ kind }) => kind === 'failover');
      assert.equal(record?.outcome, 'done');
      assert.ok((record?.longestStallMs ?? 0) > 0, 'the stall is recorded');
      assert.ok(record?.steps.some(({ name }) => name === `open-connections ${record.to}`));
      assert.equal(record?.clientErrors, load.errors.length);
    },

    'kill -9 under transactions: what was open goes on, what was acknowledged is there': async (evenkeel) => {
      const load = await Load.start(evenkeel, { clients: 16, mode: 'transactions' });
      const returned = await afterKill(evenkeel, async (dead) => {
        const next = await evenkeel.promotedFrom(dead);
        await load.more();
        assert.deepEqual(await load.lostOn(next), []);
        noErrors(load);
      });
      await inAgreement(evenkeel, returned, load.table);
    },

    'a frozen primary is replaced, and when it thaws nobody can write to it': async (evenkeel) => {
      const load = await Load.start(evenkeel, { clients: 16 });
      const frozen = await evenkeel.primary();
      await evenkeel.signalNode(frozen, 'SIGSTOP');
      let next: SandboxNode;
      try {
        next = await evenkeel.promotedFrom(frozen);
        await load.more();
      } finally {
        await evenkeel.signalNode(frozen, 'SIGCONT');
      }
      await until('the thawed node to be read-only', 5000, async () => {
        assert.deepEqual(await reached(evenkeel), next);
        return (await writableNodes(evenkeel)).join() === addressOf(next);
      });
      await load.more();
      assert.deepEqual(await load.lostOn(next), []);
      noErrors(load);
      // What was in flight on it when it froze may be its own alone: then it is kept out, and named; else it follows.
      await until('the thawed node to be in its place or named', 20_000, async () => {
        const { nodes = [], problems = [] } = (await evenkeel.status()).clusters[0] ?? {};
        const state = nodes.find(({ node }) => node === addressOf(frozen))?.state;
        return state === 'ok' || (state === 'errant' && problems.some(({ text }) => text.includes(addressOf(frozen))));
      });
    },
  },
);

stories('a primary that dies', semisync, {
  'idle connections, a read in flight and a new connection notice a wait at most': async (evenkeel) => {
    const idle = await mysql.createConnection(evenkeel.login());
    const reader = await mysql.createConnection(evenkeel.login());
    const told: string[] = [];
    for (const connection of [idle, reader]) connection.on('error', (error: Error) => told.push(error.message));
    await idle.query('SET SESSION sort_buffer_size = 400000');
    const prepared = await idle.prepare('SELECT ? + 1 AS sum');
    await prepared.execute([1]);
    // A server would never answer twice: it runs again on the new primary, from its beginning.
    const [sleeping] = await reader.query<RowDataPacket[]>('SELECT CONNECTION_ID() AS id');
    assert.ok(sleeping[0]?.['id']);
    const inFlight = reader.query<RowDataPacket[]>(
      'SELECT COUNT(*) AS count FROM information_schema.tables, (SELECT 1 UNION ALL SELECT 2) AS twice',
    );
    await afterKill(evenkeel, async (dead) => {
      const during = mysql.createConnection(evenkeel.login()).then(async (connection) => {
        const [rows] = await connection.query<RowDataPacket[]>('SELECT @@port AS port');
        connection.destroy();
        return rows[0]?.['port'] as number;
      });
      const [counted] = await inFlight;
      assert.ok(Number(counted[0]?.['count']) > 0);
      assert.notEqual(await during, dead.port);
      await evenkeel.promotedFrom(dead);
      const [rows] = await idle.query<RowDataPacket[]>(
        'SELECT @@sort_buffer_size AS size, DATABASE() AS `schema`, @@port AS port',
      );
      assert.deepEqual([rows[0]?.['size'], rows[0]?.['schema']], [400000, 'app']);
      assert.notEqual(rows[0]?.['port'], dead.port);
      const [sum] = await prepared.execute([41]);
      assert.deepEqual(sum, [{ sum: 42 }]);
    });
    assert.deepEqual(told, []);
    idle.destroy();
    reader.destroy();
  },
});

stories('a cluster whose writes cannot be promised', semisync, {
  'with both replicas frozen the failover is refused with its reasons, and service resumes when one is back': async (
    evenkeel,
  ) => {
    const primary = await evenkeel.primary();
    const replicas = await evenkeel.replicas();
    await through(evenkeel, 'CREATE TABLE kept (n INT PRIMARY KEY)', 'INSERT INTO kept VALUES (1)');
    for (const replica of replicas) await evenkeel.signalNode(replica, 'SIGSTOP');
    await evenkeel.signalNode(primary, 'SIGKILL');
    const problem = await refusal(evenkeel, /no replica can be promoted/);
    assert.match(problem, /Bring one back/);
    const waiting = through(evenkeel, 'INSERT INTO kept VALUES (2)', 'SELECT COUNT(*) AS count FROM kept');
    for (const replica of replicas) await evenkeel.signalNode(replica, 'SIGCONT');
    const [rows] = await waiting;
    assert.equal(rows[0]?.['count'], 2);
    await until('the refusal and the failover to be recorded', 5000, async () => {
      const failovers = (await evenkeel.history()).filter(({ kind }) => kind === 'failover');
      return failovers[0]?.outcome === 'done' && /no replica can be promoted/.test(failovers[1]?.reason ?? '');
    });
    await evenkeel.restartNode(primary);
  },

  'replicas that restarted when the primary was dead may have lost what they acknowledged: the primary is waited for':
    async (evenkeel) => {
      const primary = await evenkeel.primary();
      const replicas = await evenkeel.replicas();
      await through(evenkeel, 'INSERT INTO kept VALUES (3)');
      for (const node of [...replicas, primary]) await evenkeel.signalNode(node, 'SIGKILL');
      await until(
        'the cluster to be down',
        10_000,
        async () => (await evenkeel.status()).clusters[0]?.state === 'down',
      );
      for (const replica of replicas) await evenkeel.restartNode(replica);
      await refusal(evenkeel, /lost its relay log/);
      const waiting = through(evenkeel, 'SELECT COUNT(*) AS count FROM kept');
      await evenkeel.restartNode(primary);
      // A semi-sync MariaDB may drop from its own log what only a replica had confirmed: that is the operator's to judge.
      const lost = () => refusal(evenkeel, /reinstate: .*(lost|not what it was)/).then(() => 'lost');
      if ((await Promise.race([waiting, lost().catch(() => 'came back')])) === 'lost') {
        const to = replicas[0] ?? primary;
        assert.equal((await evenkeel.run('failover', '--to', addressOf(to), '--force')).code, 0);
        await waiting;
      } else {
        assert.equal(addressOf(await evenkeel.primary()), addressOf(primary));
        const [rows] = await waiting;
        await until('the record', 5000, async () => {
          const [last] = await evenkeel.history();
          return last?.kind === 'reinstate' && last.outcome === 'done';
        });
        const [record] = await evenkeel.history();
        assert.ok(
          rows[0]?.['count'] === 3 || /acknowledged writes .* may be lost/.test(record?.reason ?? ''),
          record?.reason ?? '',
        );
      }
      await through(evenkeel, 'INSERT INTO kept VALUES (4)');
    },
});

/** Waits until `status` says that a recovery was refused, and why. */
async function refusal(evenkeel: Evenkeel, why: RegExp): Promise<string> {
  let text: string | undefined;
  await until(`a refusal: ${why}`, 15_000, async () => {
    const problems = (await evenkeel.status()).clusters[0]?.problems ?? [];
    text = problems.find((problem) => problem.code === 'recovery-refused' && why.test(problem.text))?.text;
    return text !== undefined;
  });
  return text ?? '';
}

stories(
  'an observed cluster',
  {
    ...semisync,
    recovery: 'observe',
    config: 'hold: { timeout: 2s }',
    cluster: '    switchover: { drainTimeout: 1s }',
  },
  {
    'nothing is promoted without an order, and statements say that they were not executed': async (evenkeel) => {
      await through(evenkeel, 'CREATE TABLE seen (n INT PRIMARY KEY)');
      const dead = await evenkeel.primary();
      await evenkeel.signalNode(dead, 'SIGKILL');
      await assert.rejects(through(evenkeel, 'INSERT INTO seen VALUES (1)'), /hold-timeout; not executed/);
      const { problems = [], primary } = (await evenkeel.status()).clusters[0] ?? {};
      assert.equal(primary, addressOf(dead));
      assert.ok(problems.some(({ text }) => /set to observe; it would have done: failover/.test(text)));
      assert.deepEqual(await writableNodes(evenkeel), []);

      const [to] = evenkeel.sandbox.nodes.filter((node) => node !== dead);
      assert.ok(to);
      const { code, stdout, stderr } = await evenkeel.run('failover', '--to', addressOf(to), '--force', '--json');
      assert.equal(code, 0, stderr);
      assert.equal((JSON.parse(stdout) as { to: string }).to, addressOf(to));
      await through(evenkeel, 'INSERT INTO seen VALUES (2)');
      assert.equal(addressOf(await reached(evenkeel)), addressOf(to));
    },
  },
);
