// An operator's stories of primaries that answer and cannot commit: a full disk, commits that hang, replicas that
// acknowledge nothing, and a lock that somebody holds on purpose.
import assert from 'node:assert/strict';
import mysql from 'mysql2/promise';
import type { SandboxNode } from '../../src/sandbox/index.ts';
import { onSmallDisk, onStallingDisk } from './harness/disk.ts';
import { addressOf, directly, type Evenkeel, Load, stories, through, until, writableNodes } from './harness/index.ts';

async function problemCodes(evenkeel: Evenkeel): Promise<string[]> {
  return (await evenkeel.status()).clusters[0]?.problems.map(({ code }) => code) ?? [];
}

async function onlyWriter(evenkeel: Evenkeel, node: SandboxNode): Promise<void> {
  await until('one writer', 30_000, async () => (await writableNodes(evenkeel)).join() === addressOf(node));
}

async function lastFailover(evenkeel: Evenkeel) {
  const record = (await evenkeel.history()).find(({ kind }) => kind === 'failover');
  assert.ok(record);
  return record;
}

stories(
  'a primary that answers and cannot commit',
  { replication: 'semisync', nodes: 3 },
  {
    'a lock that somebody holds is told, and nobody is promoted': async (evenkeel) => {
      const primary = await evenkeel.primary();
      await through(evenkeel, 'CREATE TABLE stuck (n INT PRIMARY KEY)');
      const locker = await mysql.createConnection(evenkeel.direct(primary));
      await locker.query('FLUSH TABLES WITH READ LOCK');
      const write = through(evenkeel, 'INSERT INTO stuck VALUES (1)');
      await until('the lock to be told', 15_000, async () => (await problemCodes(evenkeel)).includes('primary-locked'));
      await locker.query('UNLOCK TABLES');
      locker.destroy();
      await write;
      await evenkeel.healthy();
      assert.equal(addressOf(await evenkeel.primary()), addressOf(primary));
      assert.deepEqual(await evenkeel.history(), []);
    },

    'replicas that acknowledge nothing any more are started again, and nobody is promoted': async (evenkeel) => {
      const primary = await evenkeel.primary();
      const stop = evenkeel.sandbox.flavor === 'mysql' ? 'STOP REPLICA IO_THREAD' : 'STOP SLAVE IO_THREAD';
      for (const replica of await evenkeel.replicas()) await directly(evenkeel, replica, stop);
      await through(evenkeel, 'INSERT INTO stuck VALUES (2)');
      assert.equal(addressOf(await evenkeel.primary()), addressOf(primary));
      const [record] = await evenkeel.history();
      assert.equal(record?.kind, 'rejoin');
      assert.equal(record.analysis, 'primary-waits-for-replicas');
    },

    'a full disk: another node takes over, and no acknowledged write is lost': async (evenkeel) => {
      const [small] = await evenkeel.replicas();
      assert.ok(small);
      await onSmallDisk(evenkeel, small, 400, async (disk) => {
        await evenkeel.healthy();
        await evenkeel.switchover(small);
        const load = await Load.start(evenkeel, { clients: 8 });
        disk.fill();
        const next = await evenkeel.promotedFrom(small);
        await load.more();
        assert.deepEqual(await load.lostOn(next), []);
        assert.deepEqual(load.broken, []);
        const record = await lastFailover(evenkeel);
        assert.equal(record.analysis, 'primary-disk-full', record.reason);
        assert.equal(record.outcome, 'done');
        assert.ok(record.steps.some(({ name, detail }) => name.startsWith('fence') && !/out-of-reach/.test(detail)));
        await disk.empty();
        await onlyWriter(evenkeel, next);
      });
    },
  },
);

// What the old primary was committing is its own alone, on MySQL: it is kept out, so the cluster is nobody else's.
stories(
  'a primary whose disk stalls',
  { replication: 'semisync', nodes: 3 },
  {
    'a disk that stalls: another node takes over, and when it goes on nobody can write there': async (evenkeel) => {
      const [slow] = await evenkeel.replicas();
      assert.ok(slow);
      await onStallingDisk(evenkeel, slow, async (disk) => {
        await evenkeel.healthy();
        await evenkeel.switchover(slow);
        const load = await Load.start(evenkeel, { clients: 8 });
        disk.stall();
        const next = await evenkeel.promotedFrom(slow);
        await load.more();
        const record = await lastFailover(evenkeel);
        assert.equal(record.analysis, 'primary-stalled', record.reason);
        assert.equal(record.outcome, 'done');
        disk.goOn();
        await onlyWriter(evenkeel, next);
        await load.more();
        assert.deepEqual(await load.lostOn(next), []);
        assert.deepEqual([load.errors, load.broken], [[], []]);
      });
    },
  },
);
