// An operator's stories of nodes that ail without being dead: each is named by its analysis, treated as the table of
// analyses says (docs/analyses.md), and left in peace when it is well again.
import assert from 'node:assert/strict';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import mysql, { type RowDataPacket } from 'mysql2/promise';
import { type SandboxNode, withSandbox } from '../../src/sandbox/index.ts';
import {
  addressOf,
  application,
  byHand,
  directly,
  type Evenkeel,
  explained,
  inFrontOf,
  Load,
  reached,
  stories,
  through,
  until,
  valueOn,
  within,
  writableNodes,
} from './harness/index.ts';

const SQL = {
  mysql: {
    ...byHand.mysql,
    follow: (port: number) => `CHANGE REPLICATION SOURCE TO SOURCE_PORT = ${port}`,
    slow: ['SET GLOBAL binlog_group_commit_sync_delay = 900000'],
    fast: ['SET GLOBAL binlog_group_commit_sync_delay = 0'],
  },
  mariadb: {
    ...byHand.mariadb,
    follow: (port: number) => `CHANGE MASTER TO MASTER_PORT = ${port}`,
    slow: ['SET GLOBAL binlog_commit_wait_usec = 900000', 'SET GLOBAL binlog_commit_wait_count = 1000'],
    fast: ['SET GLOBAL binlog_commit_wait_count = 0', 'SET GLOBAL binlog_commit_wait_usec = 0'],
  },
} as const;

async function told(evenkeel: Evenkeel, code: string, node: SandboxNode, timeoutMs = 15_000): Promise<string> {
  let text = '';
  await until(`${code} of ${node.name} to be told`, timeoutMs, async () => {
    const { problems = [] } = (await evenkeel.status()).clusters[0] ?? {};
    text = problems.find((one) => one.code === code && one.text.includes(addressOf(node)))?.text ?? '';
    if (text === '') text = problems.find((one) => one.code === code && one.node === addressOf(node))?.text ?? '';
    return text !== '';
  });
  return text;
}

/** New readers reach the other replica only. */
async function spared(evenkeel: Evenkeel, ailing: SandboxNode): Promise<void> {
  for (let n = 0; n < 6; n++) assert.notEqual((await reached(evenkeel, 'reader')).name, ailing.name);
}

async function someReplica(evenkeel: Evenkeel): Promise<SandboxNode> {
  const [replica] = await evenkeel.replicas();
  assert.ok(replica);
  return replica;
}

const rejoined = async (evenkeel: Evenkeel): Promise<number> =>
  (await evenkeel.history()).filter(({ kind, outcome }) => kind === 'rejoin' && outcome === 'done').length;

/** 120 of Evenkeel's own writes, one each 100 ms, are what others are compared with. */
async function knowsUsual(evenkeel: Evenkeel, primary: SandboxNode): Promise<void> {
  const connection = await mysql.createConnection({ ...evenkeel.direct(primary), dateStrings: true });
  try {
    const seen = new Set<unknown>();
    await until('Evenkeel to know how long commits take', 60_000, async () => {
      const [rows] = await connection.query<RowDataPacket[]>('SELECT written_at FROM evenkeel.heartbeat');
      for (const { written_at } of rows) seen.add(written_at);
      return seen.size > 125;
    });
  } finally {
    connection.destroy();
  }
}

