// An operator's stories of clusters whose members form a group: MySQL Group Replication, which elects its primary itself,
// and MariaDB Galera, where Evenkeel moves the one writer. Each kind has one cluster, and the stories follow each other.
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { SandboxNode } from '../../src/sandbox/index.ts';
import { sandboxStatus, startSandbox } from '../../src/sandbox/index.ts';
import {
  addressOf,
  directly,
  type Evenkeel,
  explained,
  inFrontOf,
  Load,
  reached,
  until,
  valueOn,
  withEvenkeel,
  writableNodes,
} from './harness/index.ts';

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

const UNKNOWN = /\(Evenkeel: outcome-unknown; unknown\)$/;

/** At most one write of each client was in flight, and whose outcome nobody knows was told so. */
function onlyUnknownWrites(load: Load, clients: number, alsoTold: RegExp = UNKNOWN): void {
  assert.deepEqual(load.broken, []);
  for (const error of load.errors) {
    assert.equal(error.doing, 'insert', JSON.stringify(error));
    assert.match(error.message, UNKNOWN.test(error.message) ? UNKNOWN : alsoTold);
  }
  assert.ok(load.errors.length <= clients, `${load.errors.length} errors`);
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

/** Kills the primary under load: what was confirmed is on the next one, and the dead one comes back by itself. */
async function killedUnderLoad(evenkeel: Evenkeel, kind: string): Promise<void> {
  const load = await Load.start(evenkeel, { clients: 8 });
  const dead = await evenkeel.primary();
  await evenkeel.signalNode(dead, 'SIGKILL');
  // A group settles by itself who is left, and on a busy machine needs several tries for that, each with its own time limit.
  const next = await evenkeel.promotedFrom(dead, 45_000);
  await load.more();
  assert.deepEqual(await load.lostOn(next), []);
  onlyUnknownWrites(load, 8);
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

test('mysql: Group Replication', { timeout: 180_000 }, (context) =>
  withEvenkeel({ flavor: 'mysql', replication: 'group', nodes: 3 }, (evenkeel) =>
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
        'kill -9: the group elects, statements wait for it, nothing confirmed is lost',
        () => killedUnderLoad(evenkeel, 'follow'),
      ],
    ]),
  ),
);

test('mariadb: Galera', { timeout: 180_000 }, (context) =>
  withEvenkeel({ flavor: 'mariadb', replication: 'galera', nodes: 3 }, (evenkeel) =>
    tell(context, evenkeel, [
      ['all members are found from any one of them', () => foundFromOne(evenkeel)],
      ['a switchover moves the one writer, and clients only wait', () => movedUnderLoad(evenkeel, 'sync-with-cluster')],
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
          // Those in flight are told by the member itself, where it noticed before we did.
          onlyUnknownWrites(load, 4, /Not connected to Primary Component/);
          assert.deepEqual(await writableNodes(evenkeel), [addressOf(next)]);
        },
      ],
      [
        'kill -9: another member becomes the writer, nothing confirmed is lost',
        () => killedUnderLoad(evenkeel, 'failover'),
      ],
    ]),
  ),
);
