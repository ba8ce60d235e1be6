// An operator's stories of clusters whose members form a group: MySQL Group Replication, which elects its primary itself,
// and MariaDB Galera, where Evenkeel moves the one writer. Each kind has one cluster, and the stories follow each other.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import mysql from 'mysql2/promise';
import { type Answer, ask } from '../../src/gateway/in-flight/ask.ts';
import { Witnesses } from '../../src/gateway/in-flight/witness.ts';
import type { SandboxNode } from '../../src/sandbox/index.ts';
import { freePorts, sandboxStatus, startSandbox } from '../../src/sandbox/index.ts';
import { bridgeTo } from '../support/bridge.ts';
import {
  addressOf,
  directly,
  type Evenkeel,
  explained,
  inFrontOf,
  Load,
  type LoadOptions,
  leavesPrimary,
  reached,
  through,
  until,
  valueOn,
  withEvenkeel,
  writableNodes,
} from './harness/index.ts';

const [autoPort = 0] = await freePorts(1);
const GROUPED = {
  nodes: 3,
  endpoints: `  - { name: auto, cluster: shop, listen: "127.0.0.1:${autoPort}", route: auto }`,
} as const;

/**
 * At `route: auto` reads leave the primary, and a session never reads what is older than its writes, also where the primary
 * moves meanwhile.
 */
async function readsElsewhere(evenkeel: Evenkeel): Promise<void> {
  await through(evenkeel, 'CREATE TABLE split (id INT PRIMARY KEY, n INT)', 'INSERT INTO split VALUES (1, 0)');
  const read = 'SELECT n FROM split WHERE id = 1';
  for (const node of await evenkeel.replicas()) {
    await until('all to have the table', 10_000, async () => {
      const [rows] = await directly(evenkeel, node, "SHOW TABLES FROM app LIKE 'split'");
      return rows.length === 1;
    });
  }
  const connect = () => mysql.createConnection({ ...evenkeel.login(), port: autoPort });
  const [reader, writer] = [await connect(), await connect()];
  try {
    assert.ok(await leavesPrimary(evenkeel, 200, () => reader.query(read)));
    let n = 0;
    const readsItsOwn = async (): Promise<void> => {
      n++;
      await writer.query(`UPDATE split SET n = ${n} WHERE id = 1`);
      assert.deepEqual((await writer.query(read))[0], [{ n }]);
    };
    for (let times = 0; times < 200; times++) await readsItsOwn();
    const moved = evenkeel.switchover();
    for (let times = 0; times < 200; times++) await readsItsOwn();
    assert.equal((await moved).outcome, 'done');
    for (let times = 0; times < 200; times++) await readsItsOwn();
  } finally {
    reader.destroy();
    writer.destroy();
  }
}

/** An Evenkeel that is told of one member finds the others and sends writes where the other one does. */
async function foundFromOne(evenkeel: Evenkeel): Promise<void> {
  const { sandbox } = evenkeel;
  const [only] = await evenkeel.replicas();
  assert.ok(only);
  const { replication } = sandbox;
  await inFrontOf({ ...sandbox, nodes: [only] }, { replication, nodes: 1, recovery: 'observe' }, async (other) => {
    await until('all members to be found', 10_000, async () => {
      const { clusters } = await other.status();
      return clusters[0]?.nodes.filter(({ state }) => state === 'ok').length === 3;
    });
    const [seen, known] = [(await other.status()).clusters[0], (await evenkeel.status()).clusters[0]];
    assert.equal(seen?.primary, known?.primary);
  });
}

type Story = [name: string, tell: (evenkeel: Evenkeel) => Promise<void>];

async function tell(context: TestContext, evenkeel: Evenkeel, told: Story[]): Promise<void> {
  for (const [name, story] of told) {
    await context.test(name, { timeout: 60_000 }, () =>
      explained(evenkeel, async () => {
        await evenkeel.healthy();
        await story(evenkeel);
      }),
    );
  }
}

