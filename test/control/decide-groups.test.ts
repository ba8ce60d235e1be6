// What is done in clusters whose members form a group, as a table: the group elects, Galera's writer is moved by us, and
// on a platform nothing is done but to follow.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { NodeState, NodeView, PrimaryHealth, Topology, TopologyFacts } from '../../src/cluster/types.ts';
import { noFailovers, noMaintenance, observe, type Situation, type Stories } from '../../src/control/decide.ts';
import { decideByTopology, desyncedGraceMs, memberOutGraceMs } from '../../src/control/decide-groups.ts';
import { nodeView } from './harness.ts';

const dead: PrimaryHealth = { state: 'dead', since: 0, reason: 'refused' };

const synced = { component: 'primary', state: 'synced', ready: true, desynced: false };

/** A member in `state`; on Galera one that is `ok` could be the writer. */
function member(kind: Topology, node: string, state: NodeState = 'ok', readOnly = true): NodeView {
  const galera =
    state === 'ok' || state === 'second-writer' || state === 'read-only-primary' ? synced : { ready: false };
  const out = { state: state === 'member-out' ? 'ERROR' : 'ONLINE' };
  const topology = { kind, ...(kind === 'galera' ? galera : out) } as unknown as TopologyFacts;
  const role = node === 'a:1' ? 'primary' : 'replica';
  return nodeView(node, role, state, { readOnly, topology, replication: null });
}

interface Over extends Partial<Omit<Situation, 'view'>> {
  /** Whom the view calls primary. */
  seenPrimary?: string | null;
}

function decided(topology: Topology, nodes: NodeView[], { seenPrimary = 'a:1', ...over }: Over = {}): string {
  const view = { cluster: 'shop', flavor: 'mysql' as const, topology, primary: seenPrimary, nodes, problems: [] };
  const now = over.now ?? 0;
  const action = decideByTopology({
    now,
    view,
    health: { state: 'alive' },
    epoch: 1,
    primary: 'a:1',
    members: new Set(nodes.map(({ node }) => node)),
    formerPrimaries: new Set(),
    stories: observe(new Map(), view, now),
    failovers: noFailovers,
    follow: null,
    commit: { state: 'ok', latencyMs: 1 },
    upkeep: [],
    brakes: { dead: { state: 'free' }, answers: { state: 'free' }, degraded: { state: 'free' } },
    standBack: false,
    leavesDegraded: false,
    leftStopped: false,
    stopped: new Set<string>(),
    heldSince: null,
    awaitsPromised: false,
    quietSince: Number.NEGATIVE_INFINITY,
    maintenance: noMaintenance,
    ...over,
  });
  const whom = 'node' in action ? ` ${action.node}` : 'primary' in action ? ` ${action.primary}` : '';
  return `${action.do}${whom}`;
}

/** Stories of nodes that have been as they are for so long. */
function since(topology: Topology, ageMs: number, ...views: NodeView[][]): { stories: Stories; now: number } {
  let stories: Stories = new Map();
  for (const nodes of views) {
    stories = observe(stories, { cluster: 'shop', flavor: 'mysql', topology, primary: 'a:1', nodes, problems: [] }, 0);
  }
  return { stories, now: ageMs };
}

describe('a group, and a platform', () => {
  for (const topology of ['group', 'aurora', 'rds'] as const) {
    const writer = member(topology, 'a:1', 'ok', false);
    const others = [member(topology, 'b:1'), member(topology, 'c:1')];

    test(`${topology}: a dead primary is not replaced by us; the one that took its place is followed`, () => {
      const gone = [member(topology, 'a:1', 'unreachable', false), ...others];
      assert.equal(decided(topology, gone, { health: dead }), 'nothing');
      assert.equal(decided(topology, gone, { health: dead, seenPrimary: 'b:1' }), 'follow b:1');
    });

    test(`${topology}: the first primary is taken as it is; a read-only one, or a second writer, is left alone`, () => {
      assert.equal(decided(topology, [writer, ...others], { primary: null }), 'begin a:1');
      assert.equal(decided(topology, [writer, ...others]), 'nothing');
      const readOnly = [member(topology, 'a:1', 'read-only-primary'), ...others];
      assert.equal(decided(topology, readOnly, since(topology, 60_000, readOnly)), 'nothing');
      const two = [writer, member(topology, 'b:1', 'second-writer', false)];
      assert.equal(decided(topology, two, since(topology, 60_000, two)), 'nothing');
    });

    test(`${topology}: the hold of a recovery that ended badly is released when the primary is seen to write`, () => {
      assert.equal(decided(topology, [writer, ...others], { heldSince: -1 }), 'release');
      assert.equal(decided(topology, [member(topology, 'a:1', 'no-majority', false)], { heldSince: -1 }), 'nothing');
    });
  }

  test('group: an expelled member joins again after a while, one that somebody took out does not', () => {
    const writer = member('group', 'a:1', 'ok', false);
    const expelled = [writer, member('group', 'b:1', 'member-out')];
    assert.equal(decided('group', expelled, since('group', memberOutGraceMs - 1, expelled)), 'nothing');
    assert.equal(decided('group', expelled, since('group', memberOutGraceMs, expelled)), 'rejoin b:1');
    const whole = { maintenance: { cluster: true, nodes: new Set<string>() } };
    assert.equal(decided('group', expelled, { ...since('group', memberOutGraceMs, expelled), ...whole }), 'nothing');
    const stopped = nodeView('b:1', 'replica', 'member-out', {
      readOnly: true,
      topology: { kind: 'group', state: 'OFFLINE' } as unknown as TopologyFacts,
    });
    assert.equal(decided('group', [writer, stopped], since('group', 60_000, [writer, stopped])), 'nothing');
    const restarted = since(
      'group',
      60_000,
      [writer, member('group', 'b:1')],
      [writer, member('group', 'b:1', 'unreachable')],
    );
    const { stories } = since('group', 0, [writer, stopped]);
    const story = restarted.stories.get('b:1');
    assert.ok(story);
    const both = new Map(stories).set('b:1', { ...story, state: 'member-out', since: 0, restarted: true });
    assert.equal(decided('group', [writer, stopped], { stories: both, now: 60_000 }), 'rejoin b:1');
  });
});

