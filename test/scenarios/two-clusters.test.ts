// One Evenkeel in front of two clusters, of MySQL and of MariaDB, with an account of the same name in each: what happens to the one
// is nothing to the other.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise';
import { freePorts, withSandbox } from '../../src/sandbox/index.ts';
import { addressOf, explained, inFrontOf, Load, until } from './harness/index.ts';

const SANDBOX = { replication: 'semisync', nodes: 2 } as const;

const writes = async (client: Connection, work: { on: boolean; n: number }): Promise<void> => {
  while (work.on) await client.query('INSERT INTO beside VALUES (?)', [++work.n]);
};

test('two clusters behind one Evenkeel', { timeout: 180_000 }, async () => {
  await withSandbox({ ...SANDBOX, flavor: 'mysql' }, async (shop) => {
    await withSandbox({ ...SANDBOX, flavor: 'mariadb' }, async (other) => {
      const [port = 0] = await freePorts(1);
      const cluster = `  other:
    seeds: ["${addressOf(other.nodes[0] as (typeof other.nodes)[0])}"]
    admin: { user: ${other.admin.user}, password: "${other.admin.password}" }
    durability: semisync`;
      const endpoints = `  - { name: other-writer, cluster: other, listen: "127.0.0.1:${port}", route: primary }`;
      await inFrontOf(shop, { ...SANDBOX, cluster, endpoints }, (evenkeel) =>
        explained(evenkeel, async () => {
          const healthy = async (): Promise<boolean> =>
            (await evenkeel.status()).clusters.every(({ state }) => state === 'healthy');
          await until('both to be healthy', 30_000, healthy);
          const { user, password, database } = other.app;
          const login = { host: '127.0.0.1', port, user, password, database };
          const there = (): Promise<Connection> => mysql.createConnection(login);
          const here = (): Promise<Connection> => mysql.createConnection(evenkeel.login());

          // The same name, and each its own password.
          assert.equal(user, evenkeel.login().user);
          for (let round = 0; round < 3; round++) for (const open of [here, there]) await (await open()).end();
          await assert.rejects(mysql.createConnection({ ...evenkeel.login(), password }), { errno: 1045 });
          await assert.rejects(mysql.createConnection({ ...login, password: evenkeel.login().password }), {
            errno: 1045,
          });

          const [client, neighbour] = [await there(), await here()];
          for (const [each, isMariadb] of [
            [client, true],
            [neighbour, false],
          ] as const) {
            const [rows] = await each.query<RowDataPacket[]>('SELECT VERSION() AS version');
            assert.equal(String(rows[0]?.['version']).includes('MariaDB'), isMariadb);
          }

          // Nobody is there by the id of another cluster's session; whichever worker has it.
          for (let n = 0; n < 4; n++) {
            const victim = await here();
            await assert.rejects(client.query(`KILL ${victim.threadId}`), { errno: 1094 });
            assert.equal((await victim.query<RowDataPacket[]>('SELECT 1 AS one'))[0][0]?.['one'], 1);
            await neighbour.query(`KILL ${victim.threadId}`);
            await assert.rejects(victim.query('SELECT 1'));
          }

          // A primary dies; in the other cluster nobody is held, asked or replayed.
          await client.query('CREATE TABLE beside (n INT PRIMARY KEY)');
          const work = { on: true, n: 0 };
          const beside = writes(client, work);
          const load = await Load.start(evenkeel, { clients: 8, mode: 'transactions' });
          const [dead, next] = [await evenkeel.primary(), (await evenkeel.replicas())[0]];
          assert.ok(next !== undefined);
          await evenkeel.signalNode(dead, 'SIGKILL');
          const then = work.n;
          assert.equal(await evenkeel.promotedFrom(dead), next);
          await until('the neighbours to go on', 10_000, () => work.n > then + 20);
          await evenkeel.restartNode(dead); // without it nobody acknowledges
          await load.more();
          assert.deepEqual(await load.lostOn(next), []);
          assert.deepEqual(
            load.errors.filter(({ errno }) => errno !== 1213),
            [],
          );
          const { clusters } = await evenkeel.status();
          assert.deepEqual(
            clusters.map(({ name, epoch, primary }) => [name, epoch, primary]),
            [
              ['shop', 2, addressOf(next)],
              ['other', 1, clusters[1]?.primary],
            ],
          );

          // An order says of which, or is refused.
          const vague = await evenkeel.run('switchover');
          assert.equal(vague.code, 2);
          assert.match(vague.stderr, /--cluster/);
          await until(
            'the other to be healthy',
            30_000,
            async () => (await evenkeel.status()).clusters[1]?.state === 'healthy',
          );
          const { code, stdout, stderr } = await evenkeel.run('switchover', '--cluster', 'other', '--json');
          assert.equal(code, 0, stderr);
          assert.equal(JSON.parse(stdout).cluster, 'other');
          work.on = false;
          await beside;
          const [rows] = await client.query<RowDataPacket[]>('SELECT COUNT(*) AS n FROM beside');
          assert.equal(rows[0]?.['n'], work.n);
          const kinds = (await evenkeel.history()).map(({ cluster: of, kind }) => `${of} ${kind}`);
          assert.ok(kinds.includes('shop failover') && kinds.includes('other switchover'), kinds.join(', '));
          assert.ok(!kinds.includes('other failover'), kinds.join(', '));
          await Promise.all([client.end(), neighbour.end()]);
        }),
      );
    });
  });
});
