// What is done about what is seen, as a table of situations; and the properties that hold in all of them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NodeView, PrimaryHealth, ReplicationFacts } from '../../src/cluster/types.ts';
import {
  acknowledgementGraceMs,
  attempted,
  decide,
  failoverWindowMs,
  fingerprint,
  maxFailoversPerWindow,
  mendBackoffMs,
  noFailovers,
  noMaintenance,
  notReplicatingGraceMs,
  observe,
  readOnlyGraceMs,
  retryChangedMs,
  retrySameMs,
  type Situation,
  type Stories,
  secondWriterGraceMs,
} from '../../src/control/decide.ts';
import fc from '../seed.ts';
import { nodeView } from './harness.ts';

const dead: PrimaryHealth = { state: 'dead', since: 0, reason: 'refused' };
const primary = nodeView('a:1', 'primary');
const replica = nodeView('b:1', 'replica');
const lostPrimary = nodeView('a:1', 'primary', 'unreachable');
const readOnlyPrimary = nodeView('a:1', 'primary', 'read-only-primary', { readOnly: true });

function situation(nodes: NodeView[], over: Partial<Situation> = {}): Situation {
  const view = { cluster: 'shop', flavor: 'mysql' as const, primary: 'a:1', nodes, problems: [] };
  const now = over.now ?? 0;
  return {
    now,
    view,
    health: { state: 'alive' },
    commit: { state: 'ok', latencyMs: 1 },
    epoch: 1,
    primary: 'a:1',
    members: new Set(nodes.map(({ node }) => node)),
    formerPrimaries: new Set(),
    stories: observe(new Map(), over.view ?? view, now),
    failovers: noFailovers,
    follow: null,
    upkeep: [],
    standBack: false,
    leavesDegraded: false,
    leftStopped: false,
    stopped: new Set<string>(),
    brakes: { dead: { state: 'free' }, answers: { state: 'free' }, degraded: { state: 'free' } },
    heldSince: null,
    awaitsPromised: false,
    quietSince: 0,
    maintenance: noMaintenance,
    ...over,
  };
}

/** The stories after each of these views, one every 100 ms. */
function seen(...views: NodeView[][]): { stories: Stories; now: number } {
  let stories: Stories = new Map();
  let now = 0;
  for (const nodes of views) {
    now += 100;
    stories = observe(stories, { cluster: 'shop', flavor: 'mysql', primary: 'a:1', nodes, problems: [] }, now);
  }
  return { stories, now };
}

test('nothing is recovered of what is in maintenance, and everything else is', () => {
  const whole = { cluster: true, nodes: new Set<string>() };
  const only = (node: string) => ({ cluster: false, nodes: new Set([node]) });
  const died = [lostPrimary, replica];
  assert.equal(decide(situation(died, { health: dead })).do, 'failover');
  assert.equal(decide(situation(died, { health: dead, maintenance: whole })).do, 'nothing');
  assert.equal(decide(situation(died, { health: dead, maintenance: only('a:1') })).do, 'nothing');
  assert.equal(decide(situation(died, { health: dead, maintenance: only('b:1') })).do, 'failover');

  const restarted = seen([primary, replica], [lostPrimary, replica], [readOnlyPrimary, replica]);
  const back = [readOnlyPrimary, replica];
  assert.equal(decide(situation(back, restarted)).do, 'reinstate');
  assert.equal(decide(situation(back, { ...restarted, maintenance: whole })).do, 'nothing');
  assert.equal(decide(situation(back, { ...restarted, maintenance: only('a:1') })).do, 'nothing');

  const writer = nodeView('b:1', 'unknown', 'second-writer');
  const second = seen([primary, replica], [primary, nodeView('b:1', 'replica', 'unreachable')], [primary, writer]);
  assert.equal(decide(situation([primary, writer], second)).do, 'rejoin');
  assert.equal(decide(situation([primary, writer], { ...second, maintenance: only('b:1') })).do, 'nothing');
  assert.equal(decide(situation([primary, writer], { ...second, maintenance: only('a:1') })).do, 'rejoin');

  // What someone does meanwhile is followed: nothing is changed on a node by that.
  const moved = { cluster: 'shop', flavor: 'mysql' as const, primary: 'b:1', nodes: back, problems: [] };
  assert.equal(decide(situation(back, { view: moved, maintenance: whole })).do, 'follow');
});

