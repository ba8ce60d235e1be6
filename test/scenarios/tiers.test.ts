// An operator's stories of replicas of replicas: found from any of them, kept in their place when the primary changes,
// and taken in by the primary where their own source is gone.
import assert from 'node:assert/strict';
import type { SandboxNode } from '../../src/sandbox/index.ts';
import {
  addressOf,
  directly,
  type Evenkeel,
  inFrontOf,
  Load,
  type Story,
  stories,
  until,
  valueOn,
} from './harness/index.ts';

/** The last node follows the one before it. */
async function secondTier(evenkeel: Evenkeel): Promise<{ relay: SandboxNode; leaf: SandboxNode }> {
  const [relay, leaf] = (await evenkeel.replicas()).slice(-2);
  assert.ok(relay && leaf);
  if ((await sourceOf(evenkeel, leaf)) === relay.port) return { relay, leaf };
  const { flavor } = evenkeel.sandbox;
  const statements =
    flavor === 'mysql'
      ? ['STOP REPLICA', `CHANGE REPLICATION SOURCE TO SOURCE_PORT=${relay.port}`, 'START REPLICA']
      : ['STOP SLAVE', `CHANGE MASTER TO MASTER_PORT=${relay.port}`, 'START SLAVE'];
  await directly(evenkeel, leaf, ...statements);
  await until('the second tier', 10_000, async () => (await sourceOf(evenkeel, leaf)) === relay.port);
  return { relay, leaf };
}

async function sourceOf(evenkeel: Evenkeel, node: SandboxNode): Promise<number> {
  const mysql = evenkeel.sandbox.flavor === 'mysql';
  const [rows] = await directly(evenkeel, node, mysql ? 'SHOW REPLICA STATUS' : 'SHOW SLAVE STATUS');
  return Number(rows[0]?.[mysql ? 'Source_Port' : 'Master_Port'] ?? 0);
}

async function hasAll(evenkeel: Evenkeel, load: Load, node: SandboxNode): Promise<void> {
  await load.stop();
  const count = `SELECT COUNT(*) FROM app.${load.table}`;
  const wanted = await valueOn(evenkeel, await evenkeel.primary(), count);
  await until(`${node.name} to have all rows`, 15_000, async () => (await valueOn(evenkeel, node, count)) === wanted);
}

const nodes = { replication: 'semisync', nodes: 4 } as const;

const killed: Record<string, Story> = {
  'kill -9 of the primary: a direct replica is promoted, the tree stays, and the dead one comes back into it': async (
    evenkeel,
  ) => {
    const { relay, leaf } = await secondTier(evenkeel);
    const load = await Load.start(evenkeel, { clients: 4 });
    const dead = await evenkeel.primary();
    await evenkeel.signalNode(dead, 'SIGKILL');
    const next = await evenkeel.promotedFrom(dead);
    assert.notEqual(next.name, leaf.name);
    await load.more();
    await hasAll(evenkeel, load, leaf);
    assert.equal(await sourceOf(evenkeel, leaf), relay.port);
    assert.deepEqual(await load.lostOn(next), []);
    await evenkeel.restartNode(dead);
    await until('the dead one to be back, or kept out and named', 30_000, async () => {
      const [seen] = (await evenkeel.status()).clusters;
      return seen?.nodes.some(({ node, state }) => node === addressOf(dead) && /^(?:ok|errant)$/.test(state)) ?? false;
    });
  },
};

stories(
  'replicas of replicas',
  { ...nodes, flavors: ['mariadb'] },
  {
    'all are found from the last of them, and a switchover leaves their tree as it is': async (evenkeel) => {
      const { relay, leaf } = await secondTier(evenkeel);
      const { sandbox } = evenkeel;
      const options = { replication: 'semisync', nodes: 1, recovery: 'observe' } as const;
      await inFrontOf({ ...sandbox, nodes: [leaf] }, options, async (other) => {
        await until('all tiers to be found', 10_000, async () => {
          const [seen] = (await other.status()).clusters;
          return seen?.nodes.filter(({ state }) => state === 'ok').length === 4;
        });
        assert.equal((await other.status()).clusters[0]?.primary, addressOf(await evenkeel.primary()));
      });
      const load = await Load.start(evenkeel, { clients: 4 });
      const record = await evenkeel.switchover();
      assert.equal(record.outcome, 'done');
      assert.notEqual(record.to, addressOf(leaf));
      await load.more();
      assert.equal(await sourceOf(evenkeel, leaf), relay.port);
      await hasAll(evenkeel, load, leaf);
      assert.deepEqual([load.errors, load.broken], [[], []]);
    },
    'a relay that dies: what followed it follows the primary': async (evenkeel) => {
      const { relay, leaf } = await secondTier(evenkeel);
      await evenkeel.signalNode(relay, 'SIGKILL');
      const primary = await evenkeel.primary();
      await until('the leaf to follow the primary', 20_000, async () => {
        return (await sourceOf(evenkeel, leaf)) === primary.port;
      });
      await evenkeel.restartNode(relay);
      await evenkeel.healthy();
    },
    ...killed,
  },
);

// What differs between the families is how a replica is repointed.
stories('replicas of replicas', { ...nodes, flavors: ['mysql'] }, killed);