async function stateOf(evenkeel: Evenkeel, node: SandboxNode): Promise<string> {
  const { clusters } = await evenkeel.status();
  return clusters[0]?.nodes.find((each) => each.node === addressOf(node))?.state ?? 'unknown';
}

async function inState(evenkeel: Evenkeel, node: SandboxNode, state: string): Promise<void> {
  await until(`${node.name} to be ${state}`, 20_000, async () => (await stateOf(evenkeel, node)) === state);
}

/** New connections for reads go anywhere but there. */
async function servesNoReads(evenkeel: Evenkeel, node: SandboxNode): Promise<void> {
  for (let i = 0; i < 4; i++) assert.notEqual((await reached(evenkeel, 'reader')).name, node.name);
}

/** Moves the primary under load: nobody notices but by waiting. */
async function movedUnderLoad(evenkeel: Evenkeel, step: string): Promise<void> {
  const load = await Load.start(evenkeel, { clients: 8 });
  const from = await evenkeel.primary();
  const record = await evenkeel.switchover();
  assert.equal(record.outcome, 'done');
  assert.ok(
    record.steps.some(({ name }) => name.startsWith(step)),
    JSON.stringify(record.steps),
  );
  await load.more();
  const to = await evenkeel.primary();
  assert.notEqual(to.name, from.name);
  assert.deepEqual(await load.lostOn(to), []);
  assert.deepEqual([load.errors, load.broken], [[], []]);
  assert.deepEqual(await writableNodes(evenkeel), [addressOf(to)]);
  assert.equal((await reached(evenkeel)).name, to.name);
}

/** Kills the primary under load: no client notices, and the dead one comes back by itself. */
async function killedUnderLoad(
  evenkeel: Evenkeel,
  kind: string,
  mode: LoadOptions['mode'] = 'autocommit',
): Promise<void> {
  const load = await Load.start(evenkeel, { clients: 8, mode });
  const dead = await evenkeel.primary();
  await evenkeel.signalNode(dead, 'SIGKILL');
  // A group settles by itself who is left, and on a busy machine needs several tries for that, each with its own time limit.
  const next = await evenkeel.promotedFrom(dead, 45_000);
  await load.more();
  assert.deepEqual(await load.lostOn(next), []);
  assert.deepEqual([load.errors, load.broken], [[], []]);
  const [record] = await evenkeel.history();
  assert.deepEqual([record?.kind, record?.outcome, record?.to], [kind, 'done', addressOf(next)]);
  await startSandbox({ ...evenkeel.sandbox, nodes: evenkeel.sandbox.nodes.length }, { bound: true });
  await evenkeel.healthy();
  const count = `SELECT COUNT(*) FROM app.${load.table}`;
  const wanted = await valueOn(evenkeel, next, count);
  await until(
    'the returned node to have all rows',
    10_000,
    async () => (await valueOn(evenkeel, dead, count)) === wanted,
  );
  assert.deepEqual(await writableNodes(evenkeel), [addressOf(next)]);
}

/** What became of a transaction, as a member says that may write, and that cannot execute others' before it was asked. */
async function askedBehind(evenkeel: Evenkeel, member: SandboxNode, number: 'used' | 'not used'): Promise<string> {
  const connection = await mysql.createConnection(evenkeel.direct(member));
  const lock = await mysql.createConnection(evenkeel.direct(member));
  try {
    await lock.query('LOCK TABLES app.agreed READ');
    await connection.query('SET GLOBAL super_read_only = OFF');
    const witness = new Witnesses().take('mysql');
    assert.ok(witness.kind === 'gtid');
    if (number === 'used') {
      const { gtid } = witness;
      // The second one waits in the log for the first one, so nobody has its number yet.
      const second = 'UPDATE app.agreed SET n = 2 WHERE n = 1';
      const write = [
        'INSERT INTO app.agreed VALUES (1)',
        `SET gtid_next = '${gtid}'`,
        second,
        "SET gtid_next = 'AUTOMATIC'",
      ];
      await directly(evenkeel, await evenkeel.primary(), ...write);
    }
    const { link, answered } = bridgeTo(connection);
    const answer = new Promise<Answer>((resolve) => {
      ask(link, { flavor: 'mysql', group: 'group', witness, timeoutMs: 20_000, ahead: [] }, resolve);
    });
    await until('the member to be asked', 10_000, () => answered.some((sql) => sql.endsWith("='BEFORE'")));
    await lock.query('UNLOCK TABLES');
    const told = await answer;
    assert.ok(told.kind === 'told', JSON.stringify(told));
    return told.told;
  } finally {
    connection.destroy();
    lock.destroy();
    await directly(evenkeel, member, 'SET GLOBAL super_read_only = ON');
  }
}

