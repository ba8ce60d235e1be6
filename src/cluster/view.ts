// The view: what all observations together say about a cluster, in roles, states and problems, each with a
// sentence for the person who has to mend it. Pure; whatever must be remembered between views comes in.
import type { ClusterConfig } from '../config/types.ts';
import type { Flavor, NodeAddress } from '../messages/index.ts';
import { ANALYSIS_OF_STATE, type AnalysisName } from './analyses.ts';
import { type Ahead, errantOf } from './errant.ts';
import { gtidCount } from './gtid.ts';
import type { CommitHealth } from './heartbeat.ts';
import { choosePrimary, type PrimaryChoice } from './primary.ts';
import { chooseAmongMembers, memberVerdict, topologyOf } from './topology.ts';
import type {
  ClusterView,
  NodeFacts,
  NodeObservation,
  NodeState,
  NodeView,
  PrimaryHealth,
  Problem,
  ReplicationFacts,
  ServerGreeting,
} from './types.ts';

/** An observation of a node that was never looked at. */
export function unobserved(node: NodeAddress): NodeObservation {
  return { node, at: -1, reach: { state: 'silent', error: 'not looked at yet' }, facts: null, factsAt: null };
}

export interface ViewInput {
  cluster: string;
  durability: ClusterConfig['durability'];
  /** How many replicas a commit shall wait for. */
  acks: number;
  /** Beyond it a replica is `lagging`. */
  maxLagMs: number;
  /** Seeds first, then in the order in which they were found. */
  observations: readonly NodeObservation[];
  /** The primary as far as known. */
  primary: NodeAddress | null;
  /** When a recovery made it so; smaller than all where it was merely found. */
  primarySince: number;
  /** Who was made or remembered as the primary; absent: `primary`, however that came about. */
  remembered?: NodeAddress | null;
  /** Whom a recovery that came to no end was about to promote. */
  promised?: NodeAddress | null;
  health: PrimaryHealth;
  /** Whether it commits. */
  commit: CommitHealth;
  secondWriters: ReadonlySet<NodeAddress>;
  /** Those of them that were primary; absent: none. */
  demoted?: ReadonlySet<NodeAddress>;
  /** Identity by node, as it was first seen or is remembered. */
  identities: ReadonlyMap<NodeAddress, string>;
  /** Other names of nodes, as their replicas or their admins call them. */
  aliases: ReadonlyMap<NodeAddress, NodeAddress>;
  /** Errant transactions by node as last found: a verdict outlives the moments in which it cannot be checked. */
  errant: ReadonlyMap<NodeAddress, string>;
  /** Replicas that had executed what the primary may have been committing still; absent: none. */
  ahead?: ReadonlyMap<NodeAddress, Ahead>;
  /** Galera: all members but one are kept read-only. Absent: they are. */
  oneWriter?: boolean;
}

/** One view, why its primary is the primary, and what the next view must know of this one. */
export interface ViewResult {
  view: ClusterView;
  choice: PrimaryChoice;
  errant: ReadonlyMap<NodeAddress, string>;
  ahead: ReadonlyMap<NodeAddress, Ahead>;
}

/** What the next view must know of this one. */
export type Verdicts = Pick<ViewResult, 'errant' | 'ahead'>;

export const NO_VERDICTS: Verdicts = { errant: new Map(), ahead: new Map() };

interface Context {
  input: ViewInput;
  flavor: Flavor | null;
  primary: NodeAddress | null;
  primaryObservation: NodeObservation | null;
  sourceOf: (facts: NodeFacts) => NodeAddress | null;
  /** Filled while nodes are judged. */
  errant: Map<NodeAddress, string>;
  ahead: Map<NodeAddress, Ahead>;
}

type Verdict = { state: NodeState; detail: string };

const OK: Verdict = { state: 'ok', detail: '' };

