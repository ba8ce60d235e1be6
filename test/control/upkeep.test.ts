// What semi-sync's upkeep finds wrong, and that it never makes commits wait for replicas that are not there.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NodeView, SemiSyncFacts } from '../../src/cluster/types.ts';
import { observeUpkeep, type Policy, upkeepGraceMs, upkeepOf } from '../../src/control/upkeep.ts';
import { REPLICATION } from '../support/facts.ts';
import { nodeView } from './harness.ts';

const timeoutMs = 1_000_000_000;
const policy: Policy = { durability: 'semisync', semisync: { acks: 1, timeoutMs }, nodes: [] };

function primary(over: Partial<SemiSyncFacts> = {}, flavor: 'mysql' | 'mariadb' = 'mysql'): NodeView {
  const base = { sourceEnabled: true, sourceActive: true, replicaEnabled: false, clients: 1, waitForCount: 1 };
  return nodeView('a:1', 'primary', 'ok', { flavor, semiSync: { ...base, timeoutMs, ...over } });
}

function replica(node: string, active: boolean, enabled = active): NodeView {
  const replication = { ...REPLICATION, semiSyncActive: active };
  const semiSync = { sourceEnabled: false, sourceActive: false, replicaEnabled: enabled, clients: 0, waitForCount: 1 };
  return nodeView(node, 'replica', 'ok', { replication, semiSync: { ...semiSync, timeoutMs } });
}

function wrong(nodes: NodeView[], over: Partial<Policy> = {}): string[] {
  const view = { cluster: 'shop', flavor: 'mysql' as const, primary: 'a:1', nodes, problems: [] };
  const members = new Set(nodes.map(({ node }) => node));
  return upkeepOf(view, { ...policy, ...over }, members).map(({ node, role }) => `${role} ${node}`);
}

test('what is as it should be is left alone', () => {
  assert.deepEqual(wrong([primary(), replica('b:1', true)]), []);
});

test('a replica that does not acknowledge is made to, enabled or not', () => {
  assert.deepEqual(wrong([primary(), replica('b:1', false)]), ['replica b:1']);
  assert.deepEqual(wrong([primary(), replica('b:1', false, true)]), ['replica b:1']);
});

test('the primary is told to wait only when enough replicas acknowledge', () => {
  assert.deepEqual(wrong([primary({ sourceEnabled: false }), replica('b:1', true)]), ['source a:1']);
  assert.deepEqual(wrong([primary({ sourceEnabled: false })]), []);
  const two = { semisync: { acks: 2, timeoutMs } };
  assert.deepEqual(wrong([primary(), replica('b:1', true)], two), []);
  assert.deepEqual(wrong([primary(), replica('b:1', true), replica('c:1', true)], two), ['source a:1']);
  assert.deepEqual(wrong([primary({}, 'mariadb'), replica('b:1', true), replica('c:1', true)], two), []);
});

test('a primary that would go on without acknowledgement after a while is told not to', () => {
  assert.deepEqual(wrong([primary({ timeoutMs: 10_000 }), replica('b:1', true)]), ['source a:1']);
});

test('cross-zone: only replicas of other zones acknowledge', () => {
  const place = (node: string, zone: string) => ({ node, zone, promotion: 'neutral' as const, tier: 1 });
  const crossZone = {
    durability: 'cross-zone' as const,
    nodes: [place('a:1', 'x'), place('b:1', 'x'), place('c:1', 'y')],
  };
  const nodes = [primary(), replica('b:1', true), replica('c:1', false), replica('d:1', false)];
  assert.deepEqual(wrong(nodes, crossZone), ['replica b:1', 'replica c:1']);
  assert.deepEqual(wrong([primary(), replica('b:1', false), replica('c:1', true)], crossZone), []);
});

test('nothing is touched where the policy does not decide, and no node that is not a member', () => {
  assert.deepEqual(wrong([primary({ sourceEnabled: false }), replica('b:1', false)], { durability: 'detect' }), []);
  assert.deepEqual(wrong([primary({ sourceEnabled: false }), replica('b:1', false)], { durability: 'none' }), []);
  const view = { cluster: 'shop', flavor: 'mysql' as const, primary: 'a:1', problems: [] };
  const nodes = [primary(), replica('b:1', false)];
  assert.deepEqual(upkeepOf({ ...view, nodes }, policy, new Set(['a:1'])), []);
});

test('something has to be wrong for a while, and what is in order again is forgotten', () => {
  const item = { node: 'b:1', role: 'replica', reason: '' } as const;
  const first = observeUpkeep(new Map(), [item], 1000);
  assert.equal(first.get('b:1')?.notBefore, 1000 + upkeepGraceMs);
  assert.equal(observeUpkeep(first, [item], 2000).get('b:1')?.notBefore, 1000 + upkeepGraceMs);
  assert.equal(observeUpkeep(first, [], 2000).size, 0);
});