test('a sound cluster is left alone', () => {
  assert.deepEqual(decide(situation([primary, replica])), { do: 'nothing' });
});

test('the first primary of a cluster that nobody remembers is taken as it is found', () => {
  assert.deepEqual(decide(situation([primary, replica], { primary: null, epoch: 0 })), { do: 'begin', primary: 'a:1' });
});

test('a change of primary by someone else is followed, before anything else is thought of', () => {
  const nodes = [readOnlyPrimary, nodeView('b:1', 'primary')];
  const view = { cluster: 'shop', flavor: 'mysql' as const, primary: 'b:1', nodes, problems: [] };
  assert.equal(decide(situation(nodes, { view, health: dead })).do, 'follow');
  const follow = attempted({ to: 'b:1', attempts: 0, notBefore: 0 }, 0);
  assert.equal(decide(situation(nodes, { view, follow })).do, 'nothing');
  assert.equal(decide(situation(nodes, { view, follow, now: mendBackoffMs })).do, 'follow');
  assert.equal(decide(situation(nodes, { view, quietSince: performance.now() + 1000 })).do, 'nothing');
  assert.equal(decide(situation(nodes, { view, follow: { ...follow, to: 'c:1' } })).do, 'follow');
});

test('a dead primary is failed over; a suspected one is not', () => {
  assert.deepEqual(decide(situation([lostPrimary, replica], { health: dead })), {
    do: 'failover',
    analysis: 'primary-dead',
    answers: false,
    reason: 'refused',
  });
  const suspect: PrimaryHealth = { state: 'suspect', since: 0, reason: 'silent' };
  assert.deepEqual(decide(situation([lostPrimary, replica], { health: suspect })), { do: 'nothing' });
});

test('a primary that answers and cannot commit is failed over, unless a lock or a large transaction is in the way', () => {
  const stuck = (analysis: 'primary-disk-full' | 'primary-stalled' | 'primary-locked' | 'primary-commits-late') =>
    decide(situation([primary, replica], { commit: { state: 'stuck', analysis, since: 0, reason: 'why' } }));
  for (const analysis of ['primary-disk-full', 'primary-stalled'] as const) {
    assert.deepEqual(stuck(analysis), { do: 'failover', analysis, answers: true, reason: 'why' });
  }
  assert.deepEqual(stuck('primary-locked'), { do: 'nothing' });
  assert.deepEqual(stuck('primary-commits-late'), { do: 'nothing' });
});

test('beside another Evenkeel that recovers this cluster nothing is done but followed', () => {
  assert.deepEqual(decide(situation([lostPrimary, replica], { health: dead, standBack: true })), { do: 'nothing' });
  const nodes = [readOnlyPrimary, nodeView('b:1', 'primary')];
  const view = { cluster: 'shop', flavor: 'mysql' as const, primary: 'b:1', nodes, problems: [] };
  assert.equal(decide(situation(nodes, { view, standBack: true })).do, 'follow');
});

test('a replica that a failover stopped, long ago or while it was away since, is started again', () => {
  const replication = { sourceHost: 'a', sourcePort: 1, receiver: 'stopped', applier: 'running' } as ReplicationFacts;
  const stopped = nodeView('b:1', 'replica', 'replication-stopped', { replication });
  const long = seen([primary, replica], [primary, stopped]);
  const now = long.now + 60_000;
  assert.equal(decide(situation([primary, stopped], { ...long, now })).do, 'nothing');
  assert.equal(decide(situation([primary, stopped], { ...long, now, stopped: new Set(['b:1']) })).do, 'rejoin');
  const away = nodeView('b:1', 'replica', 'unreachable');
  const back = seen([primary, replica], [primary, away], [primary, stopped]);
  assert.equal(decide(situation([primary, stopped], { ...back, leftStopped: true, quietSince: 0, now })).do, 'rejoin');
});