/** The name in our list under which `facts`' source is known; null where it follows none of ours. */
function sourceFinder(input: ViewInput): (facts: NodeFacts) => NodeAddress | null {
  const nodes = new Set(input.observations.map(({ node }) => node));
  const byIdentity = new Map<string, NodeAddress>();
  for (const { node, facts } of input.observations) if (facts !== null) byIdentity.set(facts.identity, node);
  return ({ replication }) => {
    if (replication === null) return null;
    const { sourceHost, sourcePort, sourceUuid } = replication;
    const address = sourceHost.includes(':') ? `[${sourceHost}]:${sourcePort}` : `${sourceHost}:${sourcePort}`;
    if (nodes.has(address)) return address;
    return input.aliases.get(address) ?? (sourceUuid === null ? null : (byIdentity.get(sourceUuid) ?? null));
  };
}

function sameIdentity(input: ViewInput, { node, facts }: NodeObservation): boolean {
  const known = input.identities.get(node);
  return facts === null || known === undefined || known === facts.identity;
}

function reachVerdict({ reach, at }: NodeObservation): Verdict | null {
  if (at < 0) return { state: 'discovering', detail: 'not looked at yet' };
  switch (reach.state) {
    case 'up':
      return null;
    case 'refused':
      return { state: 'unreachable', detail: `connection refused: the server process is not running (${reach.error})` };
    case 'silent':
      return { state: 'unreachable', detail: `no answer: ${reach.error}` };
    case 'denied':
      return { state: 'denied', detail: `the server answers but does not let us in: ${reach.errno} ${reach.error}` };
    default:
      throw new Error(`unknown reach: ${JSON.stringify(reach satisfies never)}`);
  }
}

function errantVerdict(facts: NodeFacts, errant: string): Verdict {
  const count = gtidCount(facts.flavor, errant);
  const what = count === 1 ? '1 transaction' : `${count} transactions`;
  return {
    state: 'errant',
    detail: `has ${what} that the primary has not; look into it, then rebuild the node or replay on the primary: ${errant}`,
  };
}

/** Whether the chain of sources above `facts` ends at the primary. */
function followsPrimary(context: Context, facts: NodeFacts): boolean {
  const byNode = new Map(context.input.observations.map((one) => [one.node, one.facts]));
  let at = context.sourceOf(facts);
  for (let hops = 0; hops <= byNode.size && at !== null; hops++) {
    if (at === context.primary) return true;
    const next: NodeFacts | null = byNode.get(at) ?? null;
    at = next === null ? null : context.sourceOf(next);
  }
  return false;
}

function replicationVerdict(context: Context, facts: NodeFacts, replication: ReplicationFacts): Verdict {
  const source = `${replication.sourceHost}:${replication.sourcePort}`;
  const primaryUp = context.primaryObservation?.reach.state === 'up';
  if (replication.applier === 'stopped') {
    return replication.applierError === null
      ? { state: 'replication-stopped', detail: 'the applier is stopped: START REPLICA SQL_THREAD' }
      : { state: 'replication-broken', detail: `the applier stopped on error ${replication.applierError}` };
  }
  // While the primary is away no receiver can do its work (MySQL's gives up after some attempts): not their fault.
  const waiting = replication.receiver !== 'running' && replication.receiverError !== null && !primaryUp;
  if (replication.receiver === 'stopped' && !waiting) {
    return replication.receiverError === null
      ? { state: 'replication-stopped', detail: 'the receiver is stopped: START REPLICA IO_THREAD' }
      : { state: 'replication-broken', detail: `the receiver stopped on error ${replication.receiverError}` };
  }
  if (context.primary !== null && !followsPrimary(context, facts)) {
    return { state: 'replication-wrong-source', detail: `follows ${source}, not the primary ${context.primary}` };
  }
  if (replication.receiver !== 'running') {
    const detail = `cannot reach its source ${source}: ${replication.receiverError ?? 'connecting'}`;
    return { state: primaryUp && replication.receiverError !== null ? 'replication-broken' : 'ok', detail };
  }
  if (replication.delaySeconds > 0) {
    return { state: 'delayed', detail: `applies ${replication.delaySeconds} s later on purpose` };
  }
  if (replication.lagMs !== null && replication.lagMs > context.input.maxLagMs) {
    return { state: 'lagging', detail: `${Math.round(replication.lagMs)} ms behind the primary` };
  }
  return OK;
}

