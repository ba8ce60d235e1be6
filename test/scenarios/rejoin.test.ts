// An operator's stories of nodes that come back: a former primary joins, errant transactions keep a node out, and a
// cluster that was down as a whole serves again by itself.
import assert from 'node:assert/strict';
import { CHOSEN_UUID_PREFIX } from '../../src/messages/index.ts';
import { addressOf, application, directly, stories, through, until, valueOn, writableNodes } from './harness/index.ts';

stories(
  'nodes that come back',
  { replication: 'semisync', nodes: 3 },
  {
    'a killed primary comes back read-only, follows, and has what was written since': async (evenkeel) => {
      const old = await evenkeel.primary();
      await through(evenkeel, 'CREATE TABLE back (n INT PRIMARY KEY)', 'INSERT INTO back VALUES (1)');
      const open = await Promise.all(Array.from({ length: 6 }, () => application(evenkeel)));
      for (const [n, client] of open.entries()) {
        await client.query('BEGIN');
        await client.query(`INSERT INTO back VALUES (${100 + n})`);
      }
      await evenkeel.signalNode(old, 'SIGKILL');
      const next = await evenkeel.promotedFrom(old);
      await through(evenkeel, 'INSERT INTO back VALUES (2)');
      for (const client of open) {
        await client.query('COMMIT');
        await client.end();
      }
      // The numbers of the six transactions that the dead primary took with it.
      const chosen = async (): Promise<string[]> => {
        const [rows] = await directly(evenkeel, next, 'SELECT @@global.gtid_executed AS gtids');
        return String(rows[0]?.['gtids'])
          .replaceAll('\n', '')
          .split(',')
          .filter((set) => set.startsWith(CHOSEN_UUID_PREFIX));
      };
      const isMysql = evenkeel.sandbox.flavor === 'mysql';
      const holes = async (): Promise<number> =>
        (await chosen()).reduce((sum, set) => sum + set.split(':').length - 2, 0);
      if (isMysql) assert.ok((await holes()) > 0);
      await evenkeel.restartNode(old);
      await evenkeel.healthy();
      if (isMysql) await until('the holes to be closed', 20_000, async () => (await holes()) === 0);
      assert.deepEqual(await writableNodes(evenkeel), [addressOf(next)]);
      await until(
        'what was written since',
        5000,
        async () => (await valueOn(evenkeel, old, 'SELECT COUNT(*) FROM app.back')) === 8,
      );
      const rejoined = (await evenkeel.history()).find(({ kind, outcome }) => kind === 'rejoin' && outcome === 'done');
      assert.equal(rejoined?.to, addressOf(old));
      const { nodes = [] } = (await evenkeel.status()).clusters[0] ?? {};
      assert.equal(nodes.length, 3, JSON.stringify(nodes.map(({ node }) => node)));
    },

    'a cluster that was shut down and started as a whole takes writes again by itself': async (evenkeel) => {
      const primary = await evenkeel.primary();
      const replicas = await evenkeel.replicas();
      for (const node of [...replicas, primary]) await evenkeel.signalNode(node, 'SIGTERM');
      const waiting = through(evenkeel, 'INSERT INTO back VALUES (3)', 'SELECT COUNT(*) AS count FROM back');
      await until('every node to be away', 30_000, async () => {
        const { nodes = [] } = (await evenkeel.status()).clusters[0] ?? {};
        return nodes.every(({ state }) => state === 'unreachable');
      });
      // The replicas come first: the primary may have what it could not send, and is waited for.
      await Promise.all(replicas.map((node) => evenkeel.restartNode(node)));
      await until('the wait to be told', 5000, async () => {
        const { problems = [] } = (await evenkeel.status()).clusters[0] ?? {};
        return problems.some(({ code }) => code === 'cluster-restarted');
      });
      await evenkeel.restartNode(primary);
      const [rows] = await waiting;
      assert.equal(rows[0]?.['count'], 9);
      await evenkeel.healthy();
      assert.equal(addressOf(await evenkeel.primary()), addressOf(primary));
      assert.equal((await writableNodes(evenkeel)).length, 1);
    },

    'a node with errant transactions is named, kept out, and never promoted': async (evenkeel) => {
      const primary = await evenkeel.primary();
      const [errant, other] = await evenkeel.replicas();
      assert.ok(errant && other);
      const readOnly = evenkeel.sandbox.flavor === 'mysql' ? 'super_read_only' : 'read_only';
      const write = ['SET GLOBAL read_only = 0', 'CREATE TABLE app.errant (n INT)', `SET GLOBAL ${readOnly} = 1`];
      // With the source side off, or the write would wait for an acknowledgement.
      await directly(evenkeel, errant, ...write);
      const isErrant = async (): Promise<boolean> => {
        const { nodes = [], problems = [] } = (await evenkeel.status()).clusters[0] ?? {};
        const one = nodes.find(({ node }) => node === addressOf(errant));
        return one?.state === 'errant' && problems.some(({ text }) => text.includes(`${addressOf(errant)} errant`));
      };
      await until('the errant node to be named', 10_000, isErrant);
      const asked = await evenkeel.run('switchover', '--to', addressOf(errant));
      assert.equal(asked.code, 1);
      assert.match(asked.stderr, /errant/);

      await evenkeel.signalNode(primary, 'SIGKILL');
      const next = await evenkeel.promotedFrom(primary);
      assert.equal(addressOf(next), addressOf(other));
      await evenkeel.restartNode(primary);
      await through(evenkeel, 'INSERT INTO back VALUES (4)');
      await until('it to be named still', 10_000, isErrant);
    },
  },
);
