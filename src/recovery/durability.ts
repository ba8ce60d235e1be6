// Whether a write that a client was told is safe could be missing after a promotion, under semi-sync.
//
// An acknowledged write is in the relay logs of at least `waitForCount` of the replicas that could acknowledge
// (the ackers). Replicas receive a prefix of the same binary log, so the most advanced of the reachable ackers has
// every acknowledged write as soon as fewer than `waitForCount` ackers are out of reach: then at least one of
// those that acknowledged it is within reach. Otherwise a write may live only on a node that cannot be asked.
// A replica whose process started anew since has thrown its relay log away: what it acknowledged and had not applied
// is on the primary alone, so it counts as out of reach, too.
import type { NodeView } from '../cluster/types.ts';
import type { Flavor, NodeAddress } from '../messages/index.ts';
import type { Contender, FailoverInput } from './elect.ts';
import { covers, missingFrom } from './gtids.ts';
import { isReachable } from './look.ts';
import { isDirect } from './tiers.ts';

export interface Risk {
  refusals: string[];
  warnings: string[];
}

/** What speaks against promoting `candidate`, where acknowledged writes must not be lost. */
export function acknowledgedWritesAtRisk(input: FailoverInput, flavor: Flavor, candidate: Contender): Risk {
  const { primary, primaryFacts, primaryFactsAt, nowMs } = input;
  if (primaryFacts === null || primaryFactsAt === null) {
    return refuse(`${primary} was never observed, so whether its writes waited for a replica is unknown`);
  }
  const { semiSync } = primaryFacts;
  if (semiSync === null || !semiSync.sourceEnabled) {
    return refuse(`${primary} did not have semi-sync enabled, though the durability policy asks for it`);
  }
  if (!semiSync.sourceActive) {
    return refuse(`${primary} had fallen back to asynchronous replication: acknowledged writes may be on no replica`);
  }
  const warnings: string[] = [];
  const reach = input.view.nodes.find((view) => view.node === primary)?.observation.reach;
  if (reach?.state !== 'refused' && nowMs - primaryFactsAt > semiSync.timeoutMs) {
    warnings.push(
      `${primary} was last observed longer ago than its semi-sync time-out of ${semiSync.timeoutMs} ms: clients that reach it past the proxy may have been acknowledged without a replica`,
    );
  }
  const waitForCount = Math.max(1, semiSync.waitForCount);
  const below = belowFloor(input, flavor, candidate);
  const missing = ackersOutOfReach(input, flavor, candidate);
  if (missing.count < waitForCount) return { refusals: below, warnings };
  const unknown = `${primary} counted ${semiSync.clients}, more than are known by their addresses`;
  const names = missing.nodes.length > 0 ? missing.nodes.map((node) => nameOf(node, input)).join(', ') : unknown;
  return {
    refusals: [
      ...below,
      `${missing.count} replica(s) that could have acknowledged a write cannot be reached (${names}) and each write waited for ${waitForCount}: an acknowledged one may be there alone. Bring them, or the primary, back`,
    ],
    warnings,
  };
}

/** What it must have and has not. Where nobody wrote that down, all that the primary had when it last answered. */
function belowFloor({ floor, primary, primaryFacts }: FailoverInput, flavor: Flavor, candidate: Contender): string[] {
  if (floor === undefined || primaryFacts === null) return [];
  const missing = missingFrom(flavor, candidate.received, floor ?? primaryFacts.gtidPosition);
  if (missing.count === 0) return [];
  return [
    `${candidate.node} lacks ${missing.count} transactions that ${primary} had when one of the nodes last restarted, came or went (${missing.text}): clients may have been told that they are safe. Bring ${primary} back, or a node that has them`,
  ];
}

function nameOf(node: NodeAddress, input: FailoverInput): string {
  return input.restarted?.has(node) ? `${node} restarted since and has lost its relay log` : node;
}

function refuse(text: string): Risk {
  return { refusals: [text], warnings: [] };
}

interface Missing {
  count: number;
  nodes: NodeAddress[];
}

/** How many that could have acknowledged a write of the dead primary cannot be asked now. */
function ackersOutOfReach(input: FailoverInput, flavor: Flavor, candidate: Contender): Missing {
  const { primaryFacts } = input;
  const clients = primaryFacts?.semiSync?.clients ?? 0;
  const attached = new Set(primaryFacts?.replicas ?? []);
  const unreachable: NodeAddress[] = [];
  let possible = 0;
  const known = new Set<NodeAddress>();
  for (const view of input.view.nodes) {
    known.add(view.node);
    if (view.node === input.primary || !couldAcknowledge(view)) continue;
    // A replica of a replica acknowledges to that one, if to anybody.
    if (!attached.has(view.node) && !isDirect(input.view, view.node, input.primary)) continue;
    possible += 1;
    const remembers = input.restarted?.has(view.node) !== true;
    if (isReachable(view, input.nowMs, input.maxAgeMs) && remembers) continue;
    if (!knownGone(view, input, flavor, candidate, clients, attached)) unreachable.push(view.node);
  }
  const strangers = [...attached].filter((node) => !known.has(node) && node !== input.primary);
  // The source counts connections; those of which nobody knows whose they are count as out of reach.
  const uncounted = Math.max(0, clients - possible - strangers.length);
  return { count: unreachable.length + strangers.length + uncounted, nodes: [...unreachable, ...strangers] };
}

/** Semi-sync as a replica, as far as anyone knows: a node that never told is believed to be. */
export function couldAcknowledge(view: NodeView): boolean {
  const { facts } = view.observation;
  if (facts === null) return true;
  return (facts.semiSync?.replicaEnabled ?? false) || (facts.replication?.semiSyncActive ?? false);
}

/** Away for so long, a replica is believed to be away still, though all that is known of it is silence. */
const LONG_AWAY_MS = 60_000;
/** As long as it takes to call a primary dead whose process is gone, and to begin a failover. */
const LAST_WORD_MS = 3_000;

/**
 * A replica that was away already when the primary last told whom it had attached: all that it could have
 * acknowledged before is below the floor (or in the position that the primary had then), so a candidate has it too.
 * Only where the primary could name every replica that it counted; else a stranger might be this one. And only where
 * it cannot have come back to the primary since, unseen by us: its process is gone and was so at every look, or it was
 * silent for long while the primary died a moment after its last word. Both being silent, they may be together.
 */
function knownGone(
  view: NodeView,
  input: FailoverInput,
  flavor: Flavor,
  candidate: Contender,
  clients: number,
  attached: ReadonlySet<NodeAddress>,
): boolean {
  const { nowMs, primaryFacts, primaryFactsAt } = input;
  const { factsAt, reach, refusedSince } = view.observation;
  if (primaryFacts === null || primaryFactsAt === null) return false;
  if (attached.has(view.node) || attached.size < clients) return false;
  const restarted = input.restarted?.has(view.node) === true;
  if (!restarted && factsAt !== null && factsAt >= primaryFactsAt) return false;
  if (!restarted && !(reach.state === 'refused' && (refusedSince ?? nowMs) <= primaryFactsAt)) {
    const primaryReach = input.view.nodes.find(({ node }) => node === input.primary)?.observation.reach;
    const died = primaryReach?.state === 'refused' && nowMs - primaryFactsAt <= LAST_WORD_MS;
    if (!died || factsAt === null || primaryFactsAt - factsAt < LONG_AWAY_MS) return false;
  }
  return input.floor != null || covers(flavor, candidate.received, primaryFacts.gtidPosition);
}
