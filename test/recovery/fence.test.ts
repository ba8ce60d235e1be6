// When the old primary is known to acknowledge nothing more, and that a plan touches nobody else before it is.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NodeFacts, NodeView, ReplicationFacts } from '../../src/cluster/types.ts';
import { type FenceInput, fenceOf } from '../../src/recovery/fence.ts';
import { REPLICATION } from '../support/facts.ts';

const semiSync = {
  sourceEnabled: true,
  sourceActive: true,
  replicaEnabled: false,
  clients: 2,
  waitForCount: 1,
  timeoutMs: 3_600_000,
};

function facts(over: Partial<NodeFacts>): NodeFacts {
  return {
    flavor: 'mysql',
    version: '9.7.0',
    serverId: 1,
    identity: 'x',
    startedAtMs: 0,
    readOnly: true,
    superReadOnly: true,
    gtidExecuted: '',
    gtidPosition: '',
    logBin: true,
    logReplicaUpdates: true,
    replication: null,
    semiSync: null,
    replicas: [],
    ...over,
  };
}

function nodeView(
  node: string,
  role: NodeView['role'],
  state: NodeView['state'] = 'ok',
  over: Partial<NodeFacts> = {},
) {
  const reach = state === 'unreachable' ? { state: 'refused' as const, error: '' } : { state: 'up' as const, rttMs: 1 };
  const observation: NodeView['observation'] = { node, at: 0, reach, facts: facts(over), factsAt: 0 };
  return { node, role, state, detail: '', lagMs: 0, gtid: '', observation };
}

function replica(node: string, receiver: ReplicationFacts['receiver'], state: NodeView['state'] = 'ok'): NodeView {
  const replication: ReplicationFacts = { ...REPLICATION, receiver, semiSyncActive: true };
  return nodeView(node, 'replica', state, { replication, semiSync: { ...semiSync, replicaEnabled: true } });
}

function verdict(nodes: NodeView[], over: Partial<FenceInput> = {}) {
  const primary = nodeView('a:1', 'primary');
  primary.observation.reach = { state: 'silent', error: 'no answer' };
  return fenceOf({
    view: { cluster: 'shop', flavor: 'mysql', primary: 'a:1', nodes: [primary, ...nodes], problems: [] },
    primary: 'a:1',
    primaryFacts: facts({ semiSync, replicas: nodes.map(({ node }) => node) }),
    durability: 'semisync',
    readOnly: false,
    readOnlyWaits: false,
    ...over,
  });
}

const stopped = [replica('b:1', 'stopped'), replica('c:1', 'stopped')];

test('a primary that became read-only, or whose process is gone, is fenced under every policy', () => {
  assert.equal(verdict([], { readOnly: true, durability: 'none' }).how, 'read-only');
  const view = { cluster: 'shop', flavor: 'mysql' as const, primary: 'a:1', problems: [] };
  const gone = nodeView('a:1', 'primary', 'unreachable');
  assert.equal(verdict([], { view: { ...view, nodes: [gone] }, durability: 'none' }).how, 'process-gone');
});

test('under semi-sync a primary that nobody is left to acknowledge to is fenced, reachable or not', () => {
  assert.equal(verdict(stopped).how, 'no-acknowledgement');
});

test('one replica that still receives, or that cannot be asked, may acknowledge', () => {
  assert.equal(verdict([replica('b:1', 'stopped'), replica('c:1', 'running')]).fenced, false);
  assert.equal(verdict([replica('b:1', 'stopped'), replica('c:1', 'running', 'unreachable')]).fenced, false);
  assert.equal(verdict(stopped, { primaryFacts: facts({ semiSync: { ...semiSync, clients: 3 } }) }).fenced, false);
  const stranger = facts({ semiSync, replicas: ['b:1', 'c:1', 'x:1'] });
  assert.equal(verdict(stopped, { primaryFacts: stranger }).fenced, false);
});

test('a fence that is to last counts who was only stopped: restarted, it follows the old primary again', () => {
  assert.equal(verdict(stopped, { repointed: new Set(['b:1']) }).fenced, false);
  assert.equal(verdict(stopped, { repointed: new Set(['b:1', 'c:1']) }).how, 'no-acknowledgement');
  // Whoever was repointed may be anywhere since.
  const away = [replica('b:1', 'stopped'), replica('c:1', 'running', 'unreachable')];
  assert.equal(verdict(away, { repointed: new Set(['b:1', 'c:1']) }).fenced, true);
  const ofReplica = replica('c:1', 'stopped');
  const { replication } = ofReplica.observation.facts ?? {};
  if (replication) Object.assign(replication, { sourceHost: 'b', sourcePort: 1 });
  assert.equal(verdict([replica('b:1', 'stopped'), ofReplica], { repointed: new Set(['b:1']) }).fenced, true);
});

test('where writes wait for two, one that may still acknowledge is too few', () => {
  const two = facts({ semiSync: { ...semiSync, waitForCount: 2 }, replicas: ['b:1', 'c:1'] });
  assert.equal(verdict([replica('b:1', 'stopped'), replica('c:1', 'running')], { primaryFacts: two }).fenced, true);
});

test('a source that goes on without acknowledgement, soon or already, is not fenced by their absence', () => {
  for (const over of [{ timeoutMs: 10_000 }, { sourceActive: false }, { sourceEnabled: false }]) {
    assert.equal(verdict(stopped, { primaryFacts: facts({ semiSync: { ...semiSync, ...over } }) }).fenced, false);
  }
  assert.equal(verdict(stopped, { durability: 'none' }).fenced, false);
  assert.equal(verdict(stopped, { primaryFacts: null }).fenced, false);
});

test('an order to be read-only that waits in it is told, and is no proof', () => {
  assert.deepEqual(
    [verdict([], { readOnlyWaits: true, durability: 'none' }).how, verdict([], { durability: 'none' }).how],
    ['read-only-waits', 'out-of-reach'],
  );
});
