// Nodes that are built anew, added and removed: beside recoveries, one at a time each, and remembered. Over fake workers.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { RecoveryRecord } from '../../src/recovery/types.ts';
import {
  FakeMonitor,
  freePort,
  nodeView,
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

const three = () => [nodeView('a:1', 'primary'), nodeView('b:1', 'replica'), nodeView('c:1', 'replica')];

test('while a node is built it is left alone, and a failover of the cluster does not wait for it', async () => {
  const built = Promise.withResolvers<void>();
  const order: string[] = [];
  const monitor = new FakeMonitor(three());
  const { control } = await startTestControl(await prepared(), {
    monitor,
    recoveries: {
      rebuild: async (context, { node }) => {
        const end = record(context, { kind: 'rebuild', to: node });
        context.onProgress?.(end, null);
        await built.promise;
        order.push('built');
        return end;
      },
      failover: (context) => {
        order.push(`failover without ${[...(context.outOfService?.() ?? [])].join()}`);
        return Promise.resolve(record(context, { kind: 'failover', outcome: 'failed' }));
      },
      rejoin: (context, node) => {
        order.push(`rejoin ${node}`);
        return Promise.resolve(record(context, { kind: 'rejoin', to: node }));
      },
    },
  });
  cleanups.push(() => control.stop(500));
  const told: string[] = [];
  control.subscribe(({ type, data }) => 'recovery' in data && told.push(type));
  const building = control.rebuild('shop', { node: 'b:1' });
  await until('its beginning', () => told.includes('recovery-started'));
  await assert.rejects(control.rebuild('shop', { node: 'b:1' }), { code: 'busy' });
  await assert.rejects(control.rebuild('shop', { node: 'z:1' }), { code: 'unknown-node' });
  // It comes back writable, which would be mended at once elsewhere.
  monitor.show([nodeView('a:1', 'primary'), nodeView('b:1', 'replica', 'unreachable'), nodeView('c:1', 'replica')]);
  const back = [nodeView('a:1', 'primary'), nodeView('b:1', 'unknown', 'second-writer'), nodeView('c:1', 'replica')];
  monitor.show(back);
  await control.failover('shop', {}).catch(() => undefined);
  assert.deepEqual(order, ['failover without b:1']);
  built.resolve();
  assert.equal((await building).outcome, 'done');
  assert.ok(told.includes('recovery-ended'));
  await until('it to be looked after again', () => {
    monitor.show(back.map((view) => nodeView(view.node, view.role, view.state)));
    return order.includes('rejoin b:1');
  });
});

test('a rebuild that is refused says why', async () => {
  const refuse = (context: Parameters<typeof record>[0]): Promise<RecoveryRecord> =>
    Promise.resolve(record(context, { outcome: 'failed', reason: 'refused: because' }));
  const { control } = await startTestControl(await prepared(), { recoveries: { rebuild: refuse } });
  cleanups.push(() => control.stop(500));
  await assert.rejects(control.rebuild('shop', { node: 'b:1' }), { code: 'refused', message: 'because' });
  await assert.rejects(control.addNode('shop', { node: 'b:1' }), {
    code: 'refused',
    message: /a node of shop already/,
  });
});

test('a node that was removed is forgotten over a restart, and one that is added is looked at', async () => {
  const config = await prepared();
  const monitor = new FakeMonitor(three());
  const detached: string[] = [];
  monitor.nodeControl.detachFromSource = (node) => {
    detached.push(node);
    return node === 'c:1' ? Promise.reject(new Error('does not answer')) : Promise.resolve();
  };
  const first = await startTestControl(config, { monitor });
  const remove = (node: string, force = false) => first.control.removeNode('shop', { node, force });
  await assert.rejects(remove('a:1'), { code: 'refused', message: /is the primary/ });
  await assert.rejects(remove('b:1'), { code: 'refused', message: /drain it first/ });
  await first.control.drain('shop', { node: 'b:1', timeoutMs: 0 });
  assert.equal((await remove('b:1')).order, 'remove-node');
  await assert.rejects(remove('c:1', false), { code: 'refused' });
  assert.deepEqual([detached, monitor.removed], [['b:1'], ['b:1']]);
  await remove('c:1', true);
  assert.deepEqual(monitor.removed, ['b:1', 'c:1']);
  await first.control.stop(500);

  let removed: readonly string[] = [];
  const again = new FakeMonitor([nodeView('a:1', 'primary')]);
  const { control } = await startTestControl(config, {
    monitor: again,
    onMonitor: (options) => (removed = options.removed),
    recoveries: { rebuild: (context, { node }) => added(context, node) },
  });
  cleanups.push(() => control.stop(500));
  assert.deepEqual(removed, ['b:1', 'c:1']);
  assert.equal((await control.addNode('shop', { node: 'b:1' })).kind, 'add-node');
  assert.deepEqual(again.admitted, ['b:1']);
});

function added(context: Parameters<typeof record>[0], node: string): Promise<RecoveryRecord> {
  const end = record(context, { kind: 'add-node', to: node });
  context.onProgress?.(end, null);
  return Promise.resolve(end);
}