function verdictOf(context: Context, observation: NodeObservation): Verdict {
  const { input, primary } = context;
  const { node, facts } = observation;
  const unreachable = reachVerdict(observation);
  if (unreachable !== null) return unreachable;
  if (facts === null) return { state: 'discovering', detail: 'answers, but has not told its state yet' };
  if (context.flavor !== null && facts.flavor !== context.flavor) {
    return { state: 'other-flavor', detail: `is ${facts.flavor}, the cluster is ${context.flavor}` };
  }
  if (!sameIdentity(input, observation)) {
    const was = input.identities.get(node) ?? '';
    return {
      state: 'identity-changed',
      detail: `another server answers here: identity was ${was}, is ${facts.identity}`,
    };
  }
  const asMember = memberVerdict(facts, node === primary, input.oneWriter ?? true);
  if (asMember !== null) return asMember;
  if (node === primary) {
    if (!facts.readOnly) return OK;
    return { state: 'read-only-primary', detail: 'the primary is read-only: it takes no writes' };
  }
  if (!facts.readOnly) {
    const beside = primary === null ? 'it is not the only one' : `the primary is ${primary}`;
    return { state: 'second-writer', detail: `takes writes, but ${beside}: SET GLOBAL read_only = ON` };
  }
  const { ahead, errant } = errantOf({
    node: observation,
    facts,
    primary: context.primaryObservation,
    follows: followsPrimary(context, facts),
    stuck: input.commit.state === 'stuck',
    before: { errant: input.errant.get(node) ?? null, ahead: input.ahead?.get(node) ?? null },
  });
  if (ahead !== null) context.ahead.set(node, ahead);
  if (errant !== null) {
    context.errant.set(node, errant);
    return errantVerdict(facts, errant);
  }
  if (facts.replication === null) return { state: 'not-replicating', detail: 'is read-only and follows nobody' };
  return replicationVerdict(context, facts, facts.replication);
}

function nodeView(context: Context, observation: NodeObservation): NodeView {
  const { node, facts } = observation;
  const isPrimary = node === context.primary;
  const verdict = verdictOf(context, observation);
  const follows = facts !== null && (facts.replication !== null || (facts.topology ?? null) !== null);
  const replica = follows && verdict.state !== 'identity-changed';
  return {
    node,
    role: isPrimary ? 'primary' : replica ? 'replica' : 'unknown',
    ...verdict,
    lagMs: isPrimary ? 0 : observation.reach.state === 'up' ? lagOf(facts) : null,
    gtid: facts?.gtidExecuted ?? '',
    observation,
  };
}

/** A member with nothing left to apply is not behind; with something left nobody says by how much. */
function lagOf(facts: NodeFacts | null): number | null {
  const own = facts?.topology ?? null;
  if (own === null || facts?.replication != null) return facts?.replication?.lagMs ?? null;
  return own.queue === 0 ? 0 : own.lagMs;
}

function semiSyncProblem(context: Context): Problem[] {
  const { input, primaryObservation, primary } = context;
  if (input.durability === 'none' || primary === null || primaryObservation?.reach.state !== 'up') return [];
  const semiSync = primaryObservation.facts?.semiSync ?? null;
  if (input.durability === 'detect' && semiSync?.sourceEnabled !== true) return [];
  const problem = (text: string): Problem[] => [{ code: 'semisync-degraded', node: primary, text }];
  if (semiSync === null) return problem('semi-sync is asked for, but the plug-in is not installed on the primary');
  if (!semiSync.sourceEnabled) return problem('semi-sync is asked for, but it is switched off on the primary');
  const need = Math.max(1, semiSync.waitForCount);
  if (input.durability !== 'detect' && need < input.acks) {
    return problem(`semi-sync: commits wait for ${need} replica, ${input.acks} are asked for`);
  }
  if (semiSync.clients < need) return problem(`semi-sync: ${semiSync.clients} of ${need} replicas acknowledge`);
  if (!semiSync.sourceActive) return problem('semi-sync timed out: commits do not wait for a replica now');
  return [];
}