test('mysql: Group Replication', { timeout: 180_000 }, (context) =>
  withEvenkeel({ flavor: 'mysql', replication: 'group', ...GROUPED }, (evenkeel) =>
    tell(context, evenkeel, [
      [
        'the sandbox tells its roles, and all members are found from any one of them',
        async () => {
          await foundFromOne(evenkeel);
          const { nodes } = await sandboxStatus(evenkeel.sandbox.dir);
          assert.deepEqual(
            nodes.map(({ role }) => role ?? 'none').toSorted((a, b) => a.localeCompare(b)),
            ['primary', 'replica', 'replica'],
          );
          assert.deepEqual(await writableNodes(evenkeel), [addressOf(await evenkeel.primary())]);
        },
      ],
      ['a switchover is the group’s own, and clients only wait', () => movedUnderLoad(evenkeel, 'elect-member')],
      ['reads leave the primary, and no session reads before its own writes', () => readsElsewhere(evenkeel)],
      [
        'a primary that someone else has the group elect is followed',
        async () => {
          const load = await Load.start(evenkeel, { clients: 4 });
          const from = await evenkeel.primary();
          const [to] = await evenkeel.replicas();
          assert.ok(to);
          const id = await valueOn(evenkeel, to, 'SELECT @@server_uuid');
          await directly(evenkeel, from, `SELECT group_replication_set_as_primary('${String(id)}')`);
          assert.equal((await evenkeel.promotedFrom(from)).name, to.name);
          await load.more();
          assert.deepEqual(await load.lostOn(to), []);
          assert.deepEqual([load.errors, load.broken], [[], []]);
          assert.equal((await evenkeel.history())[0]?.kind, 'follow');
        },
      ],
      [
        'a member that left its group serves no reads, cannot take over, and is let in again',
        async () => {
          const [member] = await evenkeel.replicas();
          assert.ok(member);
          await directly(evenkeel, member, 'STOP GROUP_REPLICATION');
          await inState(evenkeel, member, 'member-out');
          await servesNoReads(evenkeel, member);
          const refused = await evenkeel.run('switchover', '--to', addressOf(member));
          assert.equal(refused.code, 1);
          assert.match(refused.stderr + refused.stdout, /OFFLINE in its group/);
          await directly(evenkeel, member, 'START GROUP_REPLICATION');
          await inState(evenkeel, member, 'ok');
        },
      ],
      [
        'what the group has agreed on, and the member that is asked not executed, is told to be executed',
        async () => {
          await through(evenkeel, 'CREATE TABLE agreed (n INT PRIMARY KEY)');
          const [member] = await evenkeel.replicas();
          assert.ok(member);
          const count = 'SELECT COUNT(*) FROM app.agreed';
          await until('the table', 5000, async () => (await valueOn(evenkeel, member, count)) === 0);
          assert.equal(await askedBehind(evenkeel, member, 'not used'), 'not-executed');
          assert.equal(await askedBehind(evenkeel, member, 'used'), 'executed');
          assert.equal(await valueOn(evenkeel, member, 'SELECT n FROM app.agreed'), 2);
        },
      ],
      [
        'kill -9: the group elects, statements wait for it, and no client notices',
        () => killedUnderLoad(evenkeel, 'follow'),
      ],
      [
        'kill -9 under transactions: they go on on the next primary',
        () => killedUnderLoad(evenkeel, 'follow', 'transactions'),
      ],
    ]),
  ),
);

