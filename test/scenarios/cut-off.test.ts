// An operator's stories of links that are cut, with hosts and processes unharmed: Evenkeel is cut off from a primary that
// serves on, a primary from its replicas, and a primary from everybody. There is never a second node that can confirm a write.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RowDataPacket } from 'mysql2/promise';
import type { Flavor } from '../../src/messages/index.ts';
import { withSandbox } from '../../src/sandbox/index.ts';
import { addressOf, application, directly, type Evenkeel, inFrontOf, Load, until, within } from './harness/index.ts';
import { layNetwork } from './harness/lay-network.ts';
import { EVENKEEL, type Network } from './harness/network.ts';

const SHAPE = { replication: 'semisync', nodes: 3 } as const;

async function problemCodes(evenkeel: Evenkeel): Promise<string[]> {
  return (await evenkeel.status()).clusters[0]?.problems.map(({ code }) => code) ?? [];
}

const recoveries = async (evenkeel: Evenkeel): Promise<string[]> =>
  (await evenkeel.history()).filter(({ kind }) => kind === 'failover').map(({ outcome }) => outcome);

async function outOfOurReach(evenkeel: Evenkeel, network: Network): Promise<void> {
  const primary = await evenkeel.primary();
  const client = await application(evenkeel);
  await client.query('CREATE TABLE cut (n INT PRIMARY KEY)');
  const replicas = await evenkeel.replicas();
  network.cut(EVENKEEL, primary.name);
  const write = client.query('INSERT INTO cut VALUES (1)');
  await until('it to be told', 15_000, async () => (await problemCodes(evenkeel)).includes('primary-out-of-our-reach'));
  // It serves others meanwhile, and its replicas follow it.
  await directly(evenkeel, network.real(primary), 'INSERT INTO app.cut VALUES (2)');
  const there = async (): Promise<boolean> => {
    const [[row]] = await directly(evenkeel, network.real(replicas[0] ?? primary), 'SELECT COUNT(*) AS n FROM app.cut');
    return Number(row?.['n']) >= 1;
  };
  await until('a replica to have it', 10_000, there);
  assert.equal((await evenkeel.status()).clusters[0]?.primary, addressOf(primary));
  network.mend();
  await write;
  await evenkeel.healthy();
  const [rows] = await client.query<RowDataPacket[]>('SELECT n FROM cut ORDER BY n');
  assert.deepEqual(
    rows.map(({ n }) => Number(n)),
    [1, 2],
  );
  client.destroy();
  assert.equal(addressOf(await evenkeel.primary()), addressOf(primary));
  assert.deepEqual(await recoveries(evenkeel), []);
}

/** Cuts links of the primary under load: another takes over, nothing confirmed is lost, and the old one comes back. */
async function takenOver(evenkeel: Evenkeel, network: Network, from: readonly string[]): Promise<void> {
  const primary = await evenkeel.primary();
  const load = await Load.start(evenkeel, { clients: 8 });
  await load.more();
  for (const party of from) network.cut(party, primary.name);
  const next = await evenkeel.promotedFrom(primary, 45_000);
  // With semi-sync, and no replica that hears it, it can confirm nothing: no second writer, whoever reaches it.
  const alone = directly(evenkeel, network.real(primary), 'INSERT INTO app.alone VALUES (1)');
  assert.notEqual(await within(2000, alone), 'answered');
  await load.more();
  network.mend();
  assert.deepEqual(await load.lostOn(network.real(next)), []);
  assert.deepEqual(load.broken, []);
  assert.deepEqual(load.errors, []);
  const readOnly = async (): Promise<boolean> => {
    const [[row]] = await directly(evenkeel, network.real(primary), 'SELECT @@global.read_only AS it');
    return Number(row?.['it']) === 1;
  };
  await until('the old primary to be read-only', 30_000, readOnly);
}

type Story = (evenkeel: Evenkeel, network: Network) => Promise<void>;

/** One way to be replaced a flavor: it leaves a former primary behind with what nobody was told of. */
const REPLACED: Record<Flavor, Record<string, Story>> = {
  mysql: {
    'a primary that none of its replicas reaches is replaced, though we reach it': async (evenkeel, network) =>
      takenOver(evenkeel, network, await replicaNames(evenkeel)),
  },
  mariadb: {
    'a primary that nobody reaches is replaced': async (evenkeel, network) =>
      takenOver(evenkeel, network, [EVENKEEL, ...(await replicaNames(evenkeel))]),
  },
};

async function replicaNames(evenkeel: Evenkeel): Promise<string[]> {
  return (await evenkeel.replicas()).map(({ name }) => name);
}

for (const flavor of ['mysql', 'mariadb'] as const) {
  const stories: Record<string, Story> = {
    'a primary that we do not reach and its replicas do stays, and statements wait': outOfOurReach,
    ...REPLACED[flavor],
  };
  test(`${flavor}: links that are cut`, { timeout: 300_000 }, async (t) => {
    await withSandbox({ flavor, ...SHAPE }, async (sandbox) => {
      const network = await layNetwork(sandbox);
      try {
        await inFrontOf(network.sandbox, SHAPE, async (evenkeel) => {
          const [primary] = network.sandbox.nodes;
          assert.ok(primary !== undefined);
          await evenkeel.healthy();
          await directly(evenkeel, network.real(primary), 'CREATE TABLE app.alone (n INT PRIMARY KEY)');
          for (const [name, story] of Object.entries(stories)) {
            await t.test(name, { timeout: 120_000 }, () => told(evenkeel, network, story));
          }
        });
      } finally {
        network.close();
      }
    });
  });
}

async function told(evenkeel: Evenkeel, network: Network, story: Story): Promise<void> {
  try {
    await story(evenkeel, network);
  } catch (error) {
    const problems = JSON.stringify((await evenkeel.status().catch(() => null))?.clusters[0]?.problems ?? null);
    process.stderr.write(`--- evenkeel said:\n${evenkeel.output.slice(-8000)}\nproblems: ${problems}\n---\n`);
    throw error;
  }
}