describe('Galera', () => {
  const writer = member('galera', 'a:1', 'ok', false);
  const others = [member('galera', 'b:1'), member('galera', 'c:1')];

  test('a dead writer is replaced, where another member could write', () => {
    const gone = member('galera', 'a:1', 'unreachable', false);
    assert.equal(decided('galera', [gone, ...others], { health: dead }), 'failover');
    assert.equal(decided('galera', [gone, member('galera', 'b:1', 'no-majority')], { health: dead }), 'nothing');
    const only = { health: dead, maintenance: { cluster: false, nodes: new Set(['a:1']) } };
    assert.equal(decided('galera', [gone, ...others], only), 'nothing');
  });

  test('a writer that was cut off or is out is left at once, one that is desynced after a while', () => {
    for (const state of ['no-majority', 'member-out', 'member-joining'] as const) {
      assert.equal(decided('galera', [member('galera', 'a:1', state, false), ...others]), 'failover');
    }
    const desynced = [member('galera', 'a:1', 'desynced', false), ...others];
    assert.equal(decided('galera', desynced, since('galera', desyncedGraceMs - 1, desynced)), 'nothing');
    assert.equal(decided('galera', desynced, since('galera', desyncedGraceMs, desynced)), 'failover');
  });

  test('a member that takes writes beside the writer is made read-only after a while, a former writer at once', () => {
    const two = [writer, member('galera', 'b:1', 'second-writer', false), member('galera', 'c:1')];
    assert.equal(decided('galera', two), 'nothing');
    assert.equal(decided('galera', two, since('galera', 3000, two)), 'rejoin b:1');
    assert.equal(decided('galera', two, { formerPrimaries: new Set(['b:1']) }), 'rejoin b:1');
    // Where it is nobody's business but the operator's, it is no second writer (recovery: observe).
    const fine = [writer, member('galera', 'b:1', 'ok', false)];
    assert.equal(decided('galera', fine, since('galera', 60_000, fine)), 'nothing');
  });

  test('a cluster without a writer gets the first member that could be it, when all were asked', () => {
    const none = [member('galera', 'b:1'), member('galera', 'c:1')];
    const unknown = { primary: null, seenPrimary: null };
    assert.equal(decided('galera', none, unknown), 'begin b:1');
    // One that does not answer could be the writer, unless those that answer are all of the component.
    const away = member('galera', 'd:1', 'unreachable');
    assert.equal(decided('galera', [...none, away], unknown), 'nothing');
    for (const { observation } of none) Object.assign(observation.facts?.topology ?? {}, { size: 2 });
    assert.equal(decided('galera', [...none, away], unknown), 'begin b:1');
    assert.equal(decided('galera', [member('galera', 'b:1', 'no-majority')], unknown), 'nothing');
  });

  test('a writer that came back read-only takes writes again; one that somebody made read-only does not', () => {
    const readOnly = [member('galera', 'a:1', 'read-only-primary'), ...others];
    const restarted = since(
      'galera',
      100,
      [writer, ...others],
      [member('galera', 'a:1', 'unreachable'), ...others],
      readOnly,
    );
    assert.equal(decided('galera', readOnly, restarted), 'reinstate a:1');
    assert.equal(decided('galera', readOnly, since('galera', 60_000, [writer, ...others], readOnly)), 'nothing');
  });
});
