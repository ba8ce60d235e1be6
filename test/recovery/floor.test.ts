// What a candidate must have: when it is written down anew, and when it stands.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClusterView, NodeFacts, NodeView } from '../../src/cluster/types.ts';
import { type Floor, floorAfter } from '../../src/recovery/index.ts';

const UUID = '00000000-0000-0000-0000-000000000001';

interface Seen {
  has: number;
  at?: number;
  startedAtMs?: number;
  readOnly?: boolean;
  reach?: 'up' | 'refused';
  replicas?: string[];
  semiSync?: { clients: number; sourceActive: boolean };
}

function nodeView(node: string, seen: Seen, primary: boolean): NodeView {
  const gtids = `${UUID}:1-${seen.has}`;
  const facts: NodeFacts = {
    flavor: 'mysql',
    version: 'x',
    serverId: 1,
    identity: node,
    startedAtMs: seen.startedAtMs ?? 0,
    readOnly: seen.readOnly ?? !primary,
    superReadOnly: !primary,
    gtidExecuted: gtids,
    gtidPosition: gtids,
    logBin: true,
    logReplicaUpdates: true,
    replication: null,
    semiSync:
      seen.semiSync === undefined
        ? null
        : { ...seen.semiSync, sourceEnabled: true, replicaEnabled: true, waitForCount: 1, timeoutMs: 1000 },
    replicas: seen.replicas ?? [],
  };
  const at = seen.at ?? 0;
  const reach =
    seen.reach === 'refused' ? { state: 'refused' as const, error: 'x' } : { state: 'up' as const, rttMs: 1 };
  const observation = { node, at, reach, facts, factsAt: at };
  return { node, role: primary ? 'primary' : 'replica', state: 'ok', detail: '', lagMs: 0, gtid: gtids, observation };
}

/** `a:1` is the primary. */
function view(nodes: Record<string, Seen>): ClusterView {
  const all = Object.entries(nodes).map(([node, seen]) => nodeView(node, seen, node === 'a:1'));
  return { cluster: 'shop', flavor: 'mysql', primary: 'a:1', nodes: all, problems: [] };
}

function floorOf(...views: Record<string, Seen>[]): string | null {
  let floor: Floor | null = null;
  for (const one of views) floor = floorAfter(floor, view(one), 'a:1');
  return floor?.position.split(':1-')[1] ?? null;
}

test('it is what the primary had when it was first seen to take writes', () => {
  assert.equal(floorOf({ 'a:1': { has: 5, readOnly: true }, 'b:1': { has: 5 } }), null);
  assert.equal(floorOf({ 'a:1': { has: 5 }, 'b:1': { has: 4 } }), '5');
});

test('it stands while replicas receive more and keep what they have', () => {
  assert.equal(floorOf({ 'a:1': { has: 5 }, 'b:1': { has: 5 } }, { 'a:1': { has: 9 }, 'b:1': { has: 8 } }), '5');
});

test('it rises where a node restarted, has less than it had, is new, or left', () => {
  const before = { 'a:1': { has: 5 }, 'b:1': { has: 5 } };
  assert.equal(floorOf(before, { 'a:1': { has: 9 }, 'b:1': { has: 5, startedAtMs: 60_000 } }), '9');
  assert.equal(floorOf(before, { 'a:1': { has: 9 }, 'b:1': { has: 4 } }), '9');
  assert.equal(floorOf(before, { 'a:1': { has: 9 }, 'b:1': { has: 5 }, 'c:1': { has: 1 } }), '9');
  assert.equal(floorOf(before, { 'a:1': { has: 9 } }), '9');
});

test('it rises where a replica is attached no more, or another in its place, and stays where one more is', () => {
  const attached = (has: number, replicas: string[]) => ({ 'a:1': { has, replicas }, 'b:1': { has: 5 } });
  assert.equal(floorOf(attached(5, ['b:1', 'c:1']), attached(9, ['c:1', 'b:1'])), '5');
  assert.equal(floorOf(attached(5, ['b:1', 'c:1']), attached(9, ['b:1'])), '9');
  assert.equal(floorOf(attached(5, ['b:1', 'c:1']), attached(9, ['b:1', 'd:1'])), '9');
  assert.equal(floorOf(attached(5, ['b:1']), attached(9, ['b:1', 'c:1'])), '5');
  assert.equal(floorOf(attached(5, ['b:1']), attached(9, ['b:1', 'c:1']), attached(12, ['b:1'])), '12');
});

test('it rises where fewer acknowledge, or the primary waits otherwise', () => {
  const waits = (has: number, clients: number, sourceActive = true) => ({
    'a:1': { has, semiSync: { clients, sourceActive } },
    'b:1': { has: 5 },
  });
  assert.equal(floorOf(waits(5, 1), waits(9, 2)), '5');
  assert.equal(floorOf(waits(5, 2), waits(9, 1)), '9');
  assert.equal(floorOf(waits(5, 1), waits(9, 1, false)), '9');
});

test('it waits for a word of the primary that is newer than the loss: an older one may lack what was acknowledged', () => {
  const before = { 'a:1': { has: 5, at: 10 }, 'b:1': { has: 5, at: 10 } };
  const lost = { has: 4, at: 30, startedAtMs: 60_000 };
  assert.equal(floorOf(before, { 'a:1': { has: 9, at: 20 }, 'b:1': lost }), '5');
  assert.equal(
    floorOf(before, { 'a:1': { has: 9, at: 20 }, 'b:1': lost }, { 'a:1': { has: 11, at: 40 }, 'b:1': lost }),
    '11',
  );
});

test('a primary that does not answer moves nothing, and another primary begins anew', () => {
  const before = floorAfter(null, view({ 'a:1': { has: 5 }, 'b:1': { has: 5 } }), 'a:1');
  const dead = view({ 'a:1': { has: 7, reach: 'refused' }, 'b:1': { has: 2, startedAtMs: 60_000 } });
  assert.equal(floorAfter(before, dead, 'a:1'), before);
  assert.equal(floorAfter(before, dead, 'b:1'), null);
});
