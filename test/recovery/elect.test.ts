// The election, as tables of what was seen and what follows, and as properties over random clusters.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { NodeFacts, NodeState, NodeView, Reach, SemiSyncFacts } from '../../src/cluster/types.ts';
import type { ClusterConfig } from '../../src/config/types.ts';
import type { Flavor } from '../../src/messages/index.ts';
import { type Election, electForFailover, type FailoverInput } from '../../src/recovery/index.ts';
import fc from '../seed.ts';

const NOW = 100_000;
const UUID = '00000000-0000-0000-0000-000000000001';

interface Replica {
  received: number;
  applied?: number;
  lagMs?: number | null;
  reach?: Reach['state'];
  state?: NodeState;
  ageMs?: number;
  factsAgeMs?: number;
  refusedAgeMs?: number;
  facts?: Partial<NodeFacts>;
  delaySeconds?: number;
  applierError?: string;
  receiver?: 'running' | 'connecting' | 'stopped';
  /** No replication at all. */
  alone?: boolean;
}

interface Scene {
  flavor?: Flavor;
  durability?: 'none' | 'semisync';
  /** The dead primary's last number; null where it was never observed. */
  primaryAt?: number | null;
  primary?: Partial<SemiSyncFacts>;
  attached?: string[];
  /** Their processes started anew since. */
  restarted?: string[];
  /** A failover that came to no end was about to promote it. */
  promised?: string;
  /** The number that a candidate must have; null where nobody wrote one down. */
  floor?: number | null;
  replicas: Replica[];
  to?: string;
  force?: boolean;
  /** What the configuration says of nodes, by number; 0 is the primary. */
  places?: Record<number, Partial<ClusterConfig['nodes'][number]>>;
  crossZone?: boolean;
}

const gtid = (flavor: Flavor, last: number) =>
  last === 0 ? '' : flavor === 'mysql' ? `${UUID}:1-${last}` : `0-1-${last}`;

function factsOf(flavor: Flavor, id: number, executed: number): NodeFacts {
  return {
    flavor,
    version: 'x',
    serverId: id,
    identity: UUID.replace(/1$/, String(id)),
    startedAtMs: 0,
    readOnly: true,
    superReadOnly: true,
    gtidExecuted: gtid(flavor, executed),
    gtidPosition: gtid(flavor, executed),
    logBin: true,
    logReplicaUpdates: true,
    replication: null,
    semiSync: null,
    replicas: [],
  };
}

const semiSync = (overrides: Partial<SemiSyncFacts>): SemiSyncFacts => ({
  sourceEnabled: true,
  sourceActive: true,
  replicaEnabled: false,
  clients: 0,
  waitForCount: 1,
  timeoutMs: 10_000,
  ...overrides,
});

function reachOf(state: Reach['state']): Reach {
  if (state === 'up') return { state, rttMs: 1 };
  return state === 'denied' ? { state, errno: 1040, error: 'too many connections' } : { state, error: 'gone' };
}

function replicaView(scene: Scene, replica: Replica, index: number): NodeView {
  const flavor = scene.flavor ?? 'mysql';
  const node = `r${index + 1}:3306`;
  const base = factsOf(flavor, index + 2, replica.applied ?? replica.received);
  const facts: NodeFacts = {
    ...base,
    semiSync:
      scene.durability === 'semisync'
        ? semiSync({ replicaEnabled: true, sourceEnabled: false, sourceActive: false })
        : null,
    replication:
      replica.alone === true
        ? null
        : {
            sourceHost: 'p',
            sourcePort: 3306,
            sourceUuid: UUID,
            receiver: replica.receiver ?? 'connecting',
            receiverError: null,
            applier: 'running',
            applierError: replica.applierError ?? null,
            delaySeconds: replica.delaySeconds ?? 0,
            lagMs: replica.lagMs === undefined ? 0 : replica.lagMs,
            received: gtid(flavor, replica.received),
            heard: '',
            semiSyncActive: false,
          },
    ...replica.facts,
  };
  const at = NOW - (replica.ageMs ?? 10);
  const factsAt = replica.factsAgeMs === undefined ? at : NOW - replica.factsAgeMs;
  return {
    node,
    role: 'replica',
    state: replica.state ?? 'ok',
    detail: '',
    lagMs: 0,
    gtid: '',
    observation: {
      node,
      at,
      reach: reachOf(replica.reach ?? 'up'),
      ...(replica.refusedAgeMs === undefined ? {} : { refusedSince: NOW - replica.refusedAgeMs }),
      facts,
      factsAt,
    },
  };
}

