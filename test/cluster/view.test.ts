// From observations to the view of a cluster: roles, states and problems, case by case.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { writersBeside } from '../../src/cluster/primary.ts';
import type { NodeFacts, NodeObservation, NodeState, ReplicationFacts } from '../../src/cluster/types.ts';
import { computeView, unobserved, type ViewInput, type ViewResult } from '../../src/cluster/view.ts';
import { CHOSEN_UUID_PREFIX } from '../../src/messages/index.ts';
import { REPLICATION } from '../support/facts.ts';

const UUID = (n: number): string => `0000000${n}-0000-0000-0000-000000000000`;

interface Given extends Partial<Omit<NodeFacts, 'replication'>> {
  follows?: number;
  replication?: Partial<ReplicationFacts>;
  reach?: NodeObservation['reach'];
  at?: number;
  factsAt?: number;
}

/** Node number `n`, db1 … dbN: read-only, MySQL, having transactions 1-10 of db1, unless told otherwise. */
function node(n: number, given: Given = {}): NodeObservation {
  const { follows, replication, reach = { state: 'up', rttMs: 1 }, at = 100, factsAt = 99, ...facts } = given;
  const gtid = facts.gtidExecuted ?? `${UUID(1)}:1-10`;
  const channel: ReplicationFacts = {
    ...REPLICATION,
    sourceHost: `db${follows}`,
    sourcePort: 3306,
    received: gtid,
    heard: '1',
    ...replication,
  };
  return {
    node: `db${n}:3306`,
    at,
    reach,
    factsAt,
    facts: {
      flavor: 'mysql',
      version: '9.7.4',
      serverId: n,
      identity: UUID(n),
      startedAtMs: 0,
      readOnly: true,
      superReadOnly: true,
      gtidExecuted: gtid,
      gtidPosition: gtid,
      logBin: true,
      logReplicaUpdates: true,
      replication: follows === undefined ? null : channel,
      semiSync: null,
      replicas: [],
      ...facts,
    },
  };
}

const writable = { readOnly: false, superReadOnly: false };
const refused = { state: 'refused', error: 'ECONNREFUSED' } as const;

function view(observations: NodeObservation[], given: Partial<ViewInput> = {}): ViewResult {
  return computeView({
    cluster: 'shop',
    durability: 'none',
    acks: 1,
    maxLagMs: 5000,
    observations,
    primary: null,
    primarySince: Number.NEGATIVE_INFINITY,
    health: { state: 'alive' },
    commit: { state: 'unknown', why: 'not written' },
    secondWriters: new Set(),
    identities: new Map(),
    aliases: new Map(),
    errant: new Map(),
    ...given,
  });
}

const states = ({ view: { nodes } }: ViewResult): NodeState[] => nodes.map(({ state }) => state);
const codes = ({ view: { problems } }: ViewResult): string[] => problems.map(({ code }) => code);
const known = { primary: 'db1:3306' };

test('the only writer, followed by the others, is the primary', () => {
  const result = view([node(1, writable), node(2, { follows: 1 }), node(3, { follows: 1 })]);
  assert.equal(result.view.primary, 'db1:3306');
  assert.deepEqual(
    result.view.nodes.map(({ role }) => role),
    ['primary', 'replica', 'replica'],
  );
  assert.deepEqual(states(result), ['ok', 'ok', 'ok']);
  assert.deepEqual(codes(result), []);
});

test('no primary is chosen before every node had its chance to answer', () => {
  const result = view([node(1, writable), unobserved('db2:3306')]);
  assert.equal(result.view.primary, null);
  assert.equal(result.choice.why, 'discovering');
});

test('at first sight of two writers none is chosen, and both are named', () => {
  const result = view([node(1, writable), node(2, writable)]);
  assert.equal(result.view.primary, null);
  assert.deepEqual(states(result), ['second-writer', 'second-writer']);
  assert.deepEqual(codes(result), ['no-primary', 'two-writers']);
});

