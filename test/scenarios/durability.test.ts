// Who acknowledges what, on real servers: an acknowledgement from another zone, and more than one. Evenkeel sets it up, keeps it up
// when the primary changes, and nothing that was acknowledged so is lost.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type SandboxInfo, type SandboxNode, withSandbox } from '../../src/sandbox/index.ts';
import { addressOf, type Evenkeel, inFrontOf, Load, through, until, valueOn } from './harness/index.ts';

const SHAPE = { replication: 'semisync', nodes: 3 } as const;

/** Zone a has the first two nodes. */
const zones = ({ nodes }: SandboxInfo): string =>
  nodes.map((node, i) => `{ node: "${addressOf(node)}", zone: ${i < 2 ? 'a' : 'b'} }`).join(', ');

async function acknowledges(evenkeel: Evenkeel, node: SandboxNode): Promise<boolean> {
  const variable =
    evenkeel.sandbox.flavor === 'mysql' ? 'rpl_semi_sync_replica_enabled' : 'rpl_semi_sync_slave_enabled';
  return Number(await valueOn(evenkeel, node, `SELECT @@global.${variable}`)) === 1;
}

async function acknowledging(evenkeel: Evenkeel, wanted: readonly (SandboxNode | undefined)[]): Promise<void> {
  const replicas = await evenkeel.replicas();
  await until('the right replicas to acknowledge', 30_000, async () => {
    for (const node of replicas) if ((await acknowledges(evenkeel, node)) !== wanted.includes(node)) return false;
    return (await evenkeel.status()).clusters[0]?.state === 'healthy';
  });
}

/** What is known where a commit was acknowledged that should wait. */
async function semiSyncStory(evenkeel: Evenkeel, primary: SandboxNode): Promise<string> {
  const values =
    "SELECT GROUP_CONCAT(variable_name, '=', variable_value) FROM performance_schema.global_status WHERE variable_name LIKE 'Rpl_semi%'";
  const nodes = (await evenkeel.status()).clusters.flatMap(({ nodes: all }) => all);
  const told = { semiSync: await valueOn(evenkeel, primary, values), nodes, history: await evenkeel.history() };
  return `it was acknowledged: ${JSON.stringify(told)}`;
}

for (const flavor of ['mysql', 'mariadb'] as const) {
  test(`${flavor}: an acknowledgement from another zone`, { timeout: 180_000 }, async () => {
    await withSandbox({ flavor, ...SHAPE }, (sandbox) => {
      const cluster = `    nodes: [${zones(sandbox)}]`;
      return inFrontOf(sandbox, { ...SHAPE, durability: 'cross-zone', cluster }, async (evenkeel) => {
        const [first, second, third] = sandbox.nodes;
        assert.ok(first && second && third);
        await evenkeel.healthy();
        await acknowledging(evenkeel, [third]);
        await evenkeel.switchover(third);
        await acknowledging(evenkeel, [first, second]);
        await evenkeel.switchover(first);
        await acknowledging(evenkeel, [third]);

        const load = await Load.start(evenkeel, { clients: 8, pauseMs: 5 });
        await evenkeel.signalNode(first, 'SIGKILL');
        const next = await evenkeel.promotedFrom(first);
        await load.more();
        assert.deepEqual(await load.lostOn(next), []);
        assert.deepEqual([load.errors, load.broken], [[], []]);
        // Of the two that are left each is alone in its zone.
        const [left] = (await evenkeel.replicas()).filter((node) => node !== first);
        assert.ok(left);
        await until('the other one to acknowledge', 30_000, () => acknowledges(evenkeel, left));
      });
    });
  });
}

test('mysql: two acknowledgements', { timeout: 180_000 }, async () => {
  // Four: the old primary may come back with what nobody acknowledged, and is kept out then.
  const shape = { ...SHAPE, nodes: 4 };
  await withSandbox({ flavor: 'mysql', ...shape }, (sandbox) => {
    const cluster = '    semisync: { acks: 2 }';
    return inFrontOf(sandbox, { ...shape, durability: 'semisync', cluster }, async (evenkeel) => {
      const primary = await evenkeel.primary();
      const [one, ...others] = await evenkeel.replicas();
      assert.ok(one && others.length === 2);
      await evenkeel.healthy();
      const waitsFor = (node: SandboxNode) =>
        valueOn(evenkeel, node, 'SELECT @@global.rpl_semi_sync_source_wait_for_replica_count');
      await until('the primary to wait for two', 30_000, async () => Number(await waitsFor(primary)) === 2);
      await through(evenkeel, 'CREATE TABLE two (n INT PRIMARY KEY)', 'INSERT INTO two VALUES (1)');

      // With two of three gone nothing is acknowledged, and it is told; nobody is promoted for it.
      for (const other of others) await evenkeel.signalNode(other, 'SIGSTOP');
      let acknowledged = false;
      const write = through(evenkeel, 'INSERT INTO two VALUES (2)').then(() => (acknowledged = true));
      const codes = async () => (await evenkeel.status()).clusters[0]?.problems.map(({ code }) => code) ?? [];
      await until('it to be told', 30_000, async () => (await codes()).some((code) => /semisync|replicas/.test(code)));
      assert.equal(acknowledged, false, await semiSyncStory(evenkeel, primary));
      assert.equal(addressOf(await evenkeel.primary()), addressOf(primary));
      for (const other of others) await evenkeel.signalNode(other, 'SIGCONT');
      await write;
      await evenkeel.healthy();

      // Two of the three have whatever was acknowledged.
      const load = await Load.start(evenkeel, { clients: 8, pauseMs: 5 });
      await evenkeel.signalNode(primary, 'SIGKILL');
      const next = await evenkeel.promotedFrom(primary);
      await load.more();
      assert.deepEqual(await load.lostOn(next), []);
      assert.deepEqual(load.broken, []);
    });
  });
});
