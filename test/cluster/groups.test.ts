// Who is primary in a group, as tables of what its members say: elections, partitions, stale words, and Galera's writer.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { galeraFacts, isWithout, leftBehindBy } from '../../src/cluster/galera.ts';
import { groupFacts, leftBehind } from '../../src/cluster/group.ts';
import { instanceAddress, isClusterEndpoint, platformFacts, platformOf } from '../../src/cluster/platform.ts';
import { membersOf, topologyOf } from '../../src/cluster/topology.ts';
import type {
  AuroraFacts,
  GaleraFacts,
  GroupFacts,
  NodeFacts,
  NodeObservation,
  TopologyFacts,
} from '../../src/cluster/types.ts';
import { computeView } from '../../src/cluster/view.ts';

const NOW = 1000;

function seen(
  node: string,
  topology: TopologyFacts | null,
  { readOnly = true, reach = 'up' }: { readOnly?: boolean; reach?: 'up' | 'refused' | 'never' } = {},
): NodeObservation {
  const facts: NodeFacts = {
    flavor: topology?.kind === 'galera' ? 'mariadb' : 'mysql',
    version: 'x',
    serverId: 1,
    identity: `id-${node}`,
    startedAtMs: 0,
    readOnly,
    superReadOnly: readOnly,
    gtidExecuted: '',
    gtidPosition: '',
    logBin: true,
    logReplicaUpdates: true,
    replication: null,
    semiSync: null,
    replicas: [],
    topology,
  };
  if (reach === 'never') return { node, at: -1, reach: { state: 'silent', error: '' }, facts: null, factsAt: null };
  const how = reach === 'up' ? ({ state: 'up', rttMs: 1 } as const) : ({ state: 'refused', error: 'x' } as const);
  return { node, at: NOW, reach: how, facts, factsAt: NOW };
}

function viewOf(observations: NodeObservation[], known: string | null, oneWriter = true) {
  return computeView({
    cluster: 'shop',
    durability: 'none',
    maxLagMs: 5000,
    observations,
    primary: known,
    primarySince: Number.NEGATIVE_INFINITY,
    health: { state: 'alive' },
    commit: { state: 'unknown', why: 'not written' },
    acks: 1,
    secondWriters: new Set(),
    identities: new Map(),
    aliases: new Map(),
    errant: new Map(),
    oneWriter,
  }).view;
}

/** What `self` says: a member list such as `a:P b:S c:U` (primary, secondary, unreachable primary or `u` secondary). */
function group(self: string, words: string, over: Partial<GroupFacts> = {}): GroupFacts {
  const members = words.split(' ').map((word) => {
    const [node = '', letter = ''] = word.split(':');
    const role = letter === 'P' || letter === 'U' ? ('primary' as const) : ('secondary' as const);
    const state = letter === 'U' || letter === 'u' ? 'UNREACHABLE' : letter === 'R' ? 'RECOVERING' : 'ONLINE';
    return { id: `id-${node}`, node, state, role };
  });
  const own = members.find(({ node }) => node === self);
  const unreachable = members.filter(({ state }) => state === 'UNREACHABLE').length;
  return {
    kind: 'group',
    group: 'g',
    self: `id-${self}`,
    state: own?.state ?? 'OFFLINE',
    role: own?.role ?? 'secondary',
    singlePrimary: true,
    majority: unreachable * 2 < members.length,
    view: '1:1',
    queue: 0,
    lagMs: null,
    members,
    ...over,
  };
}

