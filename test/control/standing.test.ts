// What operators ordered and what stands until it ends: over fake workers and a fake monitor.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { ControlEvent } from '../../src/control/events.ts';
import type { OperatorOrder } from '../../src/control/standing.ts';
import {
  FakeMonitor,
  freePort,
  nodeView,
  order,
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
  control.maintenance('shop', { node: 'b:1', forMs: 20 });
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