stories(
  'nodes that ail',
  {
    replication: 'async',
    nodes: 3,
    cluster: `    probe: { interval: 20ms }
    heartbeat: { interval: 100ms, deadline: 10s, degradedAfter: 3s }
    switchover: { maxLag: 1s, degraded: move }`,
    storyTimeoutMs: 150_000,
  },
  {
    'a replica that somebody stopped is told, with the way back, and gets no reads': async (evenkeel) => {
      const sql = SQL[evenkeel.sandbox.flavor];
      const replica = await someReplica(evenkeel);
      await directly(evenkeel, replica, sql.stop);
      await told(evenkeel, 'replica-stopped', replica);
      await spared(evenkeel, replica);
      const before = await rejoined(evenkeel);
      await directly(evenkeel, replica, sql.start);
      await evenkeel.healthy();
      assert.equal(await rejoined(evenkeel), before, 'it was not started behind the back of who stopped it');
    },

    'a replica that falls behind is told, and gets no reads that ask for less lag': async (evenkeel) => {
      const replica = await someReplica(evenkeel);
      await through(evenkeel, 'CREATE TABLE behind (n INT PRIMARY KEY)');
      await until('the table', 5000, async () => {
        await valueOn(evenkeel, replica, 'SELECT COUNT(*) FROM app.behind');
        return true;
      });
      const locker = await mysql.createConnection(evenkeel.direct(replica));
      await locker.query('LOCK TABLES app.behind READ');
      await through(evenkeel, 'INSERT INTO behind VALUES (1)');
      assert.match(await told(evenkeel, 'replica-lagging', replica), /behind/);
      locker.destroy();
      await evenkeel.healthy();
    },

    'replicas that follow each other, and one that follows nobody, follow the primary again': async (evenkeel) => {
      const sql = SQL[evenkeel.sandbox.flavor];
      const [one, none] = await evenkeel.replicas();
      assert.ok(one && none);
      const before = await rejoined(evenkeel);
      await directly(evenkeel, one, sql.stop, sql.follow(none.port), sql.start);
      await directly(evenkeel, none, sql.stop, sql.follow(one.port), sql.start);
      await told(evenkeel, 'replica-wrong-source', one);
      await until('a rejoin', 20_000, async () => (await rejoined(evenkeel)) > before);
      await evenkeel.healthy();
      const since = await rejoined(evenkeel);
      await directly(evenkeel, none, ...sql.detach);
      await told(evenkeel, 'replica-not-replicating', none);
      await until('another rejoin', 20_000, async () => (await rejoined(evenkeel)) > since);
      await evenkeel.healthy();
      await through(evenkeel, 'CREATE TABLE rejoined (n INT PRIMARY KEY)');
      for (const node of [one, none]) {
        await until(`${node.name} to follow`, 10_000, async () => {
          await valueOn(evenkeel, node, 'SELECT COUNT(*) FROM app.rejoined');
          return true;
        });
      }
    },

    'a primary that somebody makes read-only is told, statements wait, and nobody is promoted': async (evenkeel) => {
      const sql = SQL[evenkeel.sandbox.flavor];
      const primary = await evenkeel.primary();
      await through(evenkeel, 'CREATE TABLE by_mistake (n INT PRIMARY KEY)');
      await directly(evenkeel, primary, sql.readOnly);
      await told(evenkeel, 'primary-read-only', primary);
      const write = through(evenkeel, 'INSERT INTO by_mistake VALUES (1)');
      assert.equal(await within(6500, write), 'waits');
      await directly(evenkeel, primary, 'SET GLOBAL read_only = 0');
      await write;
      await evenkeel.healthy();
      assert.equal(addressOf(await evenkeel.primary()), addressOf(primary));
      assert.equal(Number(await valueOn(evenkeel, primary, 'SELECT COUNT(*) FROM app.by_mistake')), 1);
    },

    'a primary whose commits have become slow is left for a replica before clients call': async (evenkeel) => {
      const sql = SQL[evenkeel.sandbox.flavor];
      const slow = await evenkeel.primary();
      // A load that leaves the machine room: ten times as long as usual must be something that a server can be made to take.
      const load = await Load.start(evenkeel, { clients: 2, pauseMs: 50 });
      await knowsUsual(evenkeel, slow);
      await directly(evenkeel, slow, ...sql.slow);
      await told(evenkeel, 'primary-degraded', slow, 40_000);
      const next = await evenkeel.promotedFrom(slow);
      await directly(evenkeel, slow, ...sql.fast);
      await load.more();
      assert.deepEqual(await load.lostOn(next), []);
      assert.deepEqual([load.errors, load.broken], [[], []]);
      const [record] = (await evenkeel.history()).filter(({ kind }) => kind === 'switchover');
      assert.deepEqual([record?.outcome, record?.from, record?.clientErrors], ['done', addressOf(slow), 0]);
      assert.match(record?.steps.find(({ name }) => name === 'why')?.detail ?? '', /usually/);
    },
  },
);

