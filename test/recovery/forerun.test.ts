// Which replicas may follow the candidate of a switchover before it is primary.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClusterView, NodeFacts, NodeView, ReplicationFacts, SemiSyncFacts } from '../../src/cluster/types.ts';
import { forerunners } from '../../src/recovery/forerun.ts';

const CONFIG = { nodes: [], durability: 'semisync' } as never;
const INPUT = { from: 'a:1', to: 'b:1', others: ['c:1', 'd:1'] };

interface Node {
  replication?: Partial<ReplicationFacts>;
  semiSync?: Partial<SemiSyncFacts>;
}

function viewOf(nodes: Record<string, Node>): ClusterView {
  const views = Object.entries(nodes).map(([node, { replication, semiSync }]) => {
    const follows = { sourceHost: 'a', sourcePort: 1, sourceUuid: null, receiver: 'running', applier: 'running' };
    const facts = {
      replication:
        replication === undefined ? null : { ...follows, delaySeconds: 0, semiSyncActive: true, ...replication },
      semiSync: { waitForCount: 1, ...semiSync },
    };
    return { node, observation: { facts: facts as unknown as NodeFacts, reach: { state: 'up' } } } as NodeView;
  });
  return { nodes: views } as ClusterView;
}

function allowed(changes: Record<string, Node> = {}): string[] {
  const all = { 'a:1': {}, 'b:1': { replication: {} }, 'c:1': { replication: {} }, 'd:1': { replication: {} } };
  return forerunners(viewOf({ ...all, ...changes }), INPUT, CONFIG);
}

test('all that follow the primary, where the candidate alone acknowledges enough', () => {
  assert.deepEqual(allowed(), ['c:1', 'd:1']);
});

test('nobody, where commits would wait for more than the candidate', () => {
  assert.deepEqual(allowed({ 'a:1': { semiSync: { waitForCount: 2 } } }), []);
  assert.deepEqual(allowed({ 'b:1': { replication: { semiSyncActive: false } } }), []);
  assert.deepEqual(allowed({ 'b:1': { replication: { sourceHost: 'c', sourcePort: 1 } } }), []);
});

test('not one that is stopped, or late on purpose, or follows another', () => {
  assert.deepEqual(allowed({ 'c:1': { replication: { receiver: 'stopped' } } }), ['d:1']);
  assert.deepEqual(allowed({ 'c:1': { replication: { applier: 'stopped' } } }), ['d:1']);
  assert.deepEqual(allowed({ 'c:1': { replication: { delaySeconds: 60 } } }), ['d:1']);
  assert.deepEqual(allowed({ 'c:1': { replication: { sourceHost: 'd', sourcePort: 1 } } }), ['d:1']);
});
