// What operators ordered and what stands until it ends: over fake workers and a fake monitor.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { drainRefusal } from '../../src/control/draining.ts';
import type { ControlEvent } from '../../src/control/events.ts';
import type { OperatorOrder } from '../../src/control/standing.ts';
import { REPLICATION } from '../support/facts.ts';
import {
  FakeMonitor,
  type FakeRecoveries,
  freePort,
  nodeView,
  order,
  record,
  startTestControl,
  temporaryDir,
  testConfig,
  until,
} from './harness.ts';

const cleanups: (() => unknown)[] = [];
after(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

async function prepared() {
  const { dir, remove } = temporaryDir();
  cleanups.push(remove);
  return testConfig(dir, await freePort());
}

/** The orders that were told of, from now on. */
function listen(control: { subscribe(listener: (event: ControlEvent) => void): () => void }): OperatorOrder[] {
  const told: OperatorOrder[] = [];
  control.subscribe(({ data }) => data.kind === 'operator-order' && told.push(data.order));
  return told;
}

const dead = { state: 'dead', since: performance.now() + 3_600_000, reason: 'refused' } as const;

test('maintenance outlives the control process, and a dead primary is failed over only when it has ended', async () => {
  const config = await prepared();
  const first = await startTestControl(config);
  assert.equal(first.control.maintenance('shop', { forMs: 600_000 }).state, 'begun');
  assert.equal(first.control.maintenance('shop', { node: 'b:1' }).until, null);
  assert.throws(() => first.control.maintenance('shop', { node: 'c:1' }), { code: 'unknown-node' });
  await first.control.stop(500);

  let failovers = 0;
  const monitor = new FakeMonitor([nodeView('a:1', 'primary', 'unreachable'), nodeView('b:1', 'replica')]);
  monitor.health = dead;
  const failover = () => Promise.reject(new Error(`failover ${++failovers}`));
  const { control } = await startTestControl(config, { monitor, recoveries: { failover } });
  cleanups.push(() => control.stop(500));
  const told = listen(control);
  const [cluster] = control.status().clusters;
  assert.ok(Date.parse(cluster?.maintenance?.until ?? '') > Date.now() + 500_000);
  assert.deepEqual(
    cluster?.nodes.map(({ node, state, maintenance }) => [node, state, maintenance]),
    [
      ['a:1', 'unreachable', null],
      ['b:1', 'maintenance', { until: null }],
    ],
  );
  assert.match(await control.metrics(), /evenkeel_maintenance\{cluster="shop",node="b:1"\} 1/);
  monitor.show(monitor.shown.nodes);
  assert.equal(failovers, 0);
  control.maintenance('shop', { end: true });
  await until('the failover', () => failovers > 0);
  assert.throws(() => control.maintenance('shop', { end: true }), { code: 'refused' });
  assert.deepEqual(told, [{ order: 'maintenance', of: 'shop', state: 'ended', by: 'operator', until: null }]);
});

test('maintenance that has a time ends by itself, and that is told', async () => {
  const { control, monitor } = await startTestControl(await prepared());
  cleanups.push(() => control.stop(500));
  const told = listen(control);
  control.maintenance('shop', { node: 'b:1', forMs: 1000 });
  assert.equal(control.status().clusters[0]?.nodes[1]?.maintenance === null, false);
  await until('the end', () => told.length === 2);
  assert.deepEqual(
    told.map(({ of, state, by }) => [of, state, by]),
    [
      ['b:1', 'begun', 'operator'],
      ['b:1', 'ended', 'time-limit'],
    ],
  );
  monitor.show(monitor.shown.nodes);
  assert.equal(control.status().clusters[0]?.nodes[1]?.state, 'ok');
});

test('a pause is acknowledged by every worker, outlives the control process, and ends by a word or by its time', async () => {
  const config = await prepared();
  const first = await startTestControl(config);
  const report = await first.control.pause('writer', { forMs: 20_000 });
  // Each fake worker says its own number.
  assert.equal(report.inProgress, 1);
  await assert.rejects(first.control.pause('writer', { forMs: 28_000 }), { code: 'refused', message: /27000 ms/ });
  await assert.rejects(first.control.pause('other', { forMs: 1000 }), { code: 'unknown-endpoint', message: /writer/ });
  await first.control.stop(500);

  const { control } = await startTestControl(config);
  cleanups.push(() => control.stop(500));
  const told = listen(control);
  assert.deepEqual(control.status().endpoints[0]?.paused, { until: report.until });
  assert.deepEqual(control.ready().reasons, ['endpoint writer: paused by an operator']);
  assert.match(await control.metrics(), /evenkeel_endpoint_paused\{endpoint="writer"\} 1/);
  const heard = (await order(config.stateDir, 1)).heard.filter((each) => each.type === 'pauses').at(-1);
  assert.equal(heard?.pauses[0]?.endpoint, 'writer');
  assert.ok((heard?.pauses[0]?.leftMs ?? 0) > 10_000);

  assert.equal((await control.resume('writer')).state, 'ended');
  assert.deepEqual((await order(config.stateDir, 0)).heard.filter((each) => each.type === 'pauses').at(-1)?.pauses, []);
  await assert.rejects(control.resume('writer'), { code: 'refused' });
  await control.pause('writer', { forMs: 100 });
  await until('the end', () => told.at(-1)?.by === 'time-limit');
  assert.equal(control.status().endpoints[0]?.paused, null);
  assert.match(await control.metrics(), /evenkeel_endpoint_paused\{endpoint="writer"\} 0/);
});

test('where a worker does not say that it holds, nothing is paused', async () => {
  const config = await prepared();
  const { control } = await startTestControl(config, { timeouts: { applyMs: 100 } });
  cleanups.push(() => control.stop(500));
  await order(config.stateDir, 1, { do: 'be-deaf' });
  await assert.rejects(control.pause('writer', { forMs: 1000 }), { code: 'refused' });
  assert.equal(control.status().endpoints[0]?.paused, null);
  assert.deepEqual((await order(config.stateDir, 0)).heard.filter((each) => each.type === 'pauses').at(-1)?.pauses, []);
});

/** A sound replica of a cluster with semi-sync. */
const replicaOf = (node: string) => nodeView(node, 'replica', 'ok', { semiSync, replication });
const semiSync = {
  sourceEnabled: true,
  sourceActive: true,
  replicaEnabled: true,
  clients: 1,
  waitForCount: 1,
  timeoutMs: 1,
};
const replication = { ...REPLICATION, semiSyncActive: true };

test('a node is not drained where an endpoint, or the durability policy, would be left without', () => {
  const nodes = [nodeView('a:1', 'primary'), replicaOf('b:1'), replicaOf('c:1')];
  const view = { cluster: 'shop', flavor: 'mysql' as const, primary: 'a:1', nodes, problems: [] };
  const at = { cluster: 'shop', host: '', port: 1, inFlight: 'report' as const };
  const replicas = { kind: 'replica', maxLagMs: null, fallbackToPrimary: false } as const;
  const reader = { ...at, name: 'reader', route: replicas };
  const reports = { ...at, name: 'reports', route: { kind: 'fixed' as const, nodes: ['c:1'] } };
  const input = { node: 'b:1', primary: 'a:1', view, drained: new Set<string>(), endpoints: [reader], semiSync: false };
  const gone = new Set(['c:1']);
  assert.equal(drainRefusal(input), null);
  assert.equal(drainRefusal({ ...input, semiSync: true }), null);
  assert.match(drainRefusal({ ...input, drained: gone }) ?? '', /endpoint reader/);
  const falls = { ...reader, route: { ...replicas, fallbackToPrimary: true } };
  assert.equal(drainRefusal({ ...input, drained: gone, endpoints: [falls] }), null);
  assert.match(drainRefusal({ ...input, drained: gone, endpoints: [], semiSync: true }) ?? '', /0 of 1 replicas/);
  assert.match(drainRefusal({ ...input, node: 'c:1', endpoints: [reports] }) ?? '', /endpoint reports/);
  assert.equal(drainRefusal({ ...input, node: 'a:1', semiSync: true }), null);
  assert.match(drainRefusal({ ...input, node: 'a:1', drained: gone }) ?? '', /endpoint reader/);
  assert.match(drainRefusal({ ...input, node: 'a:1', drained: new Set(['b:1', 'c:1']) }) ?? '', /no replica could/);
  const broken = {
    ...view,
    nodes: [nodes[0], nodes[1], nodeView('c:1', 'replica', 'replication-broken')] as typeof nodes,
  };
  assert.match(drainRefusal({ ...input, view: broken }) ?? '', /endpoint reader/);
});

test('a drained node gets nothing new, then nothing at all, over a restart of the control process', async () => {
  const config = { ...(await prepared()) };
  const { control, dir } = { ...(await startTestControl(config)), dir: config.stateDir };
  const told = listen(control);
  const route = async () => (await order(dir, 0)).clusters[0]?.nodes.find(({ node }) => node === 'b:1');
  await assert.rejects(control.drain('shop', { node: 'c:1' }), { code: 'unknown-node' });
  const report = await control.drain('shop', { node: 'b:1', timeoutMs: 1000 });
  // Each fake worker says its own number.
  assert.equal(report.ended, 1);
  assert.equal(report.switchover, null);
  await until('the end of it', async () => (await route())?.leaving === 'drained');
  assert.equal((await route())?.serving, false);
  const routes = (await order(dir, 1)).heard.filter((each) => each.type === 'quiesce');
  assert.deepEqual(
    routes.map(({ of, waitMs }) => [of, waitMs]),
    [[{ cluster: 'shop', node: 'b:1' }, 1000]],
  );
  await control.stop(500);

  const again = await startTestControl(config);
  cleanups.push(() => again.control.stop(500));
  const seen = again.control.status().clusters[0]?.nodes.find(({ node }) => node === 'b:1');
  assert.deepEqual([seen?.state, seen?.leaving], ['drained', 'drained']);
  assert.match(seen?.detail ?? '', /evenkeel undrain b:1/);
  await until('the new workers to know', async () => (await route())?.leaving === 'drained');
  again.control.undrain('shop', { node: 'b:1' });
  await until('it to serve', async () => (await route())?.serving === true);
  assert.equal((await route())?.leaving, undefined);
  assert.throws(() => again.control.undrain('shop', { node: 'b:1' }), { code: 'refused' });
  assert.deepEqual(
    told.map((each) => [each.order, each.of, each.state]),
    [['drain', 'b:1', 'begun']],
  );
});

test('the primary is moved away before it is drained, and stays in service where it could not be moved', async () => {
  const config = await prepared();
  let outcome: 'done' | 'rolled-back' = 'rolled-back';
  const switchover: FakeRecoveries['switchover'] = async (context) => {
    const end = record(context, { kind: 'switchover', from: 'a:1', to: 'b:1', outcome, reason: 'lag' });
    context.onProgress?.(end, null);
    assert.deepEqual([...(context.outOfService?.() ?? [])], ['c:1']);
    if (outcome === 'done') end.epoch = await context.gate.open('b:1', end.id);
    return end;
  };
  const monitor = new FakeMonitor([nodeView('a:1', 'primary'), nodeView('b:1', 'replica'), nodeView('c:1', 'replica')]);
  const { control } = await startTestControl(config, { monitor, recoveries: { switchover } });
  cleanups.push(() => control.stop(500));
  control.maintenance('shop', { node: 'c:1' });
  await assert.rejects(control.drain('shop', { node: 'a:1', timeoutMs: 0 }), { code: 'refused', message: /lag/ });
  assert.equal(control.status().clusters[0]?.nodes[0]?.leaving, null);
  outcome = 'done';
  assert.equal((await control.drain('shop', { node: 'a:1', timeoutMs: 0 })).switchover?.to, 'b:1');
  monitor.show([nodeView('b:1', 'primary'), nodeView('a:1', 'replica'), nodeView('c:1', 'replica')]);
  const state = () => control.status().clusters[0]?.nodes.find(({ node }) => node === 'a:1')?.state;
  assert.equal(state(), 'drained');
});
