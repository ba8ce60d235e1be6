// From what is known to the route that workers follow.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type RouteInput, routeChange, routeOf, suspectGraceMs } from '../../src/control/routes.ts';
import { nodeView } from './harness.ts';

function input(over: Partial<RouteInput> = {}): RouteInput {
  const nodes = [nodeView('b:1', 'replica'), nodeView('a:1', 'primary')];
  return {
    cluster: 'shop',
    epoch: 3,
    primary: 'a:1',
    hold: null,
    view: { cluster: 'shop', flavor: 'mysql', primary: 'a:1', nodes, problems: [] },
    health: { state: 'alive' },
    greeting: { version: '9.7.0', collation: 255 },
    openedAt: 0,
    now: 1000,
    drained: new Map(),
    ...over,
  };
}

const withNodes = (...nodes: RouteInput['view']['nodes']) => ({ ...input().view, nodes });

test('a sound cluster has an open gate, its primary, and all nodes that may serve reads', () => {
  assert.deepEqual(routeOf(input()), {
    cluster: 'shop',
    epoch: 3,
    flavor: 'mysql',
    serverVersion: '9.7.0',
    collation: 255,
    primary: 'a:1',
    gate: { state: 'open' },
    nodes: [
      { node: 'a:1', role: 'primary', serving: true, lagMs: 0 },
      { node: 'b:1', role: 'replica', serving: true, lagMs: 5 },
    ],
  });
});

test('as long as no server has greeted, clients are greeted so that no text is lost', () => {
  const { serverVersion, collation } = routeOf(input({ greeting: null, view: { ...input().view, flavor: 'mariadb' } }));
  assert.deepEqual({ serverVersion, collation }, { serverVersion: '5.5.5-10.11.0-MariaDB', collation: 45 });
});

test('without a primary the gate is closed', () => {
  assert.deepEqual(routeOf(input({ primary: null })).gate, { state: 'closed', reason: 'no-primary' });
});

test('a recovery that holds outweighs what is observed', () => {
  const hold = { reason: 'switchover', recovery: 'r1' } as const;
  const health = { state: 'dead', since: 0, reason: '' } as const;
  assert.deepEqual(routeOf(input({ hold, health })).gate, { state: 'closed', reason: 'switchover', recovery: 'r1' });
});

test('a dead primary closes the gate at once, a suspected one after the grace', () => {
  const closed = { state: 'closed', reason: 'detector' };
  assert.deepEqual(routeOf(input({ health: { state: 'dead', since: 1000, reason: '' } })).gate, closed);
  const suspect = (since: number) => routeOf(input({ health: { state: 'suspect', since, reason: '' } })).gate;
  assert.deepEqual(suspect(1000 - suspectGraceMs + 1), { state: 'open' });
  assert.deepEqual(suspect(1000 - suspectGraceMs), closed);
});

test('a suspicion that a look has borne out closes the gate without grace', () => {
  const health = { state: 'suspect', since: 1000, reason: '' } as const;
  const lost = nodeView('a:1', 'primary', 'unreachable');
  lost.observation.at = 1000;
  assert.deepEqual(routeOf(input({ health, view: withNodes(lost) })).gate, { state: 'closed', reason: 'detector' });
});

test('what was seen of a primary before it was opened does not close the gate', () => {
  const nodes = [nodeView('a:1', 'primary', 'read-only-primary', { readOnly: true })];
  const view = withNodes(...nodes);
  assert.deepEqual(routeOf(input({ view })).gate, { state: 'closed', reason: 'read-only' });
  assert.deepEqual(routeOf(input({ view, openedAt: Number.MAX_VALUE })).gate, { state: 'open' });
  const health = { state: 'dead', since: 5, reason: '' } as const;
  assert.deepEqual(routeOf(input({ health, openedAt: 6 })).gate, { state: 'open' });
});

test('the health of another node than the one that gets the writes closes nothing', () => {
  const health = { state: 'dead', since: 500, reason: '' } as const;
  const view = { ...input().view, primary: 'b:1' };
  assert.deepEqual(routeOf(input({ health, view })).gate, { state: 'open' });
});

test('another server at the address of the primary gets no statements', () => {
  const view = withNodes(nodeView('a:1', 'primary', 'identity-changed'));
  assert.deepEqual(routeOf(input({ view })).gate, { state: 'closed', reason: 'no-primary' });
});

test('a node that is away, delayed, stopped or astray serves no reads', () => {
  for (const state of [
    'unreachable',
    'delayed',
    'replication-stopped',
    'replication-wrong-source',
    'errant',
  ] as const) {
    const route = routeOf(input({ view: withNodes(nodeView('a:1', 'primary'), nodeView('b:1', 'replica', state)) }));
    assert.equal(route.nodes[1]?.serving, false, state);
  }
});

test('lag alone is a small change, everything else a change of route', () => {
  const before = routeOf(input());
  assert.equal(routeChange(undefined, before), 'route');
  assert.equal(routeChange(before, structuredClone(before)), 'none');
  const nodes = before.nodes.map((node) => ({ ...node, lagMs: 7 }));
  assert.equal(routeChange(before, { ...before, nodes }), 'lag');
  assert.equal(routeChange(before, { ...before, nodes: nodes.map((node) => ({ ...node, lagMs: null })) }), 'route');
  assert.equal(routeChange(before, { ...before, epoch: 4 }), 'route');
  assert.equal(routeChange(before, { ...before, gate: { state: 'closed', reason: 'detector' } }), 'route');
});

test('where a group has another primary, nothing is sent to ours; what was seen before it was opened says nothing', () => {
  const elsewhere = (topology: RouteInput['view']['topology'], openedAt: number) => {
    const view = { ...input().view, primary: 'b:1', ...(topology === undefined ? {} : { topology }) };
    return routeOf(input({ view, openedAt })).gate;
  };
  for (const topology of ['group', 'galera', 'aurora'] as const) {
    assert.deepEqual(elsewhere(topology, 0), { state: 'closed', reason: 'no-primary' });
    assert.deepEqual(elsewhere(topology, Number.MAX_VALUE), { state: 'open' });
  }
  assert.deepEqual(elsewhere(undefined, 0), { state: 'open' });
});

test('a member that can confirm nothing gets no statements, though it calls itself writable', () => {
  for (const state of ['no-majority', 'member-out', 'member-joining'] as const) {
    const view = withNodes(nodeView('a:1', 'primary', state), nodeView('b:1', 'replica'));
    assert.deepEqual(routeOf(input({ view })).gate, { state: 'closed', reason: 'no-primary' });
  }
});
