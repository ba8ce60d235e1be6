// The order of a change of primary, with the real recoveries over fake workers: every worker holds before the old primary
// is touched, and no worker sends a statement to the new one before the old one cannot acknowledge another write.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { CommitHealth } from '../../src/cluster/index.ts';
import type { NodeControl } from '../../src/cluster/types.ts';
import { runFailover, runSwitchover } from '../../src/recovery/index.ts';
import { REPLICATION } from '../support/facts.ts';
import {
  FakeMonitor,
  freePort,
  nodeView,
  order,
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

/** What was done to a node, and what the workers that live followed at that moment. */
interface Deed {
  what: string;
  workers: string[];
}

/** Nodes that do what they are told, each deed written down with what the workers followed then. */
class Nodes extends FakeMonitor {
  readonly deeds: Deed[] = [];
  commit: CommitHealth = { state: 'ok', latencyMs: 1 };
  readonly #dir: string;

  constructor(dir: string) {
    super([nodeView('a:1', 'primary'), nodeView('b:1', 'replica', 'ok', { replication: REPLICATION })]);
    this.#dir = dir;
    const plain = this.nodeControl;
    this.nodeControl = {
      ...plain,
      setReadOnly: (node) => this.#does(`read-only ${node}`, node, { readOnly: true }),
      setWritable: (node) => this.#does(`writable ${node}`, node, { readOnly: false }),
      detachFromSource: (node) => this.#does(`detach ${node}`, node, { replication: null }),
    } satisfies NodeControl;
  }

  override commitHealth(): CommitHealth {
    return this.commit;
  }

  async #does(what: string, node: string, facts: object): Promise<void> {
    const states = await Promise.all([0, 1].map((worker) => stateOf(this.#dir, worker)));
    const workers = states.flatMap((state) => {
      const [route] = state?.clusters ?? [];
      return route === undefined ? [] : [`${route.gate.state} ${String(route.primary)}`];
    });
    this.deeds.push({ what, workers });
    for (const { node: name, observation } of this.shown.nodes) {
      if (name === node && observation.facts !== null) Object.assign(observation.facts, facts);
    }
  }
}

async function started(degraded: 'tell' | 'move' = 'tell'): Promise<TestControl & { dir: string; nodes: Nodes }> {
  const { dir, remove } = temporaryDir();
  cleanups.push(remove);
  const nodes = new Nodes(dir);
  const config = testConfig(dir, await freePort());
  for (const { switchover } of config.clusters) switchover.degraded = degraded;
  const recoveries = { switchover: runSwitchover, failover: runFailover };
  const begun = await startTestControl(config, { monitor: nodes, recoveries });
  cleanups.push(() => begun.control.stop(500));
  await until('both workers to be at the old primary', async () => {
    const states = await Promise.all([0, 1].map((worker) => stateOf(dir, worker)));
    return states.every((state) => state?.clusters[0]?.primary === 'a:1' && state.clusters[0].gate.state === 'open');
  });
  return { ...begun, dir, nodes };
}

/** Whatever was done to the nodes, it was done while nobody sent anything, and in this order. */
function inOrder({ deeds }: Nodes, expected: readonly string[]): void {
  assert.deepEqual(
    deeds.map(({ what }) => what),
    expected,
  );
  for (const { what, workers } of deeds) {
    assert.ok(workers.length > 0, 'a worker lives');
    assert.deepEqual([...new Set(workers)], ['closed a:1'], what);
  }
}

async function allAt(dir: string, primary: string): Promise<void> {
  await until('every worker to be at the new primary', async () => {
    const states = await Promise.all([0, 1].map((worker) => stateOf(dir, worker)));
    return states.every((state) => state?.clusters[0]?.primary === primary && state.clusters[0].gate.state === 'open');
  });
}

test('in a switchover every worker holds until the old primary is read-only and the new one takes writes', async () => {
  const { control, dir, nodes } = await started();
  const done = await control.switchover('shop', {});
  assert.equal(done.outcome, 'done', done.reason);
  inOrder(nodes, ['read-only a:1', 'detach b:1', 'writable b:1']);
  await allAt(dir, 'b:1');
});

test('in a failover away from a primary that answers, too', async () => {
  const { control, dir, nodes } = await started();
  const done = await control.failover('shop', { to: 'b:1' });
  assert.equal(done.outcome, 'done', done.reason);
  inOrder(nodes, ['read-only a:1', 'detach b:1', 'writable b:1']);
  await allAt(dir, 'b:1');
});

test('a worker that does not say that it holds is ended before the old primary is touched', async () => {
  const { control, dir, nodes } = await started();
  const before = await order(dir, 1, { do: 'be-deaf' });
  const done = await control.switchover('shop', {});
  assert.equal(done.outcome, 'done', done.reason);
  inOrder(nodes, ['read-only a:1', 'detach b:1', 'writable b:1']);
  await allAt(dir, 'b:1');
  assert.notEqual((await stateOf(dir, 1))?.pid, before.pid);
});

test('where the old primary cannot be made read-only nobody is promoted, and statements go on there', async () => {
  const { control, dir, nodes } = await started();
  nodes.nodeControl.setReadOnly = () => Promise.reject(new Error('it does not want to'));
  const done = await control.switchover('shop', {});
  assert.equal(done.outcome, 'rolled-back');
  assert.deepEqual(
    nodes.deeds.filter(({ what }) => what.endsWith('b:1')),
    [],
  );
  await allAt(dir, 'a:1');
});

test('a primary that commits far slower than it used to is left in the same order, once, and the history says why', async () => {
  const { control, dir, nodes } = await started('move');
  nodes.commit = { state: 'ok', latencyMs: 300, degraded: { since: 0, usualMs: 4, latencyMs: 300 } };
  nodes.show(nodes.shown.nodes);
  await allAt(dir, 'b:1');
  inOrder(nodes, ['read-only a:1', 'detach b:1', 'writable b:1']);
  await until('its record to be closed', () =>
    Promise.resolve(control.history({ cluster: 'shop', limit: 10 })[0]?.outcome === 'done'),
  );
  const [done, ...others] = control.history({ cluster: 'shop', limit: 10 });
  assert.deepEqual([done?.kind, done?.analysis, others.length], ['switchover', 'primary-degraded', 0]);
});