describe('Group Replication', () => {
  const all = 'a:P b:S c:S';

  test('the member that its group made primary is it, also where nobody remembers one', () => {
    const nodes = [
      seen('a', group('a', all), { readOnly: false }),
      seen('b', group('b', all)),
      seen('c', group('c', all)),
    ];
    for (const known of [null, 'a']) {
      const view = viewOf(nodes, known);
      assert.equal(view.primary, 'a');
      assert.deepEqual(
        view.nodes.map(({ role, state, lagMs }) => [role, state, lagMs]),
        [
          ['primary', 'ok', 0],
          ['replica', 'ok', 0],
          ['replica', 'ok', 0],
        ],
      );
      assert.deepEqual(view.problems, []);
    }
  });

  test('nobody is chosen before every node had its chance to answer', () => {
    assert.equal(viewOf([seen('a', null, { reach: 'never' }), seen('b', group('b', all))], null).primary, null);
  });

  test('a dead primary stays the known one until the group has elected, and the elected one is followed', () => {
    const dead = seen('a', group('a', all), { readOnly: false, reach: 'refused' });
    const waiting = [dead, seen('b', group('b', 'a:U b:S c:S')), seen('c', group('c', 'a:U b:S c:S'))];
    assert.equal(viewOf(waiting, 'a').primary, 'a');
    const elected = [
      dead,
      seen('b', group('b', 'b:P c:S', { view: '1:2' }), { readOnly: false }),
      seen('c', group('c', 'b:P c:S', { view: '1:2' })),
    ];
    assert.equal(viewOf(elected, 'a').primary, 'b');
  });

  test('an elected member is no primary before it takes writes', () => {
    const dead = seen('a', group('a', all), { readOnly: false, reach: 'refused' });
    const nodes = [dead, seen('b', group('b', 'b:P c:S', { view: '1:2' }))];
    assert.equal(viewOf(nodes, 'a').primary, 'a');
  });

  test('a primary that was cut off is left although it still calls itself primary', () => {
    const minority = seen('a', group('a', 'a:P b:u c:u'), { readOnly: false });
    const majority = seen('b', group('b', 'b:P c:S', { view: '1:2' }), { readOnly: false });
    const view = viewOf([minority, majority, seen('c', group('c', 'b:P c:S', { view: '1:2' }))], 'a');
    assert.equal(view.primary, 'b');
    assert.equal(view.nodes[0]?.state, 'no-majority');
    // Before the majority has elected, it is the primary that can confirm nothing.
    const before = viewOf([minority, seen('b', group('b', 'a:U b:S c:S'))], 'a');
    assert.equal(before.nodes[0]?.state, 'no-majority');
    assert.deepEqual(
      before.problems.map(({ code }) => code),
      ['primary-no-majority'],
    );
  });

  test('of two that both see a majority the one in the later view of the group is primary, whoever is known', () => {
    const stale = seen('a', group('a', all), { readOnly: false });
    const current = seen('b', group('b', 'b:P c:S', { view: '1:2' }), { readOnly: false });
    for (const known of ['a', 'b', null]) assert.equal(viewOf([stale, current], known).primary, 'b');
  });

  test('of two groups with one name nobody switches from the one to the other', () => {
    const known = seen('a', group('a', 'a:P', { view: '1:9' }), { reach: 'refused' });
    const one = seen('b', group('b', 'b:P', { view: '2:1' }), { readOnly: false });
    const other = seen('c', group('c', 'c:P', { view: '3:1' }), { readOnly: false });
    assert.equal(viewOf([known, one, other], 'a').primary, 'a');
  });

  test('without a single primary the known one stays, and the first of the others follows it', () => {
    const words = 'a:P b:P c:P';
    const multi = (node: string) => seen(node, group(node, words, { singlePrimary: false }), { readOnly: false });
    const view = viewOf([multi('a'), multi('b'), multi('c')], 'b');
    assert.equal(view.primary, 'b');
    assert.deepEqual(
      view.nodes.map(({ state }) => state),
      ['ok', 'ok', 'ok'],
    );
    const left = (node: string) =>
      seen(node, group(node, 'a:P c:P', { singlePrimary: false, view: '1:2' }), { readOnly: false });
    assert.equal(viewOf([left('a'), seen('b', group('b', words), { reach: 'refused' }), left('c')], 'b').primary, 'a');
  });

  test('members that are joining, out or expelled are named so', () => {
    const states = (['RECOVERING', 'OFFLINE', 'ERROR'] as const).map((state) => {
      const nodes = [seen('a', group('a', all), { readOnly: false }), seen('b', group('b', all, { state }))];
      return viewOf(nodes, 'a').nodes[1]?.state;
    });
    assert.deepEqual(states, ['member-joining', 'member-out', 'member-out']);
  });

  test('a server that is only set up for a group, and replicates from a source, is a replica', () => {
    const configured = group('b', 'x:S', { state: 'OFFLINE', members: [] });
    assert.equal(topologyOf([seen('b', configured)]), 'group');
    const replica = seen('b', configured);
    assert.ok(replica.facts);
    replica.facts.replication = { sourceHost: 'a' } as never;
    assert.equal(topologyOf([replica]), 'replication');
  });

  test('an old primary is left behind when the group has it no more, or in another role', () => {
    assert.equal(leftBehind(group('b', 'b:P c:S'), 'a', 'id-a'), true);
    assert.equal(leftBehind(group('b', 'a:S b:P'), 'a', 'id-a'), true);
    assert.equal(leftBehind(group('b', 'a:U b:S c:S'), 'a', 'id-a'), false);
    // Known to us under another name than to the group.
    assert.equal(leftBehind(group('b', 'a:U b:S c:S'), 'db1', 'id-a'), false);
  });

  test('rows become facts; what the server does not tell is no member of good standing', () => {
    const settings = [
      { VARIABLE_NAME: 'group_replication_group_name', VARIABLE_VALUE: 'g' },
      { VARIABLE_NAME: 'group_replication_single_primary_mode', VARIABLE_VALUE: 'ON' },
      { VARIABLE_NAME: 'server_uuid', VARIABLE_VALUE: 'u1' },
    ];
    const member = { id: 'u1', host: 'db1', port: '3307', state: 'ONLINE', role: 'PRIMARY', view: '5:7', queue: '3' };
    const facts = groupFacts({ 'group-settings': settings, 'group-members': [member] });
    assert.deepEqual([facts?.state, facts?.role, facts?.majority, facts?.queue], ['ONLINE', 'primary', true, 3]);
    assert.deepEqual(facts?.members[0]?.node, 'db1:3307');
    assert.equal(groupFacts({ 'group-settings': [], 'group-members': [member] }), null);
    assert.equal(groupFacts({ 'group-settings': settings })?.state, 'not told to us');
    const offline = { id: '', host: '', port: null, state: 'OFFLINE', role: '', view: null, queue: null };
    assert.equal(groupFacts({ 'group-settings': settings, 'group-members': [offline] })?.state, 'OFFLINE');
  });
});