function inputOf(scene: Scene): FailoverInput {
  const flavor = scene.flavor ?? 'mysql';
  const primaryAt = scene.primaryAt === undefined ? 100 : scene.primaryAt;
  const primaryFacts: NodeFacts | null =
    primaryAt === null
      ? null
      : {
          ...factsOf(flavor, 1, primaryAt),
          readOnly: false,
          semiSync:
            scene.durability === 'semisync' ? semiSync({ clients: scene.replicas.length, ...scene.primary }) : null,
          replicas: scene.attached ?? [],
        };
  const primary: NodeView = {
    node: 'p:3306',
    role: 'primary',
    state: 'unreachable',
    detail: '',
    lagMs: 0,
    gtid: '',
    observation: {
      node: 'p:3306',
      at: NOW,
      reach: reachOf('refused'),
      facts: primaryFacts,
      factsAt: primaryFacts === null ? null : NOW - 200,
    },
  };
  return {
    view: {
      cluster: 'shop',
      flavor,
      primary: 'p:3306',
      nodes: [primary, ...scene.replicas.map((replica, index) => replicaView(scene, replica, index))],
      problems: [],
    },
    primary: 'p:3306',
    primaryFacts,
    primaryFactsAt: primaryFacts === null ? null : NOW - 200,
    durability: scene.durability ?? 'none',
    nowMs: NOW,
    maxAgeMs: 5_000,
    ...(scene.promised === undefined ? {} : { promised: scene.promised }),
    ...(scene.floor === undefined ? {} : { floor: scene.floor === null ? null : gtid(flavor, scene.floor) }),
    ...(scene.restarted === undefined ? {} : { restarted: new Set(scene.restarted) }),
    ...(scene.to === undefined ? {} : { to: scene.to }),
    ...(scene.force === undefined ? {} : { force: scene.force }),
    config: {
      durability: scene.crossZone === true ? 'cross-zone' : 'semisync',
      nodes: Object.entries(scene.places ?? {}).map(([index, place]) => ({
        node: index === '0' ? 'p:3306' : `r${index}:3306`,
        zone: null,
        promotion: 'neutral',
        tier: 1,
        ...place,
      })),
    },
  };
}

const show = (election: Election) =>
  election.ok
    ? `${election.candidate}${election.catchUpFrom === undefined ? '' : ` after ${election.catchUpFrom}`}: ${[election.reason, ...election.warnings].join('; ')}`
    : `refused: ${election.refusals.join('; ')}`;

const gone = { reach: 'refused', ageMs: 0, factsAgeMs: 60_000, refusedAgeMs: 59_000 } as const;

