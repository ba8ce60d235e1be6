// Who is promoted when a primary has died: a pure function of the last look at all nodes. What a replica has
// RECEIVED counts, applied or not, since it will apply it before it is promoted. Where the durability policy is
// semi-sync the election refuses rather than lose a write that a client was told is safe (see durability.ts).
import { byPreference, mayAcknowledge, placementOf } from '../cluster/index.ts';
import type { ClusterView, NodeFacts, NodeView } from '../cluster/types.ts';
import type { ClusterConfig } from '../config/types.ts';
import type { Flavor, NodeAddress } from '../messages/index.ts';
import { acknowledgedWritesAtRisk } from './durability.ts';
import { covers, hasNothing, missingFrom, ownTransactionsBeyond, receivedBy, receivedFromOthers } from './gtids.ts';
import { isReachable } from './look.ts';
import { isDirect } from './tiers.ts';

export interface FailoverInput {
  /** The last look at all nodes; the order of its nodes (seeds first) breaks the last tie. */
  view: ClusterView;
  /** The primary that died. */
  primary: NodeAddress;
  /** What it said when it last answered, and when (monotonic, ms); null where it never did. */
  primaryFacts: NodeFacts | null;
  primaryFactsAt: number | null;
  durability: 'none' | 'semisync';
  /** Nodes whose process started anew since the primary was last heard: what they had received, not applied, is gone. */
  restarted?: ReadonlySet<NodeAddress>;
  /** Under semi-sync: a position of the primary's that a candidate must have; null where none is known. See floor.ts. */
  floor?: string | null;
  /** Was perhaps promoted already, by a failover that came to no end. */
  promised?: NodeAddress | null;
  /** Nodes that operators took out of service: promoted only where nobody else has received as much. */
  outOfService?: ReadonlySet<NodeAddress>;
  /** Monotonic, ms. */
  nowMs: number;
  /** An observation older than this says nothing of the present: the node counts as unreachable. */
  maxAgeMs: number;
  /** Zones and preferences; absent: nothing is preferred. */
  config?: Pick<ClusterConfig, 'nodes' | 'durability'>;
  /** The operator's choice. */
  to?: NodeAddress;
  /** The operator accepts that writes may be lost and, with `to`, a candidate that would not be eligible. */
  force?: boolean;
}

export type Election =
  | {
      ok: true;
      candidate: NodeAddress;
      /** Received more than the candidate, which follows it until it has that, too, before it is promoted. */
      catchUpFrom?: NodeAddress;
      reason: string;
      /** Doubts that belong into the record, first of all writes that the candidate has not. */
      warnings: string[];
    }
  | {
      ok: false;
      /** One sentence each: what speaks against it, and what an operator can do. */
      refusals: string[];
    };

/** A replica that answered the last look. */
export interface Contender {
  node: NodeAddress;
  facts: NodeFacts;
  /** GTIDs that it has, applied or not. */
  received: string;
  /** It follows the primary itself, not another replica. */
  direct: boolean;
  lagMs: number;
  /** Place in the view's order. */
  order: number;
}

type Fitness =
  | { fit: 'yes' }
  /** Only where there is nobody else. */
  | { fit: 'last-resort'; why: string }
  /** Only where the operator names it, with force. */
  | { fit: 'no'; why: string }
  | { fit: 'never'; why: string };

const NO_PLACES: Pick<ClusterConfig, 'nodes' | 'durability'> = { nodes: [], durability: 'none' };

function unreachableText(view: NodeView, nowMs: number, maxAgeMs: number): string {
  const { reach, at } = view.observation;
  if (reach.state === 'up') {
    return nowMs - at > maxAgeMs ? `was last seen ${Math.round(nowMs - at)} ms ago` : 'has told nothing of itself yet';
  }
  return `cannot be reached (${reach.error})`;
}

/** Whether a replica's settings and its replication allow it to be a primary at all; used by switchovers too. */
export function replicaFault(facts: NodeFacts): string | null {
  if (!facts.logBin) return 'has no binary log (log_bin=OFF)';
  if (!facts.logReplicaUpdates) return 'does not log what it replicates (log_replica_updates=OFF)';
  const { replication } = facts;
  if (replication === null) return 'does not replicate from anyone';
  if (replication.applierError !== null && replication.applierError !== '') {
    return `has a broken applier (${replication.applierError})`;
  }
  return null;
}