test('of two writers at first sight the one that the other follows is the primary', () => {
  const result = view([node(1, writable), node(2, { ...writable, follows: 1 })]);
  assert.equal(result.view.primary, 'db1:3306');
  assert.deepEqual(states(result), ['ok', 'second-writer']);
  assert.deepEqual(codes(result), ['two-writers']);
});

test('a second writer beside a known and writable primary changes nothing but is named', () => {
  const result = view([node(1, writable), node(2, writable)], known);
  assert.equal(result.view.primary, 'db1:3306');
  assert.deepEqual(codes(result), ['two-writers']);
});

test('a lone writer is not the primary of replicas that follow a node which is down', () => {
  const down = node(1, { reach: refused });
  const result = view([down, node(2, { follows: 1 }), node(4, writable)]);
  assert.equal(result.view.primary, null);
  assert.equal(result.choice.why, 'writer-without-followers');
});

test('replicas without any writer: no primary, and the problem says so', () => {
  const result = view([node(1), node(2, { follows: 1 })]);
  assert.equal(result.choice.why, 'no-writer');
  assert.deepEqual(codes(result)[0], 'no-primary');
});

test('a switchover by hand is followed: the old primary follows the new one', () => {
  const result = view([node(1, { follows: 2 }), node(2, writable), node(3, { follows: 1 })], known);
  assert.deepEqual(result.choice, { node: 'db2:3306', why: 'moved-by-hand' });
});

test('a switchover by hand is followed before anyone was repointed, where the new primary has everything', () => {
  const moved = view([node(1), node(2, writable), node(3, { follows: 1 })], known);
  assert.equal(moved.view.primary, 'db2:3306');
  const behind = view([node(1, { gtidExecuted: `${UUID(1)}:1-11` }), node(2, writable)], known);
  assert.equal(behind.view.primary, 'db1:3306');
  assert.deepEqual(codes(behind), ['primary-read-only']);
});

test('a failover by hand is followed when the known primary is gone', () => {
  const dead = node(1, { reach: refused });
  const result = view([dead, node(2, writable), node(3, { follows: 1 })], known);
  assert.equal(result.view.primary, 'db2:3306');
});

test('what was seen before a recovery made the primary says nothing of who it is', () => {
  const before = [node(1, { follows: 2, at: 50 }), node(2, { ...writable, at: 50 })];
  assert.equal(view(before, { ...known, primarySince: 60 }).view.primary, 'db1:3306');
  assert.equal(view(before, { ...known, primarySince: 40 }).view.primary, 'db2:3306');
});

test('a former primary that wakes up is not followed, though a replica follows it still, where it lacks what was written since', () => {
  const restarted = node(1, { gtidExecuted: `${UUID(1)}:1-11` });
  const result = view([restarted, node(2, writable), node(3, { follows: 2 })], known);
  assert.equal(result.view.primary, 'db1:3306');
  const dead = node(1, { reach: refused });
  const demoted = { ...known, secondWriters: new Set(['db2:3306']) };
  assert.equal(view([dead, node(2, writable), node(3, { follows: 2 })], demoted).view.primary, 'db1:3306');
});

test('a node whose promotion came to no end is the primary where it takes writes, even beside the one known', () => {
  const promised = { ...known, promised: 'db2:3306' };
  assert.equal(view([node(1, writable), node(2, writable)], promised).choice.why, 'promised');
  assert.equal(view([node(1, writable), node(2, { follows: 1 })], promised).view.primary, 'db1:3306');
  assert.equal(view([node(1, { reach: refused }), node(2, { reach: refused })], promised).view.primary, 'db1:3306');
});

