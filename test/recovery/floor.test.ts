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
  reach?: 'up' | 'refused' | 'silent';
  refusedSince?: number;
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
  const { reach: state = 'up' } = seen;
  const reach = state === 'up' ? { state, rttMs: 1 } : { state, error: 'x' };
  const refusedSince = seen.refusedSince ?? at;
  const gone = reach.state === 'refused' ? { refusedSince } : {};
  const observation = { node, at, reach, ...gone, facts, factsAt: at };
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

test('it stays where a node comes back that had no process when it was written down, and rises where one may have had one', () => {
  const before = { 'a:1': { has: 5, at: 10, replicas: ['b:1', 'c:1'] }, 'b:1': { has: 5 }, 'c:1': { has: 5 } };
  const primary = (has: number, at: number, replicas = ['b:1']) => ({ has, at, replicas });
  const gone = (refusedSince: number) => ({ has: 5, reach: 'refused' as const, refusedSince });
  const left = { 'a:1': primary(7, 20), 'b:1': { has: 7 }, 'c:1': gone(15) };
  assert.equal(floorOf(before, left), '7');
  const back = { has: 4, startedAtMs: 60_000 };
  const returned = { 'a:1': primary(9, 30), 'b:1': { has: 9 }, 'c:1': back };
  assert.equal(floorOf(before, left, returned), '7');
  // From then on it is as any other.
  const keeps = { 'a:1': primary(11, 40, ['b:1', 'c:1']), 'b:1': { has: 11 }, 'c:1': { ...back, has: 11 } };
  assert.equal(floorOf(before, left, returned, keeps), '7');
  const again = { 'a:1': primary(13, 50), 'b:1': { has: 13 }, 'c:1': { has: 11, startedAtMs: 90_000 } };
  assert.equal(floorOf(before, left, returned, keeps, again), '13');
  // It may have had one when the position was read, or since.
  const early = { ...left, 'c:1': gone(21) };
  assert.equal(floorOf(before, early, returned), '9');
  const silent = { ...left, 'a:1': primary(8, 25), 'c:1': { has: 5, reach: 'silent' as const } };
  assert.equal(floorOf(before, left, silent, returned), '9');
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