function fitness(view: NodeView, input: FailoverInput, flavor: Flavor | null): Fitness {
  const { facts } = view.observation;
  if (view.node === input.primary) return { fit: 'never', why: 'is the primary that died' };
  if (facts === null || !isReachable(view, input.nowMs, input.maxAgeMs)) {
    return { fit: 'never', why: unreachableText(view, input.nowMs, input.maxAgeMs) };
  }
  if (flavor !== null && facts.flavor !== flavor) return { fit: 'never', why: `is ${facts.flavor}, not ${flavor}` };
  if (!facts.readOnly) return { fit: 'no', why: 'is writable already: a second writer, look at it first' };
  const errant = errantTransactions(view, facts, input.primaryFacts);
  if (errant !== null) return { fit: 'no', why: `has errant transactions (${errant})` };
  const fault = view.node === input.promised && facts.replication === null ? null : replicaFault(facts);
  if (fault !== null) return { fit: 'no', why: fault };
  const { replication } = facts;
  const anythingToReceive = input.primaryFacts === null || !hasNothing(facts.flavor, input.primaryFacts.gtidPosition);
  if (replication?.receiver !== 'running' && anythingToReceive && hasNothing(facts.flavor, receivedBy(facts))) {
    return { fit: 'no', why: 'never received anything from its source' };
  }
  const { promotion } = placementOf(input.config ?? NO_PLACES, view.node);
  if (promotion === 'never') return { fit: 'no', why: 'must never be promoted (promotion: never)' };
  if (promotion === 'avoid') return { fit: 'last-resort', why: 'is to be avoided (promotion: avoid)' };
  if (replication !== null && replication.delaySeconds > 0) {
    return { fit: 'last-resort', why: `is delayed on purpose by ${replication.delaySeconds} s` };
  }
  return { fit: 'yes' };
}

/** Transactions that a replica made itself, as text; null where there are none. */
function errantTransactions(view: NodeView, facts: NodeFacts, primaryFacts: NodeFacts | null): string | null {
  if (view.state === 'errant') return view.detail === '' ? 'seen while the primary lived' : view.detail;
  // A primary that was observed read-only was not yet primary then: what others wrote since is not errant.
  if (primaryFacts === null || primaryFacts.readOnly || primaryFacts.flavor !== facts.flavor) return null;
  // What the primary wrote after its last observation is not errant, so only the node's own handwriting counts.
  const own = ownTransactionsBeyond(facts, primaryFacts);
  return own.count === 0 ? null : own.text;
}

/** All replicas that answered the last look and speak the cluster's flavor, eligible or not. */
export function contenders(input: FailoverInput): Contender[] {
  const flavor = clusterFlavor(input);
  const found: Contender[] = [];
  for (const [order, view] of input.view.nodes.entries()) {
    const { facts } = view.observation;
    if (facts === null || view.node === input.primary || facts.flavor !== flavor) continue;
    if (!isReachable(view, input.nowMs, input.maxAgeMs)) continue;
    const lagMs = facts.replication?.lagMs ?? Number.POSITIVE_INFINITY;
    const direct = isDirect(input.view, view.node, input.primary);
    found.push({ node: view.node, facts, received: receivedBy(facts), direct, lagMs, order });
  }
  return found;
}

function clusterFlavor(input: FailoverInput): Flavor | null {
  return input.primaryFacts?.flavor ?? input.view.flavor;
}

/** Those than whom nobody has received more; several where they are equal, or where histories diverge. */
function mostAdvanced(flavor: Flavor, among: Contender[]): Contender[] {
  const ahead = (a: Contender, b: Contender) =>
    covers(flavor, a.received, b.received) && !covers(flavor, b.received, a.received);
  return among.filter((one) => !among.some((other) => ahead(other, one)));
}

function byTie(a: Contender, b: Contender): number {
  if (a.direct !== b.direct) return a.direct ? -1 : 1;
  if (a.lagMs !== b.lagMs) return a.lagMs < b.lagMs ? -1 : 1;
  return a.order - b.order;
}