test('a node whose promotion came to no end, and that came back read-only, is the primary where it alone has more', () => {
  const promised = { ...known, promised: 'db2:3306' };
  const more = { gtidExecuted: `${UUID(1)}:1-20,${UUID(2)}:1` };
  const less = { ...writable, gtidExecuted: `${UUID(1)}:1-25` };
  const replica = node(3, { follows: 2, gtidExecuted: `${UUID(1)}:1-20` });
  const primaryOf = (...nodes: NodeObservation[]) => view(nodes, promised).view.primary;
  assert.equal(primaryOf(node(1, less), node(2, more), replica), 'db2:3306');
  assert.equal(primaryOf(node(1, { ...less, ...more }), node(2, more), replica), 'db1:3306');
  assert.equal(primaryOf(node(1, less), node(2, { ...more, follows: 1 }), replica), 'db1:3306');
  assert.equal(
    primaryOf(node(1, less), node(2, more), node(3, { follows: 1, gtidExecuted: `${UUID(1)}:1-25` })),
    'db1:3306',
  );
  assert.equal(primaryOf(node(1, less), node(2, more), node(3, { reach: refused })), 'db1:3306');
});

test('a primary that was merely seen to be it is so no more when it takes no writes', () => {
  const seen = { primary: 'db2:3306', remembered: 'db1:3306' };
  assert.equal(view([node(1, {}), node(2, writable)], seen).view.primary, 'db2:3306');
  const gone = view([node(1, {}), node(2, {}), node(3, { follows: 2 })], seen);
  assert.deepEqual([gone.view.primary, gone.choice.why], ['db1:3306', 'returned']);
  assert.equal(
    view([node(1, {}), node(2, {})], { primary: 'db2:3306', remembered: 'db2:3306' }).view.primary,
    'db2:3306',
  );
});

test('a former primary that was not seen read-only since is followed only where the known one follows it', () => {
  const all = { ...writable, gtidExecuted: `${UUID(1)}:1-20` };
  const demoted = { ...known, demoted: new Set(['db2:3306']), secondWriters: new Set(['db2:3306']) };
  assert.equal(view([node(1, {}), node(2, all)], known).view.primary, 'db2:3306');
  assert.equal(view([node(1, {}), node(2, all)], demoted).view.primary, 'db1:3306');
  assert.equal(view([node(1, { follows: 2 }), node(2, all)], demoted).view.primary, 'db2:3306');
});

test('a primary whose commits take far longer than they used to is told with both times', () => {
  const commit = { state: 'ok', latencyMs: 300, degraded: { since: 0, usualMs: 4, latencyMs: 300 } } as const;
  const { view: found } = view([node(1, writable), node(2, { follows: 1 })], { ...known, commit });
  assert.deepEqual(
    found.problems.map(({ code, text }) => `${code}: ${text}`),
    ['primary-degraded: commits on the primary take 300 ms, usually 4.0 ms'],
  );
});

test('a second writer from before does not inherit from a primary that goes away', () => {
  const dead = node(1, { reach: refused });
  const result = view([dead, node(2, writable)], { ...known, secondWriters: new Set(['db2:3306']) });
  assert.equal(result.view.primary, 'db1:3306');
});

test('a writer beside the primary is a second one where the primary was asked after it, and its successor where before', () => {
  const beside = (...nodes: NodeObservation[]) => writersBeside(view(nodes, known).view.nodes).map((one) => one.node);
  const second = node(2, { ...writable, at: 100, factsAt: 98 });
  assert.deepEqual(beside(node(1, { ...writable, at: 105, factsAt: 101 }), second), ['db2:3306']);
  assert.deepEqual(beside(node(1, { ...writable, at: 105, factsAt: 99 }), second), []);
  assert.deepEqual(beside(node(1, { ...writable, at: 105, factsAt: 101, reach: refused }), second), []);
  assert.deepEqual(beside(node(1, { at: 105, factsAt: 101 }), second), []);
});

test('a primary that only does not answer us is not replaced by a writer that nobody follows', () => {
  const silent = node(1, { reach: { state: 'silent', error: 'timeout' } });
  assert.equal(view([silent, node(2, writable)], known).view.primary, 'db1:3306');
  const full = node(1, { reach: { state: 'denied', errno: 1040, error: 'Too many connections' } });
  assert.equal(view([full, node(2, { ...writable }), node(3, { follows: 2 })], known).view.primary, 'db1:3306');
});

