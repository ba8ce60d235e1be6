// What becomes of a node with errant transactions, and of nodes that are added and removed: on MySQL by clone, on MariaDB
// by the commands that are told.
import assert from 'node:assert/strict';
import { buildFromBackup, type SandboxNode } from '../../src/sandbox/index.ts';
import { addressOf, directly, type Evenkeel, stories, succeeds, through, until } from './harness/index.ts';

async function stateOf(evenkeel: Evenkeel, node: SandboxNode): Promise<string | undefined> {
  const { nodes = [] } = (await evenkeel.status()).clusters[0] ?? {};
  return nodes.find((each) => each.node === addressOf(node))?.state;
}

/** What a supervisor does: nobody else starts the server again after a clone. */
async function restartWhenStopped(evenkeel: Evenkeel, node: SandboxNode): Promise<void> {
  const answers = () =>
    directly(evenkeel, node, 'DO 0').then(
      () => true,
      (error: NodeJS.ErrnoException) => error.code !== 'ECONNREFUSED',
    );
  await until('its server to stop', 30_000, async () => !(await answers()));
  await evenkeel.signalNode(node, 'SIGTERM'); // which waits for its end
  await evenkeel.restartNode(node);
}

/** The commands that `rebuild` tells for MariaDB, on one machine. */
async function byHand(evenkeel: Evenkeel, node: SandboxNode, donor: SandboxNode): Promise<void> {
  const maintenance = ['maintenance', addressOf(node)];
  assert.equal((await evenkeel.run(...maintenance, '--for', '6h')).code, 0);
  const donorIsPrimary = !(await evenkeel.replicas()).includes(donor);
  await buildFromBackup(evenkeel.sandbox.dir, { node: node.name, donor: donor.name, donorIsPrimary });
  assert.equal((await evenkeel.run(...maintenance, '--end')).code, 0);
}

stories(
  'nodes that are built anew',
  { replication: 'semisync', nodes: 3, workers: 1, storyTimeoutMs: 120_000 },
  {
    'a node with errant transactions is shown with what they did, and built anew': async (evenkeel) => {
      const mysql = evenkeel.sandbox.flavor === 'mysql';
      const [node, donor] = await evenkeel.replicas();
      assert.ok(node && donor);
      const address = addressOf(node);
      // Several servers have written: each leaves its last number in the state of the logs.
      const primary = await evenkeel.primary();
      await evenkeel.switchover(donor);
      await through(evenkeel, 'CREATE TABLE before_rebuild (n INT PRIMARY KEY)');
      await evenkeel.healthy();
      await evenkeel.switchover(primary);
      await evenkeel.healthy();
      const sound = await evenkeel.run('rebuild', address);
      assert.equal(sound.code, 1);
      assert.match(sound.stderr, mysql ? /no errant transactions/ : /mariadb-backup/);
      const readOnly = mysql ? 'super_read_only' : 'read_only';
      await directly(
        evenkeel,
        node,
        'SET GLOBAL read_only = 0',
        'CREATE TABLE app.own (n INT)',
        'INSERT INTO app.own VALUES (1)',
        `SET GLOBAL ${readOnly} = 1`,
      );
      await until('it to be named', 10_000, async () => (await stateOf(evenkeel, node)) === 'errant');
      const shown = await evenkeel.run('errant', address);
      assert.equal(shown.code, 0, shown.stderr);
      assert.match(shown.stdout, /has 2 that the primary has not.*CREATE TABLE app\.own \(n INT\).*insert: app\.own/s);

      const rebuilding = evenkeel.run('rebuild', address);
      if (mysql) {
        await restartWhenStopped(evenkeel, node);
        const rebuilt = await rebuilding;
        assert.equal(rebuilt.code, 0, rebuilt.stderr);
        assert.match(rebuilt.stdout, /start the server.*is built anew from/s);
      } else {
        const refused = await rebuilding;
        assert.equal(refused.code, 1);
        assert.match(refused.stderr, /mariadb-backup --backup.*gtid_slave_pos/s);
        await byHand(evenkeel, node, donor);
      }
      await evenkeel.healthy();
      await assert.rejects(directly(evenkeel, node, 'SELECT * FROM app.own'), { errno: 1146 });
      await through(evenkeel, 'CREATE TABLE rebuilt (n INT PRIMARY KEY)');
      await until('it to follow', 10_000, () => succeeds(directly(evenkeel, node, 'SELECT * FROM app.rebuilt')));
    },

    'a node that was built anew becomes primary, and makes nobody errant': async (evenkeel) => {
      const former = await evenkeel.primary();
      const [node] = await evenkeel.replicas();
      assert.ok(node);
      await evenkeel.switchover(node);
      await through(evenkeel, 'INSERT INTO rebuilt VALUES (1)');
      await evenkeel.healthy();
      // It would be refused to an errant node.
      await evenkeel.switchover(former);
      await evenkeel.healthy();
    },

    'a node is removed and added again, and the endpoints do not change': async (evenkeel) => {
      const mysql = evenkeel.sandbox.flavor === 'mysql';
      const [node] = await evenkeel.replicas();
      assert.ok(node);
      const address = addressOf(node);
      assert.equal((await evenkeel.run('remove-node', address)).code, 1, 'it is in service');
      assert.equal((await evenkeel.run('drain', address)).code, 0);
      const removed = await evenkeel.run('remove-node', address);
      assert.equal(removed.code, 0, removed.stderr);
      const nodes = async () => (await evenkeel.status()).clusters[0]?.nodes.map((each) => each.node) ?? [];
      assert.ok(!(await nodes()).includes(address));
      // Its address is a seed: a restart does not bring it back.
      await evenkeel.stop('SIGTERM');
      await evenkeel.start();
      assert.equal((await nodes()).length, 2);

      const full = await evenkeel.run('add-node', address);
      assert.equal(full.code, 1);
      assert.match(full.stderr, mysql ? /is not empty: it has app/ : /add-node .* --keep-data/);
      if (mysql) {
        const empty = ['SET sql_log_bin = 0', 'SET GLOBAL super_read_only = 0', 'DROP DATABASE app'];
        await directly(evenkeel, node, ...empty);
        const adding = evenkeel.run('add-node', address);
        await restartWhenStopped(evenkeel, node);
        const added = await adding;
        assert.equal(added.code, 0, added.stderr);
      } else {
        const added = await evenkeel.run('add-node', address, '--keep-data');
        assert.equal(added.code, 0, added.stderr);
      }
      await evenkeel.healthy();
      assert.ok((await nodes()).includes(address));
    },
  },
);