test('a replica that a failover left stopped is started again; one that was stopped since is not', () => {
  const replication = { sourceHost: 'a', sourcePort: 1, receiver: 'stopped', applier: 'running' } as ReplicationFacts;
  const stopped = nodeView('b:1', 'replica', 'replication-stopped', { replication });
  const found = seen([primary, stopped]);
  const later = { now: found.now + notReplicatingGraceMs, stories: found.stories, leftStopped: true, quietSince: 0 };
  assert.equal(decide(situation([primary, stopped], later)).do, 'rejoin');
  const since = seen(...Array.from({ length: 40 }, () => [primary, replica]), [primary, stopped]);
  const much = { now: since.now + 60_000, stories: since.stories, leftStopped: true, quietSince: 0 };
  assert.equal(decide(situation([primary, stopped], much)).do, 'nothing');
});

test('a brake keeps back what it is for', () => {
  const stopped = { state: 'stopped', reason: 'why' } as const;
  const free = { state: 'free' } as const;
  const commit = { state: 'stuck', analysis: 'primary-stalled', since: 0, reason: 'why' } as const;
  const of = (over: Partial<Situation>) => decide(situation([primary, replica], over)).do;
  assert.equal(of({ health: dead, brakes: { dead: stopped, answers: stopped, degraded: free } }), 'nothing');
  assert.equal(of({ health: dead, brakes: { dead: free, answers: stopped, degraded: free } }), 'failover');
  assert.equal(of({ commit, brakes: { dead: free, answers: stopped, degraded: free } }), 'nothing');
});

test('a degraded primary is left by a planned switchover where that is asked for, and a replica keeps up', () => {
  const commit = { state: 'ok', latencyMs: 300, degraded: { since: 0, usualMs: 4, latencyMs: 300 } } as const;
  const of = (over: Partial<Situation>, nodes = [primary, replica]) =>
    decide(situation(nodes, { commit, leavesDegraded: true, ...over })).do;
  assert.equal(of({}), 'switchover');
  assert.equal(of({ leavesDegraded: false }), 'nothing');
  assert.equal(of({ commit: { state: 'ok', latencyMs: 300 } }), 'nothing');
  assert.equal(of({}, [primary, nodeView('b:1', 'replica', 'lagging')]), 'nothing');
  const free = { state: 'free' } as const;
  const waits = { state: 'waits', reason: 'why' } as const;
  assert.equal(of({ brakes: { dead: free, answers: free, degraded: waits } }), 'nothing');
  assert.equal(of({ maintenance: { cluster: false, nodes: new Set(['a:1']) } }), 'nothing');
  assert.equal(of({ health: dead }), 'failover');
});

test('a primary that waits for replicas gets those back that only stopped, before another takes its place', () => {
  const stopped = nodeView('b:1', 'replica', 'replication-stopped');
  const commit = { state: 'stuck', analysis: 'primary-waits-for-replicas', since: 0, reason: 'why' } as const;
  const first = situation([primary, stopped], { commit, now: acknowledgementGraceMs });
  assert.equal(decide(first).do, 'rejoin');
  const story = first.stories.get('b:1');
  assert.ok(story);
  const stories = new Map(first.stories).set('b:1', attempted(story, 0));
  assert.equal(decide({ ...first, stories }).do, 'failover');
  assert.equal(decide({ ...first, stories, now: acknowledgementGraceMs - 1 }).do, 'nothing');
});

test('a refused failover is tried again soon when the view changed, later when not, and not without end', () => {
  const base = situation([lostPrimary, replica], { health: dead });
  const refused = (now: number, refusedView: string, attempts = [0]) =>
    decide({ ...base, now, failovers: { attempts, refusedView } }).do;
  const same = fingerprint(base.view);
  assert.equal(refused(retryChangedMs - 1, 'another'), 'nothing');
  assert.equal(refused(retryChangedMs, 'another'), 'failover');
  assert.equal(refused(retrySameMs - 1, same), 'nothing');
  assert.equal(refused(retrySameMs, same), 'failover');
  const many = Array.from({ length: maxFailoversPerWindow }, (_, i) => i);
  assert.equal(refused(retrySameMs * 2, 'another', many), 'nothing');
  assert.equal(refused(failoverWindowMs + maxFailoversPerWindow, 'another', many), 'failover');
});

test('a primary that was away and is back read-only is reinstated', () => {
  const story = seen([primary, replica], [lostPrimary, replica], [readOnlyPrimary, replica]);
  assert.equal(decide(situation([readOnlyPrimary, replica], story)).do, 'reinstate');
});