function noPrimaryText(choice: PrimaryChoice): string {
  switch (choice.why) {
    case 'discovering':
      return 'no primary yet: still looking at the nodes';
    case 'no-writer':
      return 'no primary: no node that answers takes writes';
    case 'writer-without-followers':
      return 'no primary: the only node that takes writes is followed by nobody, the replicas follow another';
    case 'two-writers':
      return 'no primary: several nodes take writes and none of them follows another; make all but one read-only';
    case 'known':
    case 'promised':
    case 'returned':
    case 'only-writer':
    case 'followed-by-writers':
    case 'moved-by-hand':
    case 'elected':
    case 'first-writer':
      return '';
    default:
      throw new Error(`unknown choice: ${JSON.stringify(choice satisfies never)}`);
  }
}

function primaryProblems(context: Context, choice: PrimaryChoice): Problem[] {
  const { primary, primaryObservation, input } = context;
  if (primary === null) return [{ code: 'no-primary', text: noPrimaryText(choice) }];
  if (input.health.state === 'dead') {
    return [{ code: 'primary-dead', node: primary, text: `the primary is dead: ${input.health.reason}` }];
  }
  if (input.health.state === 'suspect') {
    const code = input.health.heardBy === undefined ? 'primary-suspect' : 'primary-out-of-our-reach';
    return [{ code, node: primary, text: `the primary is in doubt: ${input.health.reason}` }];
  }
  const facts = primaryObservation?.reach.state === 'up' ? primaryObservation.facts : null;
  if (facts?.readOnly === true) {
    return [{ code: 'primary-read-only', node: primary, text: 'the primary is read-only: it takes no writes' }];
  }
  const problems: Problem[] = [];
  if (input.commit.state === 'stuck') {
    const { analysis, reason } = input.commit;
    problems.push({ code: analysis, node: primary, text: `the primary answers, but ${reason}` });
  }
  if (input.commit.state === 'ok' && input.commit.degraded !== undefined) {
    const { latencyMs, usualMs } = input.commit.degraded;
    const text = `commits on the primary take ${Math.round(latencyMs)} ms, usually ${usualMs.toFixed(1)} ms`;
    problems.push({ code: 'primary-degraded', node: primary, text });
  }
  const activity = facts?.activity;
  if (activity !== undefined && activity.connected >= activity.maxConnections) {
    const text = `all of the primary's max_connections = ${activity.maxConnections} are used`;
    problems.push({ code: 'primary-connections-used-up', node: primary, text });
  }
  return problems;
}

/** What is not told of the primary already (see primaryProblems). */
function primaryAnalysis(state: NodeState): AnalysisName | null {
  switch (state) {
    case 'identity-changed':
      return 'primary-replaced';
    case 'denied':
      return 'primary-denied';
    case 'no-majority':
      return 'primary-no-majority';
    case 'member-out':
    case 'member-joining':
      return 'primary-out-of-group';
    case 'desynced':
      return 'member-desynced';
    default:
      return null;
  }
}