function galera(over: Partial<GaleraFacts> = {}): GaleraFacts {
  return {
    kind: 'galera',
    cluster: 'c',
    component: 'primary',
    state: 'synced',
    stateText: 'Synced',
    ready: true,
    desynced: false,
    size: 3,
    configuration: 3,
    queue: 0,
    lagMs: null,
    members: ['a', 'b', 'c'],
    ...over,
  };
}

describe('Galera', () => {
  test('the one writable member is the writer; of several the first, and the others are second writers', () => {
    const one = [seen('a', galera()), seen('b', galera(), { readOnly: false }), seen('c', galera())];
    assert.equal(viewOf(one, null).primary, 'b');
    const all = ['a', 'b', 'c'].map((node) => seen(node, galera(), { readOnly: false }));
    const states = (oneWriter: boolean) => viewOf(all, null, oneWriter).nodes.map(({ state }) => state);
    assert.equal(viewOf(all, null).primary, 'a');
    assert.deepEqual(states(true), ['ok', 'second-writer', 'second-writer']);
    assert.deepEqual(states(false), ['ok', 'ok', 'ok']);
  });

  test('the writer stays while it is silent, until another took over and the component is without it', () => {
    const silent = seen('a', galera(), { readOnly: false, reach: 'refused' });
    const still = seen('b', galera(), { readOnly: false });
    assert.equal(viewOf([silent, still, seen('c', galera())], 'a').primary, 'a');
    const without = galera({ size: 2, configuration: 4, members: ['b', 'c'] });
    assert.equal(viewOf([silent, seen('b', without, { readOnly: false }), seen('c', without)], 'a').primary, 'b');
  });

  test('a writer that gave it up to another member is followed; one of another cluster is not', () => {
    const old = seen('a', galera());
    assert.equal(viewOf([old, seen('b', galera(), { readOnly: false })], 'a').primary, 'b');
    assert.equal(viewOf([old, seen('b', galera({ cluster: 'other' }), { readOnly: false })], 'a').primary, 'a');
  });

  test('members that could not confirm, or are behind, are named and are no writers', () => {
    const cases: [Partial<GaleraFacts>, string][] = [
      [{ component: 'non-primary' }, 'no-majority'],
      [{ component: 'disconnected' }, 'member-out'],
      [{ state: 'joiner', ready: false }, 'member-joining'],
      [{ state: 'joined' }, 'member-joining'],
      [{ state: 'donor' }, 'desynced'],
      [{ desynced: true }, 'desynced'],
      [{ ready: false }, 'member-out'],
    ];
    for (const [over, state] of cases) {
      const view = viewOf([seen('a', galera(over), { readOnly: false }), seen('b', galera())], null);
      assert.deepEqual([view.primary, view.nodes[0]?.state], [null, state]);
    }
  });

  test('a component is without a member by its list, or where those that answer are all of it', () => {
    const two = galera({ size: 2, members: ['b', 'c'] });
    assert.equal(isWithout(two, 'a'), true);
    assert.equal(isWithout(galera(), 'a'), false);
    // One member did not tell its address: it could be this one.
    const untold = galera({ size: 2, members: ['b'] });
    assert.equal(isWithout(untold, 'a'), false);
    assert.equal(leftBehindBy(untold, [untold, untold]), true);
    assert.equal(leftBehindBy(untold, [untold]), false);
    assert.equal(leftBehindBy(untold, [untold, galera({ configuration: 9 })]), false);
    assert.equal(isWithout({ ...two, component: 'non-primary' }, 'a'), false);
  });

  test('rows become facts, whatever the members tell of their addresses', () => {
    const rows = (pairs: Record<string, string>) =>
      Object.entries(pairs).map(([Variable_name, Value]) => ({ Variable_name, Value }));
    const settings = rows({
      wsrep_on: 'ON',
      wsrep_provider: '/x.so',
      wsrep_desync: 'OFF',
      wsrep_reject_queries: 'NONE',
    });
    const status = (addresses: string) =>
      rows({
        wsrep_cluster_status: 'Primary',
        wsrep_local_state: '4',
        wsrep_ready: 'ON',
        wsrep_cluster_size: '3',
        wsrep_incoming_addresses: addresses,
      });
    const facts = galeraFacts({ 'galera-settings': settings, 'galera-status': status('db1:3306,AUTO,db3,,[::1]:7') });
    assert.deepEqual(facts?.members, ['db1:3306', 'db3:3306', '[::1]:7']);
    assert.deepEqual([facts?.component, facts?.state, facts?.ready], ['primary', 'synced', true]);
    assert.equal(galeraFacts({ 'galera-settings': rows({ wsrep_on: 'ON', wsrep_provider: 'none' }) }), null);
    assert.equal(galeraFacts({ 'galera-settings': settings })?.component, 'disconnected');
  });
});