test('a primary whose process started anew between two looks is reinstated', () => {
  const anew = nodeView('a:1', 'primary', 'read-only-primary', { readOnly: true, startedAtMs: 60_000 });
  assert.equal(decide(situation([anew, replica], seen([primary, replica], [anew, replica]))).do, 'reinstate');
});

test('a primary that someone made read-only under our eyes is left so', () => {
  const story = seen([primary, replica], [readOnlyPrimary, replica]);
  const much = { ...story, now: story.now + 100 * readOnlyGraceMs };
  assert.deepEqual(decide(situation([readOnlyPrimary, replica], much)), { do: 'nothing' });
});

test('a primary that an order of a failed failover made read-only, late, is reinstated', () => {
  const story = seen([primary, replica], [readOnlyPrimary, replica]);
  const after = { ...story, leftStopped: true, quietSince: story.now - 100_000 };
  assert.equal(decide(situation([readOnlyPrimary, replica], after)).do, 'reinstate');
  const long = { ...after, quietSince: story.now - 200_000 };
  assert.equal(decide(situation([readOnlyPrimary, replica], long)).do, 'nothing');
});

test('a remembered primary that was read-only when we came is reinstated after a while', () => {
  const story = seen([readOnlyPrimary, replica]);
  const at = (now: number) => decide(situation([readOnlyPrimary, replica], { ...story, now })).do;
  assert.equal(at(100 + readOnlyGraceMs - 1), 'nothing');
  assert.equal(at(100 + readOnlyGraceMs), 'reinstate');
});

test('a read-only primary is not reinstated beside a node that takes writes', () => {
  const other = nodeView('b:1', 'unknown', 'second-writer');
  const story = seen([primary, replica], [lostPrimary, other], [readOnlyPrimary, other]);
  assert.deepEqual(decide(situation([readOnlyPrimary, other], story)), { do: 'nothing' });
});

test('a former primary that takes writes beside a primary that came back read-only is made read-only first', () => {
  const stray = nodeView('b:1', 'unknown', 'second-writer');
  const story = seen([lostPrimary, stray], [readOnlyPrimary, stray]);
  const later = { stories: story.stories, now: story.now + secondWriterGraceMs };
  const former = { formerPrimaries: new Set(['b:1']) };
  assert.equal(decide(situation([readOnlyPrimary, stray], { ...later, ...former })).do, 'rejoin');
  assert.equal(decide(situation([readOnlyPrimary, stray], { ...later, ...former, now: story.now })).do, 'nothing');
  assert.equal(decide(situation([readOnlyPrimary, stray], later)).do, 'nothing');
});

test('a former primary that takes writes is made a replica at once', () => {
  const writer = nodeView('b:1', 'unknown', 'second-writer');
  const formerPrimaries = new Set(['b:1']);
  assert.equal(decide(situation([primary, writer], { formerPrimaries })).do, 'rejoin');
  // Not by what was seen before the last recovery ended: that may have made it one.
  const quietSince = performance.now() + 1000;
  assert.equal(decide(situation([primary, writer], { formerPrimaries, quietSince })).do, 'nothing');
});

test('a replica that takes writes without a restart has a while, in case someone is at work', () => {
  const writer = nodeView('b:1', 'unknown', 'second-writer');
  const story = seen([primary, replica], [primary, writer]);
  const at = (now: number) => decide(situation([primary, writer], { ...story, now })).do;
  assert.equal(at(story.now + secondWriterGraceMs - 1), 'nothing');
  assert.equal(at(story.now + secondWriterGraceMs), 'rejoin');
});

test('a second writer that was never part of this cluster is not touched', () => {
  const writer = nodeView('x:1', 'unknown', 'second-writer');
  const story = { ...seen([primary, writer]), now: 1_000_000 };
  assert.deepEqual(decide(situation([primary, writer], { ...story, members: new Set(['a:1']) })), { do: 'nothing' });
});