test('mariadb: Galera', { timeout: 180_000 }, (context) =>
  withEvenkeel({ flavor: 'mariadb', replication: 'galera', ...GROUPED }, (evenkeel) =>
    tell(context, evenkeel, [
      ['all members are found from any one of them', () => foundFromOne(evenkeel)],
      ['a switchover moves the one writer, and clients only wait', () => movedUnderLoad(evenkeel, 'sync-with-cluster')],
      ['reads leave the writer, and no session reads before its own writes', () => readsElsewhere(evenkeel)],
      [
        'a member that does not keep up serves no reads and cannot become the writer',
        async () => {
          const [member] = await evenkeel.replicas();
          assert.ok(member);
          await directly(evenkeel, member, 'SET GLOBAL wsrep_desync = ON');
          await inState(evenkeel, member, 'desynced');
          await servesNoReads(evenkeel, member);
          const refused = await evenkeel.run('switchover', '--to', addressOf(member));
          assert.equal(refused.code, 1);
          assert.match(refused.stderr + refused.stdout, /desynced/);
          await directly(evenkeel, member, 'SET GLOBAL wsrep_desync = OFF');
          await inState(evenkeel, member, 'ok');
        },
      ],
      [
        'a second member that is made writable is made read-only again',
        async () => {
          const [member] = await evenkeel.replicas();
          assert.ok(member);
          await directly(evenkeel, member, 'SET GLOBAL read_only = OFF');
          await until('one writer', 20_000, async () => (await writableNodes(evenkeel)).length === 1);
          assert.deepEqual(await writableNodes(evenkeel), [addressOf(await evenkeel.primary())]);
        },
      ],
      [
        'a writer that is cut off from its cluster is replaced, and comes back as no writer',
        async () => {
          const load = await Load.start(evenkeel, { clients: 4 });
          const apart = await evenkeel.primary();
          await directly(evenkeel, apart, "SET GLOBAL wsrep_provider_options = 'gmcast.isolate=1'");
          const next = await evenkeel.promotedFrom(apart);
          await load.more();
          await inState(evenkeel, apart, 'no-majority');
          await directly(evenkeel, apart, "SET GLOBAL wsrep_provider_options = 'gmcast.isolate=0'");
          await inState(evenkeel, apart, 'ok');
          assert.deepEqual(await load.lostOn(next), []);
          assert.deepEqual([load.errors, load.broken], [[], []]);
          // On a busy machine its coming back may cost the others their majority for a moment, and then the writer moves once more.
          await evenkeel.healthy();
          const left = (await evenkeel.history()).some(
            ({ kind, outcome, from }) => kind === 'failover' && outcome === 'done' && from === addressOf(next),
          );
          assert.deepEqual(await writableNodes(evenkeel), [addressOf(left ? await evenkeel.primary() : next)]);
        },
      ],
      [
        'a cluster that falls apart and comes together again: commits that it refused meanwhile are made, and no client notices',
        async () => {
          const load = await Load.start(evenkeel, { clients: 8 });
          await load.more();
          const isolate = (how: 0 | 1) =>
            Promise.all(
              evenkeel.sandbox.nodes.map((node) =>
                directly(evenkeel, node, `SET GLOBAL wsrep_provider_options = 'gmcast.isolate=${how}'`),
              ),
            );
          await isolate(1);
          await inState(evenkeel, (await evenkeel.replicas())[0] as SandboxNode, 'no-majority');
          await isolate(0);
          await evenkeel.healthy();
          await load.more();
          assert.deepEqual(await load.lostOn(await evenkeel.primary()), []);
          assert.deepEqual([load.errors, load.broken], [[], []]);
        },
      ],
      [
        'kill -9: another member becomes the writer, and no client notices',
        () => killedUnderLoad(evenkeel, 'failover'),
      ],
      [
        'kill -9 under transactions: they go on at the next writer',
        () => killedUnderLoad(evenkeel, 'failover', 'transactions'),
      ],
    ]),
  ),
);
