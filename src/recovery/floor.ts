// What a candidate must have under semi-sync before it may take a primary's place, whoever answers. That the most
// advanced of the replicas that acknowledge has every acknowledged write is true only while they all keep what they
// received. So whenever one of them may have lost something (it restarted, was repointed, is new to us, left), when
// waiting was switched on or off, and when a primary begins, the position that the primary has then is written down:
// all that clients were told until then is in it, and in the replica of nobody perhaps. Pure.
import type { ClusterView, NodeFacts, NodeObservation } from '../cluster/types.ts';
import type { NodeAddress } from '../messages/index.ts';
import { covers, receivedBy } from './gtids.ts';

export interface Floor {
  readonly primary: NodeAddress;
  readonly position: string;
  /** When the processes of the nodes had started, as it was then. */
  readonly startedAtMs: ReadonlyMap<NodeAddress, number>;
  /** The most that each node was seen to have received since. */
  readonly received: ReadonlyMap<NodeAddress, string>;
  /** For whom the primary waits, and whether it does. */
  readonly waits: Waits;
  /** Nodes without a process when the position was read, and at every look since: all that they lost is below it. */
  readonly gone: ReadonlySet<NodeAddress>;
}

interface Waits {
  /** Whether it does, and for how many. */
  readonly how: string;
  readonly clients: number;
  readonly replicas: readonly NodeAddress[];
}

/** Start times are computed from an uptime in whole seconds on some servers. */
export const STARTED_TOLERANCE_MS = 2_000;

/** The floor after `view` was seen; null where nobody has seen this primary take writes. */
export function floorAfter(before: Floor | null, view: ClusterView, primary: NodeAddress | null): Floor | null {
  const seen = view.nodes.find(({ node }) => node === primary)?.observation;
  const same = before?.primary === primary ? before : null;
  if (primary === null || seen?.reach.state !== 'up' || seen.facts === null || seen.facts.readOnly) return same;
  const { facts } = seen;
  const others = view.nodes.filter(({ node }) => node !== primary).map(({ observation }) => observation);
  const waits = waitsOf(facts);
  if (same === null) return floorOf(primary, facts, seen.factsAt, others);
  const changed = others.filter((other) => mayHaveLost(same, other));
  const left = [...same.received.keys()].some((node) => !others.some((other) => other.node === node));
  if (changed.length === 0 && !left && isSameOrMore(waits, same.waits)) return goesOn(same, others, waits);
  // What it acknowledged a moment before it lost it must be in the primary's word: one that came after that.
  const known = changed.every(({ factsAt }) => (seen.factsAt ?? 0) >= (factsAt ?? 0));
  return known ? floorOf(primary, facts, seen.factsAt, others) : same;
}

function floorOf(
  primary: NodeAddress,
  facts: NodeFacts,
  factsAt: number | null,
  others: readonly NodeObservation[],
): Floor {
  const startedAtMs = new Map([[primary, facts.startedAtMs]]);
  const received = new Map<NodeAddress, string>();
  for (const { node, facts: own } of others) {
    if (own === null) continue;
    startedAtMs.set(node, own.startedAtMs);
    received.set(node, receivedBy(own));
  }
  const gone = others.filter(({ refusedSince }) => refusedSince !== undefined && refusedSince <= (factsAt ?? -1));
  return {
    primary,
    position: facts.gtidPosition,
    startedAtMs,
    received,
    waits: waitsOf(facts),
    gone: new Set(gone.map(({ node }) => node)),
  };
}

/** Nothing was lost; who came back meanwhile is known from now on. */
function goesOn(before: Floor, others: readonly NodeObservation[], waits: Waits): Floor {
  const received = new Map(before.received);
  const startedAtMs = new Map(before.startedAtMs);
  const gone = new Set(before.gone);
  for (const { node, facts, reach } of others) {
    if (reach.state !== 'refused') gone.delete(node);
    if (facts === null) continue;
    received.set(node, receivedBy(facts));
    if (before.gone.has(node) && reach.state === 'up') startedAtMs.set(node, facts.startedAtMs);
  }
  return { ...before, waits, received, startedAtMs, gone };
}

/** It is new to us, another process than before, or has less than it had; all that while we knew that it has a process. */
function mayHaveLost({ gone, received, startedAtMs }: Floor, { facts, node, reach }: NodeObservation): boolean {
  if (facts === null || (gone.has(node) && reach.state !== 'silent')) return false;
  const started = startedAtMs.get(node);
  const had = received.get(node);
  if (started === undefined || had === undefined) return true;
  if (facts.startedAtMs - started > STARTED_TOLERANCE_MS) return true;
  const has = receivedBy(facts);
  return has !== had && !covers(facts.flavor, has, had);
}

function waitsOf({ replicas, semiSync }: NodeFacts): Waits {
  const { clients = 0, sourceActive, sourceEnabled, waitForCount } = semiSync ?? {};
  return { how: JSON.stringify([sourceEnabled, sourceActive, waitForCount]), clients, replicas };
}

/**
 * A replica more may acknowledge: what was acknowledged until then is with the others, which are all there. And what the
 * primary has then may be what it cannot commit.
 */
function isSameOrMore(now: Waits, before: Waits): boolean {
  const all = before.replicas.every((node) => now.replicas.includes(node));
  return all && now.how === before.how && now.clients >= before.clients;
}