/** Another server answers at the node's address: its identity is another (the manual's section on auto.cnf). */
async function replace(evenkeel: Evenkeel, node: SandboxNode): Promise<() => Promise<void>> {
  const file = join(evenkeel.sandbox.dir, node.name, 'data', 'auto.cnf');
  await evenkeel.signalNode(node, 'SIGKILL');
  await rename(file, `${file}.kept`);
  await evenkeel.restartNode(node);
  return async () => {
    await evenkeel.signalNode(node, 'SIGKILL');
    await rm(file, { force: true });
    await rename(`${file}.kept`, file);
    await evenkeel.restartNode(node);
  };
}

// MariaDB makes its identity from the host's hardware address and the port: on one host it cannot be replaced.
stories(
  'a node that is another one',
  { replication: 'async', nodes: 3, flavors: ['mysql'] },
  {
    "another server at a replica's address is told, and gets no reads": async (evenkeel) => {
      const replica = await someReplica(evenkeel);
      const back = await replace(evenkeel, replica);
      assert.match(await told(evenkeel, 'replica-replaced', replica, 30_000), /identity|another/);
      await spared(evenkeel, replica);
      await back();
      await evenkeel.healthy();
    },
  },
);

test("mysql: another server at the primary's address gets no statement", { timeout: 120_000 }, async () => {
  const shape = { replication: 'async', nodes: 1 } as const;
  await withSandbox({ flavor: 'mysql', ...shape }, (sandbox) =>
    inFrontOf(sandbox, shape, (evenkeel) =>
      explained(evenkeel, async () => {
        await evenkeel.healthy();
        const primary = await evenkeel.primary();
        const client = await application(evenkeel);
        await client.query('CREATE TABLE mine (n INT PRIMARY KEY)');
        const back = await replace(evenkeel, primary);
        await told(evenkeel, 'primary-replaced', primary, 30_000);
        const write = client.query('INSERT INTO mine VALUES (1)');
        assert.equal(await within(1500, write), 'waits');
        assert.equal(Number(await valueOn(evenkeel, primary, 'SELECT COUNT(*) FROM app.mine')), 0);
        await back();
        await write;
        await evenkeel.healthy();
        const [rows] = await client.query<RowDataPacket[]>('SELECT n FROM mine');
        assert.equal(rows.length, 1);
        client.destroy();
      }),
    ),
  );
});

/** Longer than Evenkeel takes to look at all nodes, from its first connection on. */
const HELD_MS = 3000;
const OURS =
  "SELECT COUNT(*) AS n FROM information_schema.processlist WHERE user = 'evenkeel' AND id <> CONNECTION_ID()";

async function noWriter(flavor: 'mysql' | 'mariadb'): Promise<void> {
  const shape = { replication: 'async', nodes: 3 } as const;
  await withSandbox({ flavor, ...shape }, async (sandbox) => {
    const [first] = sandbox.nodes;
    assert.ok(first);
    const { user, password } = sandbox.admin;
    const connection = await mysql.createConnection({ host: first.host, port: first.port, user, password });
    await connection.query(SQL[flavor].readOnly);
    const mend = async (): Promise<void> => {
      await until('Evenkeel to come', 60_000, async () => {
        const [rows] = await connection.query<RowDataPacket[]>(OURS);
        return Number(rows[0]?.['n']) > 0;
      });
      await new Promise((resolve) => setTimeout(resolve, HELD_MS));
      const [rows] = await connection.query<RowDataPacket[]>('SELECT @@global.read_only AS it');
      assert.equal(Number(rows[0]?.['it']), 1, 'nobody was made writable on a guess');
      await connection.query('SET GLOBAL read_only = 0');
    };
    const mended = mend();
    try {
      await inFrontOf(sandbox, shape, (evenkeel) =>
        explained(evenkeel, async () => {
          await mended;
          await evenkeel.healthy();
          assert.equal(addressOf(await evenkeel.primary()), addressOf(first));
          assert.deepEqual(await writableNodes(evenkeel), [addressOf(first)]);
          assert.deepEqual(await evenkeel.history(), []);
        }),
      );
    } finally {
      await mended;
      connection.destroy();
    }
  });
}

for (const flavor of ['mysql', 'mariadb'] as const) {
  test(
    `${flavor}: without a writable node, and no memory of one, statements wait until an operator makes one so`,
    {
      timeout: 120_000,
    },
    () => noWriter(flavor),
  );
}