test('a node that came back without a source is made a replica; one that an operator stopped is not', () => {
  const lost = nodeView('b:1', 'replica', 'unreachable');
  const alone = nodeView('b:1', 'unknown', 'not-replicating', { readOnly: true });
  const back = seen([primary, replica], [primary, lost], [primary, alone]);
  assert.equal(decide(situation([primary, alone], back)).do, 'rejoin');
  const detached = seen([primary, replica], [primary, alone]);
  const at = (now: number) => decide(situation([primary, alone], { ...detached, now })).do;
  assert.equal(at(detached.now + notReplicatingGraceMs - 1), 'nothing');
  assert.equal(at(detached.now + notReplicatingGraceMs), 'rejoin');
  const stopped = nodeView('b:1', 'replica', 'replication-stopped');
  const story = { ...seen([primary, stopped]), now: 1_000_000 };
  assert.deepEqual(decide(situation([primary, stopped], story)), { do: 'nothing' });
});

test('an attempt that failed is repeated after a growing pause, and forgotten when the node is in order', () => {
  const writer = nodeView('b:1', 'unknown', 'second-writer');
  const story = seen([primary, writer]);
  const first = story.stories.get('b:1');
  assert.ok(first);
  const once = attempted(first, 100);
  const twice = attempted(once, 100);
  assert.equal(once.notBefore, 100 + mendBackoffMs);
  assert.equal(twice.notBefore, 100 + 2 * mendBackoffMs);
  const stories = new Map(story.stories).set('b:1', once);
  const formerPrimaries = new Set(['b:1']);
  const at = (now: number) => decide(situation([primary, writer], { stories, now, formerPrimaries })).do;
  assert.equal(at(99 + mendBackoffMs), 'nothing');
  assert.equal(at(100 + mendBackoffMs), 'rejoin');
  const view = { cluster: 'shop', flavor: 'mysql' as const, primary: 'a:1', nodes: [primary, replica], problems: [] };
  assert.equal(observe(stories, view, 200).get('b:1')?.attempts, 0);
});

test('the hold that a failed recovery left ends when the primary was seen to be fit since, and alone', () => {
  const before = situation([primary, replica], { heldSince: performance.now() + 1000 });
  assert.deepEqual(decide(before), { do: 'nothing' });
  assert.deepEqual(decide({ ...before, heldSince: 0 }), { do: 'release' });
  assert.deepEqual(decide({ ...before, heldSince: 0, standBack: true }), { do: 'release' }, 'whoever recovers it');
  const promised = { ...before, heldSince: 0, awaitsPromised: true };
  assert.deepEqual(decide(promised), { do: 'nothing' }, 'nor while a node that may have been promoted is away');
  const writer = nodeView('b:1', 'unknown', 'second-writer');
  assert.notEqual(decide(situation([primary, writer], { heldSince: 0 })).do, 'release');
});

test('never is a node touched that is not a member, nor the primary rejoined, nor anything done twice at once', () => {
  const states = [
    'ok',
    'unreachable',
    'second-writer',
    'not-replicating',
    'replication-wrong-source',
    'errant',
  ] as const;
  const node = fc.record({
    name: fc.constantFrom('a:1', 'b:1', 'c:1'),
    state: fc.constantFrom(...states),
    readOnly: fc.boolean(),
    startedAtMs: fc.constantFrom(1000, 60_000),
  });
  const views = fc.array(fc.uniqueArray(node, { selector: ({ name }) => name, maxLength: 3 }), { maxLength: 8 });
  const health = fc.constantFrom<PrimaryHealth>({ state: 'alive' }, { state: 'suspect', since: 0, reason: '' }, dead);
  const property = fc.property(views, health, fc.subarray(['a:1', 'b:1', 'c:1']), (shown, nowHealth, members) => {
    const nodes = shown.map((view) =>
      view.map(({ name, state, ...facts }) => nodeView(name, name === 'a:1' ? 'primary' : 'replica', state, facts)),
    );
    const story = seen(...nodes);
    const last = nodes.at(-1) ?? [];
    const action = decide(situation(last, { ...story, health: nowHealth, members: new Set(members) }));
    if (action.do === 'rejoin') {
      assert.ok(members.includes(action.node) && action.node !== 'a:1');
      assert.equal(nowHealth.state, 'alive');
    }
    if (action.do === 'failover') assert.equal(nowHealth.state, 'dead');
    if (action.do === 'reinstate') {
      assert.ok(
        !last.some((each) => each.observation.reach.state === 'up' && each.observation.facts?.readOnly === false),
      );
    }
  });
  fc.assert(property, { numRuns: 2000 });
});