function problemsOf(context: Context, nodes: readonly NodeView[], choice: PrimaryChoice): Problem[] {
  const problems = primaryProblems(context, choice);
  const writers = nodes.filter((one) => one.state === 'second-writer');
  const primaryWrites = nodes.some((one) => one.role === 'primary' && one.state === 'ok');
  if (writers.length + (primaryWrites ? 1 : 0) > 1) {
    const names = nodes.filter((one) => one.state === 'second-writer' || (one.role === 'primary' && primaryWrites));
    const [second] = writers;
    problems.push({
      code: 'two-writers',
      ...(second === undefined ? {} : { node: second.node }),
      text: `several nodes take writes: ${names.map(({ node }) => node).join(', ')}`,
    });
  }
  if (nodes.some(({ state }) => state === 'other-flavor')) {
    problems.push({ code: 'mixed-flavors', text: 'MySQL and MariaDB are mixed in this cluster' });
  }
  for (const { node, role, state, detail } of nodes) {
    const code = role === 'primary' ? primaryAnalysis(state) : ANALYSIS_OF_STATE[state];
    if (code !== null) problems.push({ code, node, text: `${node} ${state}: ${detail}` });
  }
  return [...problems, ...semiSyncProblem(context)];
}

/** The flavor of the primary; without one that of most nodes, the first seen where they are even. */
function flavorOf(input: ViewInput, primary: NodeAddress | null): Flavor | null {
  const ofPrimary = input.observations.find(({ node }) => node === primary)?.facts?.flavor;
  if (ofPrimary !== undefined) return ofPrimary;
  const flavors = input.observations.flatMap(({ facts }) => (facts === null ? [] : [facts.flavor]));
  const mysql = flavors.filter((flavor) => flavor === 'mysql').length;
  if (mysql * 2 === flavors.length) return flavors[0] ?? null;
  return mysql * 2 > flavors.length ? 'mysql' : 'mariadb';
}

/** A verdict is kept over times in which the node cannot be judged, and dropped when it is judged otherwise. */
function cleared(context: Context, nodes: readonly NodeView[], node: NodeAddress): boolean {
  const view = nodes.find((one) => one.node === node);
  if (view === undefined || node === context.primary) return true;
  return view.observation.reach.state === 'up' && !context.errant.has(node) && view.state !== 'second-writer';
}

/** Roles, states and problems of all nodes. */
export function computeView(input: ViewInput): ViewResult {
  const sourceOf = sourceFinder(input);
  const topology = topologyOf(input.observations);
  const seen = {
    observations: input.observations,
    known: input.primary,
    knownSince: input.primarySince,
    remembered: input.remembered ?? null,
    promised: input.promised ?? null,
    sameIdentity: (observation: NodeObservation) => sameIdentity(input, observation),
  };
  const choice =
    topology === 'replication' || topology === 'rds'
      ? choosePrimary({
          ...seen,
          knownHealth: input.health,
          secondWriters: input.secondWriters,
          demoted: input.demoted ?? new Set(),
          sourceOf,
        })
      : chooseAmongMembers(topology, seen);
  const primary = choice.node;
  const flavor = flavorOf(input, primary);
  const primaryObservation = input.observations.find(({ node }) => node === primary) ?? null;
  const context: Context = {
    input,
    flavor,
    primary,
    primaryObservation,
    sourceOf,
    errant: new Map(),
    ahead: new Map(),
  };
  const nodes = input.observations.map((observation) => nodeView(context, observation));
  return {
    choice,
    errant: new Map([...input.errant, ...context.errant].filter(([node]) => !cleared(context, nodes, node))),
    ahead: context.ahead,
    view: { cluster: input.cluster, flavor, topology, primary, nodes, problems: problemsOf(context, nodes, choice) },
  };
}

/** How the primary (or, without one, any node) greets its clients; null where none was seen. */
export function greetingIn(view: ClusterView, primary: NodeAddress | null): ServerGreeting | null {
  const greetings = view.nodes.filter(({ observation }) => observation.facts?.greeting !== undefined);
  const from = greetings.find(({ node }) => node === primary) ?? greetings[0];
  return from?.observation.facts?.greeting ?? null;
}

export function usesSemiSync(view: ClusterView): boolean {
  return view.nodes.some(({ observation }) => {
    const semiSync = observation.facts?.semiSync;
    return semiSync?.sourceEnabled === true || semiSync?.replicaEnabled === true;
  });
}
