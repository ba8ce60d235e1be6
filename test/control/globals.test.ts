// A SET GLOBAL that went past Evenkeel: what the workers are told, once, and what is no news.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { ClusterView, NodeView } from '../../src/cluster/types.ts';
import { Globals } from '../../src/control/globals.ts';
import type { Replaced } from '../../src/messages/index.ts';

const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

class Scene {
  now = 0;
  /** What is global on each node; undefined: it does not answer. */
  readonly values = new Map<string, Record<string, string>>();
  readonly told: [string, Replaced][] = [];
  onRead: () => void = () => {};
  reads = 0;
  readonly globals = new Globals({
    everyMs: 10_000,
    cluster: 'shop',
    nodes: {
      globals: async (node, names) => {
        assert.ok(names.includes('sql_mode') && names.includes('max_allowed_packet'));
        this.reads++;
        const values = this.values.get(node);
        await setImmediate();
        this.onRead();
        if (values === undefined) throw new Error('no answer');
        return values;
      },
    },
    clock: { nowMs: () => this.now, wallMs: () => this.now, sleep: () => Promise.resolve() },
    log,
    onReplaced: (node, replaced) => this.told.push([node, replaced]),
  });

  async look(primary: string | null, laterMs = 10_000): Promise<void> {
    this.now += laterMs;
    const node = { node: primary, observation: { reach: { state: 'up' } } } as NodeView;
    this.globals.evaluate({ primary, nodes: primary === null ? [] : [node] } as unknown as ClusterView);
    for (let turn = 0; turn < 4; turn++) await setImmediate();
  }
}

test('what somebody set is told with what was there before, once', async () => {
  const scene = new Scene();
  scene.values.set('a:1', { sql_mode: 'ANSI', time_zone: 'SYSTEM' });
  await scene.look('a:1');
  assert.deepEqual(scene.told, []);
  scene.values.set('a:1', { sql_mode: '', time_zone: 'SYSTEM' });
  await scene.look('a:1');
  await scene.look('a:1');
  assert.deepEqual(scene.told, [['a:1', { sql_mode: 'ANSI' }]]);
});

test('it is read every ten seconds, at the primary, and a failure is no change', async () => {
  const scene = new Scene();
  scene.values.set('a:1', { sql_mode: 'ANSI' });
  await scene.look(null);
  await scene.look('a:1');
  await scene.look('a:1', 9000);
  assert.equal(scene.reads, 1);
  scene.values.delete('a:1');
  await scene.look('a:1', 1000);
  scene.values.set('a:1', { sql_mode: '' });
  await scene.look('a:1');
  assert.equal(scene.reads, 3);
  assert.deepEqual(scene.told, [['a:1', { sql_mode: 'ANSI' }]]);
});

test('another primary has values of its own', async () => {
  const scene = new Scene();
  scene.values.set('a:1', { sql_mode: 'ANSI' }).set('b:1', { sql_mode: '' });
  await scene.look('a:1');
  await scene.look('b:1', 0);
  await scene.look('b:1');
  assert.equal(scene.reads, 3);
  assert.deepEqual(scene.told, []);
});

test('what a client set through a worker is no news, also where it comes while the values are read', async () => {
  const scene = new Scene();
  scene.values.set('a:1', { sql_mode: 'ANSI', time_zone: 'SYSTEM' });
  await scene.look('a:1');
  scene.values.set('a:1', { sql_mode: '', time_zone: 'SYSTEM' });
  scene.globals.told('a:1', { sql_mode: 'ANSI' });
  scene.globals.told('b:1', { time_zone: 'SYSTEM' });
  await scene.look('a:1');
  assert.deepEqual(scene.told, []);
  scene.values.set('a:1', { sql_mode: '', time_zone: '+02:00' });
  scene.onRead = () => scene.globals.told('a:1', { time_zone: 'SYSTEM' });
  await scene.look('a:1');
  scene.onRead = () => {};
  await scene.look('a:1');
  assert.deepEqual(scene.told, []);
  scene.values.set('a:1', { sql_mode: '', time_zone: '+03:00' });
  await scene.look('a:1');
  assert.deepEqual(scene.told, [['a:1', { time_zone: '+02:00' }]]);
});