/** Chooses who is promoted after the death of `input.primary`, or says why nobody is. */
export function electForFailover(input: FailoverInput): Election {
  const flavor = clusterFlavor(input);
  if (flavor === null) {
    return { ok: false, refusals: ['no node has told its flavor yet: nothing is known of this cluster'] };
  }
  const chosen = input.to === undefined ? chooseBest(input, flavor) : chooseNamed(input, flavor, input.to);
  if (!chosen.ok) return chosen;
  const { candidate, ahead } = chosen;
  if (ahead === undefined) return judge(input, flavor, candidate, chosen.warnings, chosen.reason);
  const judged = judge(input, flavor, { ...candidate, received: ahead.received }, chosen.warnings, chosen.reason);
  return judged.ok ? { ...judged, catchUpFrom: ahead.node } : judged;
}

type Choice =
  | { ok: true; candidate: Contender; ahead?: Contender; reason: string; warnings: string[] }
  | { ok: false; refusals: string[] };

function chooseBest(input: FailoverInput, flavor: Flavor): Choice {
  const all = contenders(input);
  const rejected: string[] = [];
  const fit: Contender[] = [];
  const lastResort: Contender[] = [];
  const warnings: string[] = [];
  for (const view of input.view.nodes) {
    const verdict = fitness(view, input, flavor);
    const contender = all.find((one) => one.node === view.node);
    if (verdict.fit === 'yes' && contender !== undefined) fit.push(contender);
    else if (verdict.fit === 'last-resort' && contender !== undefined) lastResort.push(contender);
    if (verdict.fit !== 'yes' && view.node !== input.primary) rejected.push(`${view.node} ${verdict.why}`);
  }
  const pool = fit.length > 0 ? fit : lastResort;
  if (pool.length === 0) {
    const why = rejected.length === 0 ? 'the cluster has no replica' : rejected.join('; ');
    return {
      ok: false,
      refusals: [`no replica can be promoted: ${why}. Bring one back, or name one: failover --to NODE --force`],
    };
  }
  if (fit.length === 0) warnings.push(...rejected);
  const out = (one: Contender): number => Number(input.outOfService?.has(one.node) ?? false);
  const { preferred, why } = preferredOf(input, pool);
  const best = mostAdvanced(flavor, preferred).sort((a, b) => out(a) - out(b) || byTie(a, b));
  const [first, second] = best;
  if (first === undefined) return { ok: false, refusals: ['no replica is the most advanced one'] };
  const sound = [...fit, ...lastResort, ...all.filter(({ node }) => isOnlyUnwanted(input, flavor, node))];
  const ahead = mostAdvanced(flavor, sound).find(
    (one) => covers(flavor, one.received, first.received) && !covers(flavor, first.received, one.received),
  );
  const diverged = best.find((other) => !covers(flavor, first.received, other.received));
  if (diverged !== undefined) {
    const extra = missingFrom(flavor, first.received, diverged.received).text;
    const text = `${first.node} and ${diverged.node} have diverged: ${diverged.node} alone has ${extra}`;
    if (input.force !== true) {
      return { ok: false, refusals: [`${text}. Look at both, then choose: failover --to NODE --force`] };
    }
    warnings.push(text);
  }
  const reason =
    pool.length === 1
      ? 'the only eligible replica'
      : second === undefined
        ? `the most advanced of ${pool.length} eligible replicas`
        : `as advanced as ${best.length - 1} other(s) of ${pool.length}, with the least lag or first in order`;
  if (ahead === undefined) return { ok: true, candidate: first, reason: why + reason, warnings };
  const text = `${why}${reason}; it gets what ${ahead.node} received beyond it first`;
  return { ok: true, candidate: first, ahead, reason: text, warnings };
}

/** Those that the configuration prefers, and of them those whose writes could be acknowledged, if there are any. */
function preferredOf(input: FailoverInput, pool: Contender[]): { preferred: Contender[]; why: string } {
  const config = input.config ?? NO_PLACES;
  const [top] = pool.toSorted((a, b) => byPreference(config, a.node, b.node));
  const preferred = pool.filter((one) => top !== undefined && byPreference(config, one.node, top.node) === 0);
  const why = preferred.length < pool.length ? 'preferred by the configuration; ' : '';
  if (input.durability !== 'semisync' || config.durability !== 'cross-zone') return { preferred, why };
  const reachable = contenders(input);
  const served = preferred.filter((one) => reachable.some((other) => mayAcknowledge(config, other.node, one.node)));
  return { preferred: served.length > 0 ? served : preferred, why };
}