const table: [name: string, scene: Scene, expected: RegExp][] = [
  [
    'what was received counts, not what was applied',
    { replicas: [{ received: 90 }, { received: 100, applied: 50, lagMs: 900 }] },
    /^r2:/,
  ],
  [
    'MariaDB: what was received counts, not what was applied',
    { flavor: 'mariadb', replicas: [{ received: 90 }, { received: 100, applied: 50 }] },
    /^r2:/,
  ],
  [
    'of equals the one with less lag',
    {
      replicas: [
        { received: 100, applied: 10, lagMs: 500 },
        { received: 100, lagMs: 3 },
      ],
    },
    /^r2:/,
  ],
  ['of equals with equal lag the first in order', { replicas: [{ received: 100 }, { received: 100 }] }, /^r1:/],
  [
    'an unknown lag counts as the greatest',
    {
      replicas: [
        { received: 100, lagMs: null },
        { received: 100, lagMs: 7_000 },
      ],
    },
    /^r2:/,
  ],
  [
    'one that cannot be reached is passed over',
    { replicas: [{ received: 100, reach: 'silent' }, { received: 90 }] },
    /^r2:/,
  ],
  [
    'one that was not looked at lately is passed over',
    { replicas: [{ received: 100, ageMs: 60_000 }, { received: 90 }] },
    /^r2:/,
  ],
  ['one that denies us is passed over', { replicas: [{ received: 100, reach: 'denied' }, { received: 90 }] }, /^r2:/],
  [
    'one of another flavor is passed over',
    { replicas: [{ received: 100, facts: { flavor: 'mariadb', gtidPosition: '0-1-1' } }, { received: 90 }] },
    /^r2:/,
  ],
  [
    'one without a binary log is passed over',
    { replicas: [{ received: 90, facts: { logBin: false } }, { received: 90 }] },
    /^r2:/,
  ],
  [
    'one that does not log what it replicates is passed over',
    { replicas: [{ received: 90, facts: { logReplicaUpdates: false } }, { received: 90 }] },
    /^r2:/,
  ],
  [
    'one with a broken applier is passed over',
    { replicas: [{ received: 90, applierError: '1062 duplicate' }, { received: 90 }] },
    /^r2:/,
  ],
  ['one that never received anything is passed over', { replicas: [{ received: 0 }, { received: 90 }] }, /^r2:/],
  [
    'in a cluster without a transaction nobody received anything, and that is fine',
    { primaryAt: 0, replicas: [{ received: 0 }] },
    /^r1:/,
  ],
  [
    'one that replicates from nobody is passed over',
    { replicas: [{ received: 100, alone: true }, { received: 90 }] },
    /^r2:/,
  ],
  [
    'one that replicates from nobody because a failover that came to no end had detached it is not',
    { replicas: [{ received: 100, alone: true }, { received: 90 }], promised: 'r1:3306' },
    /^r1:/,
  ],
  [
    'one that is errant by its state is passed over',
    { replicas: [{ received: 100, state: 'errant' }, { received: 90 }] },
    /^r2:/,
  ],
  [
    'one that wrote something itself is passed over',
    {
      replicas: [
        { received: 100, facts: { gtidExecuted: `${UUID}:1-100,${UUID.replace(/1$/, '2')}:1` } },
        { received: 90 },
      ],
    },
    /^r2:/,
  ],
  [
    'what the primary wrote after its last observation is not errant',
    { primaryAt: 100, replicas: [{ received: 120 }] },
    /^r1:/,
  ],
  [
    'one that does not replicate is passed over',
    { replicas: [{ received: 100, alone: true }, { received: 90 }] },
    /^r2:/,
  ],
  [
    'a writable node is not promoted blindly',
    { replicas: [{ received: 100, facts: { readOnly: false } }] },
    /^refused.*second writer/,
  ],
  [
    'a delayed one is passed over where there is another',
    { replicas: [{ received: 100, delaySeconds: 3600 }, { received: 90 }] },
    /^r2:3306 after r1:3306: /,
  ],
  [
    'a delayed one is taken where there is nothing else',
    { replicas: [{ received: 100, delaySeconds: 3600 }] },
    /^r1:.*delayed on purpose/,
  ],
  [
    'who is preferred by the configuration is promoted, once it has what others received beyond it',
    { replicas: [{ received: 100 }, { received: 90 }], places: { 2: { promotion: 'prefer' } }, durability: 'semisync' },
    /^r2:3306 after r1:3306: preferred by the configuration; /,
  ],
  [
    'a lower tier comes first among those who are alike',
    { replicas: [{ received: 100 }, { received: 100 }], places: { 1: { tier: 2 }, 2: { tier: 1 } } },
    /^r2:3306: preferred/,
  ],
  [
    'one to be avoided is passed over, though it received most, and taken where there is nobody else',
    { replicas: [{ received: 100 }, { received: 90 }], places: { 1: { promotion: 'avoid' } }, durability: 'semisync' },
    /^r2:3306 after r1:3306: /,
  ],
  [
    'the one to be avoided is taken where there is nobody else',
    { replicas: [{ received: 100 }], places: { 1: { promotion: 'avoid' } } },
    /^r1:3306: .*to be avoided/,
  ],
  [
    'one that must never be promoted still gives what it alone received',
    { replicas: [{ received: 100 }, { received: 90 }], places: { 1: { promotion: 'never' } }, durability: 'semisync' },
    /^r2:3306 after r1:3306: /,
  ],
  [
    'one that must never be promoted is refused even where there is nobody else',
    { replicas: [{ received: 100 }], places: { 1: { promotion: 'never' } } },
    /^refused: .*must never be promoted/,
  ],
  [
    'cross-zone: a candidate whose writes another zone can acknowledge comes first',
    {
      replicas: [{ received: 100 }, { received: 100 }, { received: 100 }],
      durability: 'semisync',
      crossZone: true,
      places: { 0: { zone: 'a' }, 1: { zone: 'b' }, 2: { zone: 'b' }, 3: { zone: 'b', promotion: 'never' } },
    },
    /^r1:3306: /,
  ],
  [
    'cross-zone: not the one whose zone is alone with it',
    {
      replicas: [{ received: 100 }, { received: 100 }, { received: 100, reach: 'up' }],
      durability: 'semisync',
      crossZone: true,
      places: { 0: { zone: 'a' }, 1: {}, 2: { zone: 'b' }, 3: { zone: 'c' } },
    },
    /^r2:3306: /,
  ],
  [
    'nobody left is said with each reason',
    { replicas: [{ received: 9, reach: 'silent' }] },
    /^refused: no replica.*r1:3306 cannot be reached.*failover --to NODE/,
  ],
  ['a cluster of one has nobody', { replicas: [] }, /^refused.*no replica/],
  ['doubt is listed: what the primary had', { replicas: [{ received: 97 }] }, /up to 3 transactions.*98-100/],
  [
    'doubt is listed on MariaDB',
    { flavor: 'mariadb', replicas: [{ received: 97 }] },
    /up to 3 transactions.*98\.\.100/,
  ],
  ['doubt is listed: what nobody saw', { replicas: [{ received: 100 }] }, /in the 200 ms since its last observation/],
  [
    'doubt is listed: a primary that was never observed',
    { primaryAt: null, replicas: [{ received: 100 }] },
    /never observed/,
  ],
  ['the operator may choose', { replicas: [{ received: 100 }, { received: 100 }], to: 'r2:3306' }, /^r2:.*operator/],
  [
    'but not one that lacks what another has',
    { replicas: [{ received: 100 }, { received: 90 }], to: 'r2:3306' },
    /^refused.*91-100.*Promote r1/,
  ],
  [
    'unless with force, and then it is recorded',
    { replicas: [{ received: 100 }, { received: 90 }], to: 'r2:3306', force: true },
    /^r2:.*91-100/,
  ],
  ['nor one that is unfit', { replicas: [{ received: 100, applierError: 'x' }], to: 'r1:3306' }, /^refused.*--force/],
  [
    'force takes one that is unfit',
    { replicas: [{ received: 100, applierError: 'x' }], to: 'r1:3306', force: true },
    /^r1:.*broken applier/,
  ],
  [
    'force cannot reach who is out of reach',
    { replicas: [{ received: 100, reach: 'refused' }], to: 'r1:3306', force: true },
    /^refused/,
  ],
  ['a node that is none of the cluster', { replicas: [{ received: 100 }], to: 'x:1' }, /^refused: x:1 is not a node/],
  [
    'the dead primary itself',
    { replicas: [{ received: 100 }], to: 'p:3306' },
    /^refused: p:3306 is the primary that died/,
  ],

  ['semi-sync, all in reach', { durability: 'semisync', replicas: [{ received: 100 }, { received: 99 }] }, /^r1:/],
  [
    'semi-sync: one that restarted since has lost what it had acknowledged and not applied',
    { durability: 'semisync', replicas: [{ received: 100 }, { received: 99 }], restarted: ['r1:3306'] },
    /^refused.*r1:3306 restarted since and has lost its relay log/,
  ],
  [
    'semi-sync: one that restarted without having been attached has lost nothing',
    {
      durability: 'semisync',
      primary: { clients: 1 },
      attached: ['r2:3306'],
      replicas: [{ received: 100 }, { received: 100 }],
      restarted: ['r1:3306'],
    },
    /^r1:/,
  ],
  [
    'semi-sync: errant transactions put nobody ahead',
    {
      durability: 'semisync',
      replicas: [
        { received: 100 },
        {
          received: 100,
          state: 'errant',
          facts: {
            gtidExecuted: `${UUID}:1-100,${UUID.replace(/1$/, '3')}:1`,
            gtidPosition: `${UUID}:1-100,${UUID.replace(/1$/, '3')}:1`,
          },
        },
      ],
    },
    /^r1:3306: the only eligible replica(?!.*--force)/,
  ],
  [
    'semi-sync: one of two is missing and may alone have a write',
    { durability: 'semisync', replicas: [{ received: 100 }, { received: 99, reach: 'silent' }] },
    /^refused.*r2:3306.*--force/,
  ],
  [
    'semi-sync: one of two is missing, each write waited for two',
    {
      durability: 'semisync',
      primary: { waitForCount: 2 },
      replicas: [{ received: 100 }, { received: 99, reach: 'silent' }],
    },
    /^r1:/,
  ],
  [
    'semi-sync: two of three are missing, each write waited for two',
    {
      durability: 'semisync',
      primary: { waitForCount: 2 },
      replicas: [{ received: 100 }, { received: 9, reach: 'silent' }, { received: 9, reach: 'silent' }],
    },
    /^refused/,
  ],
  [
    'semi-sync: the missing one was gone already',
    {
      durability: 'semisync',
      primary: { clients: 1 },
      attached: ['r1:3306'],
      replicas: [{ received: 100 }, { received: 50, ...gone }],
    },
    /^r1:/,
  ],
  [
    'semi-sync: it was gone, but the candidate has not what the primary had then',
    {
      durability: 'semisync',
      primary: { clients: 1 },
      attached: ['r1:3306'],
      replicas: [{ received: 99 }, { received: 50, ...gone }],
    },
    /^refused/,
  ],
  [
    'semi-sync: it was gone, and the candidate has what was written down since',
    {
      durability: 'semisync',
      primary: { clients: 1 },
      attached: ['r1:3306'],
      floor: 90,
      replicas: [{ received: 99 }, { received: 50, ...gone }],
    },
    /^r1:/,
  ],
  [
    'semi-sync: it was silent when the primary last answered, and may have come back to it unseen',
    {
      durability: 'semisync',
      primary: { clients: 1 },
      attached: ['r1:3306'],
      replicas: [{ received: 100 }, { received: 50, reach: 'silent', ageMs: 0, factsAgeMs: 30_000 }],
    },
    /^refused: 1 replica/,
  ],
  [
    'semi-sync: one that was silent for long stays away while a process dies',
    {
      durability: 'semisync',
      primary: { clients: 1 },
      attached: ['r1:3306'],
      replicas: [{ received: 100 }, { received: 50, reach: 'silent', ageMs: 0, factsAgeMs: 90_000 }],
    },
    /^r1:/,
  ],
  [
    'semi-sync: its process was seen gone only after the primary had answered last',
    {
      durability: 'semisync',
      primary: { clients: 1 },
      attached: ['r1:3306'],
      replicas: [{ received: 100 }, { received: 50, ...gone, refusedAgeMs: 100 }],
    },
    /^refused: 1 replica/,
  ],
  [
    'semi-sync: the candidate has what every candidate must have',
    { durability: 'semisync', floor: 90, replicas: [{ received: 90 }] },
    /^r1:/,
  ],
  [
    'semi-sync: the candidate lacks what the primary had before',
    { durability: 'semisync', floor: 91, replicas: [{ received: 90 }] },
    /^refused: r1:3306 lacks 1 transactions.*--force/,
  ],
  [
    'semi-sync: nobody wrote down what the primary had before',
    { durability: 'semisync', floor: null, replicas: [{ received: 99 }] },
    /^refused: r1:3306 lacks 1 transactions/,
  ],
  [
    'asynchronous replication promises nothing of what the primary had before',
    { floor: 91, replicas: [{ received: 90 }] },
    /^r1:/,
  ],
  [
    'semi-sync: it was gone for us, but the primary had it',
    {
      durability: 'semisync',
      primary: { clients: 2 },
      attached: ['r1:3306', 'r2:3306'],
      replicas: [{ received: 100 }, { received: 50, ...gone }],
    },
    /^refused/,
  ],
  [
    'semi-sync: the primary counted one whom nobody can name',
    {
      durability: 'semisync',
      primary: { clients: 2 },
      attached: ['r1:3306'],
      replicas: [{ received: 100 }, { received: 50, ...gone }],
    },
    /^refused/,
  ],
  [
    'semi-sync: the primary counted a stranger',
    { durability: 'semisync', primary: { clients: 2 }, replicas: [{ received: 100 }] },
    /^refused/,
  ],
  [
    'semi-sync had fallen back to asynchronous',
    { durability: 'semisync', primary: { sourceActive: false }, replicas: [{ received: 100 }] },
    /^refused.*asynchronous.*--force/,
  ],
  [
    'semi-sync was never enabled',
    { durability: 'semisync', primary: { sourceEnabled: false }, replicas: [{ received: 100 }] },
    /^refused.*enabled/,
  ],
  [
    'semi-sync and a primary never observed',
    { durability: 'semisync', primaryAt: null, replicas: [{ received: 100 }] },
    /^refused.*never observed/,
  ],
  [
    'semi-sync: an unfit one alone has a write',
    { durability: 'semisync', replicas: [{ received: 100, applierError: 'x' }, { received: 99 }] },
    /^refused.*r1:3306 has/,
  ],
  [
    'semi-sync: force promotes, with the risk on record',
    {
      durability: 'semisync',
      replicas: [{ received: 100 }, { received: 99, reach: 'silent' }],
      to: 'r1:3306',
      force: true,
    },
    /^r1:.*r2:3306/,
  ],
];

