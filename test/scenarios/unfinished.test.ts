// An operator's stories of a failover in the middle of which Evenkeel died, while the old primary went on for clients that
// reach it past Evenkeel: whoever acknowledged writes is who clients are let to, and where both did a person is asked.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type RecoveryRecord, UNFINISHED } from '../../src/recovery/index.ts';
import type { SandboxNode } from '../../src/sandbox/index.ts';
import { openEmbeddedStore } from '../../src/store/index.ts';
import {
  addressOf,
  byHand,
  directly,
  type Evenkeel,
  stories,
  through,
  until,
  valueOn,
  writableNodes,
} from './harness/index.ts';

const words = {
  mysql: {
    ...byHand.mysql,
    promote: ['SET GLOBAL rpl_semi_sync_source_enabled = ON', 'SET GLOBAL read_only = OFF'],
  },
  mariadb: {
    ...byHand.mariadb,
    promote: ['SET GLOBAL rpl_semi_sync_master_enabled = ON', 'SET GLOBAL read_only = OFF'],
  },
} as const;

/** What a process that died in the middle of a failover leaves in its store. */
function leaveUnfinished(evenkeel: Evenkeel, from: SandboxNode, to: SandboxNode): void {
  const store = openEmbeddedStore(join(evenkeel.dir, '.evenkeel', 'evenkeel.db'));
  const record: RecoveryRecord = {
    id: '20261129T000000Z-0000',
    kind: 'failover',
    cluster: 'shop',
    from: addressOf(from),
    to: addressOf(to),
    epoch: store.loadCluster('shop')?.epoch ?? 1,
    outcome: 'failed',
    reason: UNFINISHED,
    startedAt: new Date().toISOString(),
    durationMs: 0,
    longestStallMs: 0,
    clientErrors: 0,
    steps: [],
  };
  store.saveRecovery(record);
  store.close();
}

/** Makes `to` take writes as a failover does that ends before anybody follows it. */
async function promotedByHalf(evenkeel: Evenkeel, to: SandboxNode): Promise<void> {
  const { detach, promote } = words[evenkeel.sandbox.flavor];
  await directly(evenkeel, to, ...detach, ...promote);
}

stories(
  'a failover that nobody ended',
  { replication: 'semisync', nodes: 3, apart: true },
  {
    'clients go back to the old primary, which went on': async (evenkeel) => {
      await through(evenkeel, 'CREATE TABLE went_on (n INT PRIMARY KEY)', 'INSERT INTO went_on VALUES (1)');
      const old = await evenkeel.primary();
      const [to] = await evenkeel.replicas();
      assert.ok(to);
      await evenkeel.stop('SIGKILL');
      await evenkeel.destroy();
      leaveUnfinished(evenkeel, old, to);
      await promotedByHalf(evenkeel, to);
      // Nobody follows it: a client there waits in vain.
      const inVain = directly(evenkeel, to, 'INSERT INTO app.went_on VALUES (1000)').catch(() => undefined);
      await directly(evenkeel, old, 'INSERT INTO app.went_on VALUES (2)', 'INSERT INTO app.went_on VALUES (3)');
      await evenkeel.start();
      const [rows] = await through(evenkeel, 'INSERT INTO went_on VALUES (4)', 'SELECT MAX(n) AS n FROM went_on');
      assert.equal(rows[0]?.['n'], 4);
      assert.equal(addressOf(await evenkeel.primary()), addressOf(old));
      assert.deepEqual(await writableNodes(evenkeel), [addressOf(old)]);
      const [follow] = (await evenkeel.history()).filter(({ kind }) => kind === 'follow');
      assert.equal(follow?.outcome, 'rolled-back');
      assert.match(follow.reason, /^not followed after all: .* nothing was acknowledged at/);
      await inVain;
      // A process that comes after does not look for that node any more.
      await evenkeel.stop();
      await evenkeel.start();
      await through(evenkeel, 'INSERT INTO went_on VALUES (5)');
      assert.equal(addressOf(await evenkeel.primary()), addressOf(old));
    },
  },
);

stories(
  'a failover that nobody ended, and two primaries that went on',
  // A replica of MariaDB that has more than its new source does not follow it.
  { replication: 'semisync', nodes: 3, apart: true, flavors: ['mysql'] },
  {
    'nobody is let to either before a person chose': async (evenkeel) => {
      await through(evenkeel, 'CREATE TABLE both_went (n INT PRIMARY KEY)', 'INSERT INTO both_went VALUES (1)');
      const old = await evenkeel.primary();
      const [to, other] = await evenkeel.replicas();
      assert.ok(to && other);
      await evenkeel.stop('SIGKILL');
      await evenkeel.destroy();
      leaveUnfinished(evenkeel, old, to);
      await promotedByHalf(evenkeel, to);
      await directly(evenkeel, old, 'INSERT INTO app.both_went VALUES (2)');
      const has = (n: number) => `SELECT COUNT(*) FROM app.both_went WHERE n = ${n}`;
      await until('the row', 5000, async () => (await valueOn(evenkeel, other, has(2))) === 1);
      const source = `CHANGE REPLICATION SOURCE TO SOURCE_HOST = '${to.host}', SOURCE_PORT = ${to.port}`;
      await directly(evenkeel, other, 'STOP REPLICA', source, 'START REPLICA');
      await directly(evenkeel, to, 'INSERT INTO app.both_went VALUES (1000)');
      const started = evenkeel.start();
      started.catch(() => undefined);
      await until('the question', 30_000, async () => {
        const { problems = [] } = (await evenkeel.status().catch(() => null))?.clusters[0] ?? {};
        return problems.some(({ text }) => text.includes('both may have been acknowledged. Look at both, then choose'));
      });
      assert.notEqual((await evenkeel.fetch('/readyz')).status, 200);
      const chosen = await evenkeel.run('failover', '--to', addressOf(to), '--force');
      assert.equal(chosen.code, 0, chosen.stderr);
      await started;
      const [rows] = await through(evenkeel, 'SELECT MAX(n) AS n FROM both_went');
      assert.equal(rows[0]?.['n'], 1000);
      assert.deepEqual(await writableNodes(evenkeel), [addressOf(to)]);
    },
  },
);
