// The control process over fake workers and a fake monitor: evidence and its answer, recoveries and what workers are
// told during them, accounts, the status and what is remembered.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { OrderError } from '../../src/control/order-error.ts';
import type { Account, ToWorker } from '../../src/messages/index.ts';
import { openEmbeddedStore } from '../../src/store/index.ts';
import {
  FakeMonitor,
  type FakeRecoveries,
  freePort,
  nodeView,
  order,
  record,
  startTestControl,
  stateOf,
  type TestControl,
  temporaryDir,
  testConfig,
  until,
} from './harness.ts';

const cleanups: (() => unknown)[] = [];
after(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

type Started = TestControl & { dir: string };

async function started(over: {
  recoveries?: Partial<FakeRecoveries>;
  monitor?: FakeMonitor;
  observe?: boolean;
}): Promise<Started> {
  const { dir, remove } = temporaryDir();
  cleanups.push(remove);
  const config = testConfig(dir, await freePort());
  const [cluster] = config.clusters;
  if (over.observe && cluster) cluster.recovery = 'observe';
  const test = await startTestControl(config, over);
  cleanups.push(() => test.control.stop(500));
  return { ...test, dir };
}

const routeOf = async (dir: string, worker = 0) => (await stateOf(dir, worker))?.clusters[0];

function reviews(heard: ToWorker[]): { evidence: number; healthy: boolean }[] {
  return heard.flatMap((each) =>
    each.type === 'reviewed' ? [{ evidence: each.evidence, healthy: each.healthy }] : [],
  );
}

function evidence(dir: string, number: number, node = 'a:1') {
  const message = {
    type: 'evidence',
    cluster: 'shop',
    node,
    kind: 'connection-lost',
    evidence: number,
    detail: '',
  } as const;
  return order(dir, 0, { do: 'send', message });
}

const dead = { state: 'dead', since: performance.now() + 3_600_000, reason: 'refused' } as const;

test('evidence against a sound primary is answered with healthy, by a look that began after it', async () => {
  const { dir, monitor } = await started({});
  monitor.onLook = () => monitor.show([nodeView('a:1', 'primary'), nodeView('b:1', 'replica')]);
  await evidence(dir, 7);
  const state = await until('an answer', async () => {
    const seen = await order(dir, 0);
    return reviews(seen.heard).length > 0 ? seen : undefined;
  });
  assert.deepEqual(reviews(state.heard), [{ evidence: 7, healthy: true }]);
  assert.deepEqual(monitor.looks, ['a:1']);
  assert.deepEqual(monitor.heard, ['connection-lost a:1']);
});

test('evidence against a primary that does not answer is answered with healthy as soon as it does', async () => {
  const { dir, monitor } = await started({});
  monitor.onLook = () => monitor.show([nodeView('a:1', 'primary', 'unreachable'), nodeView('b:1', 'replica')]);
  await evidence(dir, 1);
  await until('an answer', async () => reviews((await order(dir, 0)).heard).length > 0);
  monitor.show([nodeView('a:1', 'primary'), nodeView('b:1', 'replica')]);
  await until('a better one', async () => reviews((await order(dir, 0)).heard).length > 1);
  assert.deepEqual(reviews((await order(dir, 0)).heard), [
    { evidence: 1, healthy: false },
    { evidence: 1, healthy: true },
  ]);
});

test('a dead primary is failed over: workers hold, drain, and get the new primary under a new epoch that is saved', async () => {
  const drained: number[] = [];
  const { control, dir, monitor } = await started({
    recoveries: {
      failover: async (context, options) => {
        assert.equal(options?.reason, 'refused');
        const end = record(context, { id: 'f1', from: 'a:1', to: 'b:1' });
        context.onProgress?.(end, null);
        await context.gate.close('failover', end.id);
        for (const worker of [0, 1]) {
          assert.deepEqual((await routeOf(dir, worker))?.gate, { state: 'closed', reason: 'failover', recovery: 'f1' });
        }
        drained.push(await context.gate.drain(100));
        end.epoch = await context.gate.open('b:1', end.id);
        assert.equal(await context.gate.open('b:1', end.id), end.epoch);
        const impact = await context.gate.impact(end.id);
        assert.deepEqual(impact, { heldStatements: 6, longestStallMs: 20, clientErrors: 2 });
        context.store.saveRecovery(end);
        return end;
      },
      rejoin: (context, node) => Promise.resolve(record(context, { kind: 'rejoin', to: node })),
    },
  });
  const told: string[] = [];
  control.subscribe((event) => told.push(event.type));
  monitor.show([nodeView('a:1', 'primary', 'unreachable'), nodeView('b:1', 'replica')], { health: dead });
  // From now on the fake detector speaks of the new primary.
  await until('the new primary to be named', () => monitor.primaries.at(-1) === 'b:1');
  monitor.show([nodeView('b:1', 'primary')], { health: { state: 'alive' } });
  await until('the end', () => told.includes('recovery-ended'));
  assert.deepEqual(drained, [3]);
  for (const worker of [0, 1]) {
    const route = await until('the new route', async () => {
      const seen = await routeOf(dir, worker);
      return seen?.gate.state === 'open' ? seen : undefined;
    });
    assert.deepEqual([route.primary, route.epoch], ['b:1', 2]);
  }
  assert.deepEqual(
    control.history({ limit: 10 }).map(({ id, epoch }) => [id, epoch]),
    [['f1', 2]],
  );
  assert.ok(told.includes('recovery-started') && told.includes('cluster-changed'));
  const text = await control.metrics();
  assert.match(text, /evenkeel_recoveries_total\{cluster="shop",kind="failover",outcome="done"\} 1\n/);
  assert.match(text, /evenkeel_cluster_epoch\{cluster="shop"\} 2\n/);
  const store = openEmbeddedStore(`${dir}/evenkeel.db`);
  assert.equal(store.loadCluster('shop')?.epoch, 2);
  assert.equal(store.loadCluster('shop')?.primary, 'b:1');
  store.close();
});

test('with recovery set to observe a dead primary is reported, and nothing is done', async () => {
  const { control, monitor } = await started({ observe: true });
  monitor.show([nodeView('a:1', 'primary', 'unreachable'), nodeView('b:1', 'replica')], { health: dead });
  const [cluster] = control.status().clusters;
  assert.equal(cluster?.state, 'down');
  assert.match(cluster.problems.map(({ text }) => text).join(), /it would have done: failover/);
});

test('a change of primary by hand is followed under a hold, with a record', async () => {
  const { control, dir, monitor } = await started({});
  const nodes = [nodeView('a:1', 'replica', 'ok', { readOnly: true }), nodeView('b:1', 'primary')];
  monitor.show(nodes, { primary: 'b:1' });
  await until('the new route', async () => (await routeOf(dir))?.primary === 'b:1');
  const [followed] = await until('a record', () => {
    const history = control.history({ limit: 1 });
    return history.length > 0 ? history : undefined;
  });
  assert.deepEqual(
    [followed?.kind, followed?.outcome, followed?.from, followed?.to, followed?.epoch],
    ['follow', 'done', 'a:1', 'b:1', 2],
  );
  assert.deepEqual(
    followed?.steps.map(({ name }) => name),
    ['hold', 'look at the new primary', 'end what is in flight', 'old primary read-only', 'open'],
  );
});

test('a change by hand that left two writers is not followed while we only observe', async () => {
  const { control, dir, monitor } = await started({ observe: true });
  monitor.show([nodeView('a:1', 'primary'), nodeView('b:1', 'primary')], { primary: 'b:1' });
  await until('a record', () => control.history({ limit: 1 })[0]?.outcome === 'rolled-back');
  assert.equal((await routeOf(dir))?.primary, 'a:1');
  assert.match(control.history({ limit: 1 })[0]?.steps.at(-1)?.detail ?? '', /a:1 still takes writes/);
});

test('a hold that a failed recovery left stays until the primary proves fit', async () => {
  const { control, dir, monitor } = await started({
    recoveries: {
      failover: async (context) => {
        const end = record(context, { id: 'f1', outcome: 'failed', reason: 'nobody can be promoted', from: 'a:1' });
        context.onProgress?.(end, null);
        await context.gate.close('failover', end.id);
        return end;
      },
    },
  });
  await control.failover('shop', {});
  assert.deepEqual((await routeOf(dir))?.gate, { state: 'closed', reason: 'failover', recovery: 'f1' });
  assert.equal(control.status().clusters[0]?.state, 'holding');
  assert.match(control.ready().reasons.join(), /statements are held \(failover\)/);
  monitor.show([nodeView('a:1', 'primary'), nodeView('b:1', 'replica')]);
  await until('the gate to open', async () => (await routeOf(dir))?.gate.state === 'open');
  assert.equal((await routeOf(dir))?.epoch, 1);
});

test('orders that cannot begin are refused with a code', async () => {
  const gate = Promise.withResolvers<void>();
  const { control } = await started({
    recoveries: {
      switchover: async (context) => {
        const end = record(context, { kind: 'switchover' });
        context.onProgress?.(end, null);
        await gate.promise;
        return end;
      },
      failover: (context) => Promise.resolve(record(context, { outcome: 'failed', reason: 'refused: no candidate' })),
    },
  });
  const code = (expected: string) => (error: unknown) => error instanceof OrderError && error.code === expected;
  await assert.rejects(control.switchover('other', {}), code('unknown-cluster'));
  await assert.rejects(control.switchover('shop', { to: 'x:1' }), code('unknown-node'));
  await assert.rejects(control.failover('shop', {}), { code: 'refused', message: 'no candidate' });
  const running = control.switchover('shop', {});
  await until('it to run', () => control.status().clusters[0]?.state === 'recovering');
  await assert.rejects(control.failover('shop', {}), code('busy'));
  gate.resolve();
  assert.equal((await running).outcome, 'done');
});

/** Accounts are read no more often on request. */
const READ_GAP_MS = 200;

test('accounts go to every worker, again only when they changed, and at a bounded rate when workers ask', async () => {
  const monitor = new FakeMonitor();
  const account: Account = {
    user: 'app',
    host: '%',
    plugin: 'mysql_native_password',
    stored: '*1',
    encoding: 'text',
    locked: false,
    passwordExpired: false,
    requireTls: false,
  };
  monitor.found = [account];
  let reads = 0;
  const original = monitor.accounts.bind(monitor);
  monitor.accounts = () => {
    reads += 1;
    return original();
  };
  const { dir } = await started({ monitor });
  // Who asked hears of it also where nothing has changed: then without accounts.
  const tellings = async () =>
    (await order(dir, 1)).heard.filter((message) => message.type === 'accounts' && message.accounts !== null).length;
  await until('accounts', async () => (await tellings()) === 1);
  monitor.found = [account, { ...account, user: 'new' }];
  const before = reads;
  const begunMs = performance.now();
  for (let i = 0; i < 50; i++) {
    await order(dir, 0, { do: 'send', message: { type: 'refresh-accounts', cluster: 'shop', user: `guess${i}` } });
  }
  await until('the new account', async () => (await tellings()) === 2);
  const bound = 2 + (performance.now() - begunMs) / READ_GAP_MS;
  assert.ok(reads - before <= bound, `${reads - before} readings for 50 requests, at most ${bound} are due`);
});

test('the certificate and the key are the same after a restart, and so is the epoch', async () => {
  const { dir, remove } = temporaryDir();
  cleanups.push(remove);
  const config = testConfig(dir, await freePort());
  const shown = async () => {
    const { control } = await startTestControl(config);
    const { heard, clusters } = await until('a route', async () => {
      const seen = await stateOf(dir, 0);
      return seen && seen.version > 0 ? seen : undefined;
    });
    await control.stop(500);
    const configure = heard.find(({ type }) => type === 'configure');
    assert.ok(configure?.type === 'configure');
    return { tls: configure.settings.tls, rsaKey: configure.settings.rsaKey, epoch: clusters[0]?.epoch };
  };
  assert.deepEqual(await shown(), await shown());
});

test('users of the configuration become accounts with their password', async () => {
  const { dir, remove } = temporaryDir();
  cleanups.push(remove);
  const users = [{ name: 'app', password: 'secret', hosts: ['%', 'localhost'] }];
  const { control } = await startTestControl(testConfig(dir, await freePort(), { users }));
  cleanups.push(() => control.stop(500));
  const told = await until('accounts', async () =>
    (await order(dir, 0)).heard.find((each) => each.type === 'accounts'),
  );
  assert.ok(told.type === 'accounts');
  assert.deepEqual(
    told.accounts?.map(({ user, host, plugin, password }) => [user, host, plugin, password]),
    [
      ['app', '%', 'caching_sha2_password', 'secret'],
      ['app', 'localhost', 'caching_sha2_password', 'secret'],
    ],
  );
});