describe('platforms', () => {
  const aurora = (instance: string, writer: string | null, updated = 5): AuroraFacts => ({
    kind: 'aurora',
    instance,
    writer,
    updated,
    queue: -1,
    lagMs: 12,
    members: ['a', 'b'],
  });

  test('Aurora: of two that say they write, the one in the younger view does', () => {
    const nodes = [
      seen('a:1', aurora('a', 'a', 5), { readOnly: false }),
      seen('b:1', aurora('b', 'b', 6), { readOnly: false }),
    ];
    assert.equal(viewOf(nodes, 'a:1').primary, 'b:1');
    assert.equal(viewOf([seen('a:1', aurora('a', 'a')), seen('b:1', aurora('b', 'a'))], 'a:1').primary, 'a:1');
  });

  test('Aurora: instances are found beside each other by their names, and a cluster endpoint is none', () => {
    const at = 'a.xyz.eu-west-1.rds.example.com:3306';
    assert.equal(instanceAddress(at, 'a', 'b'), 'b.xyz.eu-west-1.rds.example.com:3306');
    assert.equal(instanceAddress('shop.cluster-ro-xyz.eu.example.com:3306', 'a', 'b'), 'b.xyz.eu.example.com:3306');
    assert.equal(instanceAddress('10.0.0.1:3306', 'a', 'b'), null);
    const facts = { topology: aurora('a', 'a') } as unknown as NodeFacts;
    assert.deepEqual(membersOf(at, facts), [at, 'b.xyz.eu-west-1.rds.example.com:3306']);
    assert.deepEqual([isClusterEndpoint('shop.cluster-xyz.eu.example.com:3306'), isClusterEndpoint(at)], [true, false]);
  });

  test('a server is a platform’s by its variables, and nobody’s else', () => {
    assert.equal(platformOf(new Map([['basedir', '/usr/']])), null);
    assert.equal(platformOf(new Map([['basedir', '/rdsdbbin/mysql-8.0/']]))?.kind, 'rds');
    const own = platformOf(new Map([['aurora_server_id', 'b']]));
    assert.ok(own?.kind === 'aurora');
    const rows = [
      { instance: 'a', writer: '1', lag_ms: '0', updated: '4' },
      { instance: 'b', writer: '1', lag_ms: '7.5', updated: '9' },
    ];
    const facts = platformFacts(own, { 'platform-topology': rows });
    assert.ok(facts.kind === 'aurora');
    assert.deepEqual([facts.writer, facts.lagMs, facts.members], ['b', 7.5, ['a', 'b']]);
    assert.equal(topologyOf([seen('b', facts)]), 'aurora');
  });
});