describe('the election after a crash', () => {
  for (const [name, scene, expected] of table) {
    test(name, () => assert.match(show(electForFailover(inputOf(scene))), expected));
  }

  test('replicas that have diverged are shown to the operator', () => {
    const other = UUID.replace(/1$/, '9');
    const facts = (text: string) => ({ gtidExecuted: `${UUID}:1-90,${text}`, gtidPosition: `${UUID}:1-90,${text}` });
    const scene: Scene = {
      replicas: [
        { received: 90, facts: facts(`${other}:1`) },
        { received: 90, facts: facts(`${other}:2`) },
      ],
    };
    assert.match(show(electForFailover(inputOf(scene))), /^refused: r1:3306 and r2:3306 have diverged/);
  });
});

const anyReplica = fc.record({
  received: fc.integer({ min: 1, max: 12 }),
  lagMs: fc.option(fc.integer({ min: 0, max: 100 }), { nil: null }),
  reach: fc.constantFrom<Reach['state']>('up', 'up', 'up', 'refused', 'silent', 'denied'),
  delaySeconds: fc.constantFrom(0, 0, 0, 60),
  state: fc.constantFrom<NodeState>('ok', 'ok', 'ok', 'errant'),
});
const anyScene: fc.Arbitrary<Scene> = fc.record({
  flavor: fc.constantFrom<Flavor>('mysql', 'mariadb'),
  durability: fc.constantFrom('none', 'semisync'),
  primaryAt: fc.integer({ min: 0, max: 14 }),
  primary: fc.record({ waitForCount: fc.integer({ min: 1, max: 3 }) }),
  replicas: fc.array(anyReplica, { maxLength: 5 }),
});