test('every trouble of a replica has its name', () => {
  const cases: [Given, NodeState][] = [
    [{ follows: 1, replication: { applier: 'stopped', applierError: '1062: Duplicate entry' } }, 'replication-broken'],
    [{ follows: 1, replication: { applier: 'stopped' } }, 'replication-stopped'],
    [{ follows: 1, replication: { receiver: 'stopped' } }, 'replication-stopped'],
    [{ follows: 1, replication: { receiver: 'stopped', receiverError: '1236: purged' } }, 'replication-broken'],
    [{ follows: 1, replication: { receiver: 'connecting', receiverError: '1045: denied' } }, 'replication-broken'],
    [{ follows: 1, replication: { receiver: 'connecting' } }, 'ok'],
    [{ follows: 9 }, 'replication-wrong-source'],
    [{ follows: 1, replication: { delaySeconds: 60 } }, 'delayed'],
    [{ follows: 1, replication: { lagMs: 6000 } }, 'lagging'],
    [{}, 'not-replicating'],
    [{ follows: 1, identity: UUID(8) }, 'identity-changed'],
    [{ follows: 1, flavor: 'mariadb', gtidExecuted: '0-1-1' }, 'other-flavor'],
    [{ follows: 1, reach: refused }, 'unreachable'],
    [{ follows: 1, reach: { state: 'denied', errno: 1045, error: 'Access denied' } }, 'denied'],
    [{ follows: 1, ...writable }, 'second-writer'],
    [{ follows: 1, at: 50, gtidExecuted: `${UUID(1)}:1-10,${UUID(2)}:1` }, 'errant'],
  ];
  for (const [given, state] of cases) {
    const result = view([node(1, writable), node(2, given)], {
      ...known,
      identities: new Map([['db2:3306', UUID(2)]]),
    });
    assert.equal(result.view.nodes[1]?.state, state, JSON.stringify(given));
    if (state !== 'ok') assert.notEqual(result.view.nodes[1]?.detail, '');
  }
});

test('while the primary is away its replicas, which cannot connect, are not called broken', () => {
  for (const receiver of ['connecting', 'stopped'] as const) {
    const waiting = node(2, { follows: 1, replication: { receiver, receiverError: '2003: cannot connect' } });
    assert.equal(view([node(1, { reach: refused }), waiting], known).view.nodes[1]?.state, 'ok');
  }
});

test('a replica of a replica of the primary follows the right source', () => {
  const result = view([node(1, writable), node(2, { follows: 1 }), node(3, { follows: 2 })]);
  assert.deepEqual(states(result), ['ok', 'ok', 'ok']);
});

test('what a replica had after the primary was read is not errant', () => {
  const newer = node(2, { follows: 1, at: 120, gtidExecuted: `${UUID(1)}:1-12` });
  assert.equal(view([node(1, { ...writable, at: 100 }), newer]).view.nodes[1]?.state, 'ok');
});

test('what a primary is committing still is not errant on its replicas, unless it does not come by it', () => {
  const chosen = `${CHOSEN_UUID_PREFIX}-79a6-4fee-aeb0-fa4665683b0c`;
  const stuck = { state: 'stuck', analysis: 'primary-waits-for-replicas', since: 0, reason: 'why' } as const;
  const at = (now: number, gtidExecuted: string, before: ViewResult | null, given: Partial<ViewInput> = {}) => {
    const primary = node(1, { ...writable, at: now, factsAt: now });
    const replica = node(2, { follows: 1, at: now - 1, factsAt: now - 2, gtidExecuted });
    return view([primary, replica], { ...known, ...before, ...given });
  };
  const stateOf = (result: ViewResult) => result.view.nodes[1]?.state;
  const had = `${UUID(1)}:1-10`;
  for (const own of [`${UUID(1)}:1-11`, `${had},${chosen}:17`]) {
    const first = at(1_000, own, null);
    assert.equal(stateOf(first), 'ok', own);
    assert.equal(stateOf(at(10_999, own, first)), 'ok', own);
    assert.equal(stateOf(at(11_000, own, first)), 'errant', own);
    assert.equal(stateOf(at(11_000, own, first, { commit: stuck })), 'ok', own);
    const ended = at(6_000, had, first);
    assert.equal(stateOf(at(11_000, own, ended)), 'ok', own);
  }
  // Other ones each time, as a primary under load has.
  const later = at(6_000, `${had},${chosen}:18-19`, at(1_000, `${had},${chosen}:17`, null));
  assert.equal(stateOf(at(11_000, `${had},${chosen}:19-20`, later)), 'ok');
  assert.equal(stateOf(at(16_000, `${had},${chosen}:19-20`, later)), 'errant');
  // Its own, and those of a node that does not follow.
  assert.equal(stateOf(at(1_000, `${UUID(1)}:1-11,${UUID(2)}:1`, null)), 'errant');
  assert.equal(stateOf(at(1_000, `${UUID(1)}:1-11,${UUID(2)}:1`, null, { commit: stuck })), 'errant');
  const astray = node(2, { at: 50, gtidExecuted: `${UUID(1)}:1-11` });
  assert.equal(stateOf(view([node(1, writable), astray], known)), 'errant');
});