/** Whether only `promotion: never` speaks against it: it may not be promoted, but others may follow it. */
function isOnlyUnwanted(input: FailoverInput, flavor: Flavor, node: NodeAddress): boolean {
  const view = input.view.nodes.find((one) => one.node === node);
  if (view === undefined || input.config === undefined) return false;
  if (placementOf(input.config, node).promotion !== 'never') return false;
  const { config: _, ...without } = input;
  return fitness(view, without, flavor).fit !== 'no';
}

function chooseNamed(input: FailoverInput, flavor: Flavor, to: NodeAddress): Choice {
  const view = input.view.nodes.find((one) => one.node === to);
  if (view === undefined) {
    const known = input.view.nodes.map((one) => one.node).join(', ');
    return { ok: false, refusals: [`${to} is not a node of this cluster (${known})`] };
  }
  const verdict = fitness(view, input, flavor);
  const candidate = contenders(input).find((one) => one.node === to);
  if (verdict.fit === 'never' || candidate === undefined) {
    return { ok: false, refusals: [`${to} ${verdict.fit === 'yes' ? 'did not answer' : verdict.why}`] };
  }
  const warnings: string[] = [];
  if (verdict.fit !== 'yes') {
    const text = `${to} ${verdict.why}`;
    if (verdict.fit === 'no' && input.force !== true) {
      return { ok: false, refusals: [`${text}. To promote it all the same: failover --to ${to} --force`] };
    }
    warnings.push(text);
  }
  return { ok: true, candidate, reason: 'named by the operator', warnings };
}

/** The candidate stands: what would be lost with it, and is that allowed? */
function judge(input: FailoverInput, flavor: Flavor, candidate: Contender, before: string[], reason: string): Election {
  const warnings = [...before];
  const refusals: string[] = [];
  const force = input.force === true;
  for (const other of contenders(input)) {
    const received = comparable(input, other);
    if (other.node === candidate.node || covers(flavor, candidate.received, received)) continue;
    const missing = missingFrom(flavor, candidate.received, received);
    const text = `${other.node} has ${missing.text}, which ${candidate.node} has not`;
    // Somebody better is to be had, or one of these may have been acknowledged: not without the operator's word.
    const matters = input.to !== undefined || input.durability === 'semisync';
    if (matters && !force) {
      refusals.push(`${text}. Promote ${other.node}, or accept the loss: failover --to ${candidate.node} --force`);
    } else warnings.push(text);
  }
  if (input.durability === 'semisync') {
    const risk = acknowledgedWritesAtRisk(input, flavor, candidate);
    warnings.push(...risk.warnings);
    for (const text of risk.refusals) {
      if (force) warnings.push(text);
      else refusals.push(`${text}. To accept the loss: failover --to ${candidate.node} --force`);
    }
  }
  warnings.push(...lostAtLastObservation(input, flavor, candidate));
  if (refusals.length > 0) return { ok: false, refusals };
  return { ok: true, candidate: candidate.node, reason, warnings };
}

/** What `other` has of the primary's. */
function comparable({ primaryFacts }: FailoverInput, other: Contender): string {
  if (primaryFacts === null || primaryFacts.readOnly || primaryFacts.flavor !== other.facts.flavor) {
    return other.received;
  }
  return receivedFromOthers(other.facts, primaryFacts);
}

/** What the dead primary had when it last answered and the candidate has not. */
function lostAtLastObservation(input: FailoverInput, flavor: Flavor, candidate: Contender): string[] {
  const { primary, primaryFacts, primaryFactsAt } = input;
  if (primaryFacts === null || primaryFactsAt === null) {
    return [`${primary} was never observed, so nobody can say which of its transactions ${candidate.node} lacks`];
  }
  const missing = missingFrom(flavor, candidate.received, primaryFacts.gtidPosition);
  const age = Math.max(0, Math.round(input.nowMs - primaryFactsAt));
  const told =
    input.durability === 'semisync'
      ? 'under semi-sync no client was told that they are safe'
      : 'clients may have been told that they are safe';
  const warnings: string[] = [];
  if (missing.count > 0) {
    warnings.push(
      `up to ${missing.count} transactions that ${primary} had at its last observation are not on ${candidate.node} (${missing.text}); ${told}`,
    );
  }
  if (input.durability === 'none') {
    warnings.push(
      `what ${primary} committed in the ${age} ms since its last observation may be lost (durability: none)`,
    );
  }
  return warnings;
}