describe('whatever was seen', () => {
  test('who is elected is in reach, not errant, and nobody eligible has received more', () => {
    fc.assert(
      fc.property(anyScene, (scene) => {
        const election = electForFailover(inputOf(scene));
        if (!election.ok) return election.refusals.length > 0;
        const chosen = scene.replicas[Number(election.candidate.slice(1, -5)) - 1];
        if (chosen === undefined || chosen.reach !== 'up' || chosen.state === 'errant') return false;
        const better = (one: Replica) =>
          one.reach === 'up' && one.state !== 'errant' && one.delaySeconds === 0 && one.received > chosen.received;
        return !scene.replicas.some(better);
      }),
    );
  });

  test('under semi-sync no set of acknowledging replicas is missing as a whole', () => {
    fc.assert(
      fc.property(anyScene, (scene) => {
        if (scene.durability !== 'semisync' || !electForFailover(inputOf(scene)).ok) return true;
        const missing = scene.replicas.filter((one) => one.reach !== 'up').length;
        return missing < (scene.primary?.waitForCount ?? 1);
      }),
    );
  });

  test('force never refuses where a fit replica is in reach, and what it overrides is on record', () => {
    fc.assert(
      fc.property(anyScene, (scene) => {
        const plain = electForFailover(inputOf(scene));
        const forced = electForFailover(inputOf({ ...scene, force: true }));
        if (plain.ok) return forced.ok && forced.candidate === plain.candidate;
        const fit = scene.replicas.some((one) => one.reach === 'up' && one.state !== 'errant');
        return forced.ok === fit && (!forced.ok || forced.warnings.length > 0);
      }),
    );
  });
});