test('an errant verdict outlives a primary that cannot be asked, and ends when it is asked again', () => {
  const errant = node(2, { follows: 1, at: 50, gtidExecuted: `${UUID(1)}:1-10,${UUID(2)}:1-3` });
  const first = view([node(1, writable), errant], known);
  assert.match(first.view.nodes[1]?.detail ?? '', /3 transactions/);
  const away = view([node(1, { reach: refused }), errant], { ...known, errant: first.errant });
  assert.equal(away.view.nodes[1]?.state, 'errant');
  const mended = node(1, { ...writable, gtidExecuted: `${UUID(1)}:1-10,${UUID(2)}:1-3` });
  const later = view([mended, errant], { ...known, errant: away.errant });
  assert.equal(later.view.nodes[1]?.state, 'ok');
  assert.equal(later.errant.size, 0);
});

test('a source that goes by another name is found by its alias or its identity', () => {
  const byAlias = node(2, { follows: 1, replication: { sourceHost: '10.0.0.1' } });
  const aliases = new Map([['10.0.0.1:3306', 'db1:3306']]);
  assert.equal(view([node(1, writable), byAlias], { ...known, aliases }).view.nodes[1]?.state, 'ok');
  const byUuid = node(2, { follows: 1, replication: { sourceHost: '10.0.0.1', sourceUuid: UUID(1) } });
  assert.equal(view([node(1, writable), byUuid], known).view.nodes[1]?.state, 'ok');
});

test('semi-sync that does not hold what was asked for is a problem', () => {
  const semiSync = {
    sourceEnabled: true,
    sourceActive: true,
    replicaEnabled: false,
    clients: 1,
    waitForCount: 1,
    timeoutMs: 1,
  };
  const problems = (
    change: Partial<typeof semiSync> | null,
    durability: ViewInput['durability'] = 'semisync',
  ): string[] =>
    codes(view([node(1, { ...writable, semiSync: change && { ...semiSync, ...change } })], { durability }));
  assert.deepEqual(problems({}), []);
  assert.deepEqual(problems({ clients: 0 }), ['semisync-degraded']);
  assert.deepEqual(problems({ sourceActive: false }), ['semisync-degraded']);
  assert.deepEqual(problems({ sourceEnabled: false }), ['semisync-degraded']);
  assert.deepEqual(problems({ sourceEnabled: false }, 'detect'), []);
  assert.deepEqual(problems(null), ['semisync-degraded']);
  assert.deepEqual(problems(null, 'none'), []);
});

test('the known primary that turned read-only, is in doubt or is dead is said to be so', () => {
  assert.deepEqual(states(view([node(1)], known)), ['read-only-primary']);
  assert.deepEqual(codes(view([node(1)], known)), ['primary-read-only']);
  const suspect = view([node(1, writable)], { ...known, health: { state: 'suspect', since: 1, reason: 'why' } });
  assert.deepEqual(codes(suspect), ['primary-suspect']);
  const dead = view([node(1, { reach: refused })], { ...known, health: { state: 'dead', since: 1, reason: 'why' } });
  assert.deepEqual(codes(dead), ['primary-dead']);
});
