// Two Evenkeels that nobody told of each other, in front of one cluster: one recovers, the other says so and follows.
import assert from 'node:assert/strict';
import { addressOf, type Evenkeel, inFrontOf, stories, through, until, writableNodes } from './harness/index.ts';

const elsewhere = async (evenkeel: Evenkeel): Promise<boolean> =>
  (await evenkeel.status()).clusters[0]?.problems.some(({ code }) => code === 'recovery-elsewhere') ?? false;

stories(
  'two Evenkeels that both want to recover',
  { replication: 'semisync', nodes: 3 },
  {
    'the second stands back, follows the failover of the first, and takes its place when it is gone': async (first) => {
      await inFrontOf(first.sandbox, { replication: 'semisync', nodes: 3 }, async (second) => {
        await until('the second to stand back', 10_000, () => elsewhere(second));
        assert.equal(await elsewhere(first), false);
        const order = await second.run('switchover');
        assert.equal(order.code, 1);
        assert.match(order.stderr, /another Evenkeel recovers this cluster/);

        const dead = await first.primary();
        await first.signalNode(dead, 'SIGKILL');
        const next = await second.promotedFrom(dead);
        await through(second, 'CREATE TABLE pair (n INT PRIMARY KEY)', 'INSERT INTO pair VALUES (1)');
        await through(first, 'INSERT INTO pair VALUES (2)');
        assert.deepEqual(await writableNodes(first), [addressOf(next)]);
        assert.deepEqual(
          [await first.history(), await second.history()].map((records) =>
            records.filter(({ kind, outcome }) => kind !== 'rejoin' && outcome === 'done').map(({ kind }) => kind),
          ),
          [['failover'], ['follow']],
        );

        await first.restartNode(dead);
        await first.stop();
        await until('the second to take its place', 10_000, async () => !(await elsewhere(second)));
        await second.healthy();
        const moved = await second.switchover();
        assert.equal(moved.outcome, 'done');
        await first.start();
      });
    },
  },
);
