// Who the primary is, concluded from what all nodes said. Pure. With a known primary the conclusion changes only
// on strong signs that someone else moved it; without one it is drawn only where there is no second reading.
import type { Flavor, NodeAddress } from '../messages/index.ts';
import { gtidContains } from './gtid.ts';
import type { NodeFacts, NodeObservation, NodeView, PrimaryHealth } from './types.ts';

/** All that `choosePrimary` looks at. */
export interface PrimaryInput {
  observations: readonly NodeObservation[];
  /** The primary as far as known (remembered, or made by a recovery). */
  known: NodeAddress | null;
  /** When a recovery made it the primary: what was seen before that says nothing of who is. */
  knownSince: number;
  /** Who was made the primary, or is remembered as such; null where nobody. */
  remembered: NodeAddress | null;
  /** Whom a recovery was about to promote when its process ended. */
  promised: NodeAddress | null;
  knownHealth: PrimaryHealth;
  /** Former primaries not seen read-only since, and nodes that were writable beside a writable primary: being left over does not make one of them the primary. */
  secondWriters: ReadonlySet<NodeAddress>;
  /** Former primaries that were not seen to be read-only since. */
  demoted: ReadonlySet<NodeAddress>;
  /** Whether the node at that address is still the one we knew. */
  sameIdentity: (observation: NodeObservation) => boolean;
  /** The name in our list of what a replica calls its source; null where it is none of ours. */
  sourceOf: (facts: NodeFacts) => NodeAddress | null;
}

export type PrimaryChoice =
  | {
      node: NodeAddress;
      why:
        | 'known'
        | 'promised'
        | 'returned'
        | 'only-writer'
        | 'followed-by-writers'
        | 'moved-by-hand'
        | 'elected'
        | 'first-writer';
    }
  | { node: null; why: 'discovering' | 'no-writer' | 'two-writers' | 'writer-without-followers' };

interface Live {
  node: NodeAddress;
  facts: NodeFacts;
  source: NodeAddress | null;
}

/** Whether following sources upward from `from` leads to `to`. */
function leadsTo(live: readonly Live[], from: Live, to: NodeAddress): boolean {
  let at: Live | undefined = from;
  for (let hops = 0; hops < live.length && at !== undefined; hops++) {
    if (at.source === to) return true;
    const { source }: Live = at;
    at = live.find(({ node }) => node === source);
  }
  return false;
}

function hasAllOf(flavor: Flavor, have: NodeFacts, want: NodeFacts): boolean {
  return have.flavor === want.flavor && gtidContains(flavor, have.gtidExecuted, want.gtidExecuted);
}

/** Somebody promoted another node: the known one takes no writes and exactly one other does, with a claim to it. */
function movedTo(input: PrimaryInput, live: readonly Live[], known: NodeObservation | undefined): NodeAddress | null {
  const writers = live.filter(({ node, facts }) => !facts.readOnly && node !== input.known);
  const [writer] = writers;
  if (writer === undefined || writers.length !== 1) return null;
  const followers = live.filter((one) => one.node !== writer.node && one.node !== input.known);
  const followedByOthers = followers.some((one) => leadsTo(live, one, writer.node));
  const knownLive = live.find(({ node }) => node === input.known);
  if (knownLive !== undefined) {
    // It answers, and is read-only. Being followed is not enough: a former primary that wakes up may be followed still
    // by a replica that was out of reach, and lack all that was written since.
    if (leadsTo(live, knownLive, writer.node)) return writer.node;
    return !input.demoted.has(writer.node) && hasAllOf(writer.facts.flavor, writer.facts, knownLive.facts)
      ? writer.node
      : null;
  }
  // It does not answer: it may be writable for others still. A writer that was there before is not its successor.
  if (known === undefined || known.at < 0 || known.reach.state === 'denied') return null;
  if (input.secondWriters.has(writer.node)) return null;
  if (followedByOthers) return writer.node;
  const gone = known.reach.state === 'refused' || input.knownHealth.state === 'dead';
  const lastFacts = known.facts;
  return gone && lastFacts !== null && hasAllOf(writer.facts.flavor, writer.facts, lastFacts) ? writer.node : null;
}

/**
 * It was promoted, and its process ended, too: it came back read-only, follows nobody, and has what the known primary has
 * not. Only where every node answers and nobody but that one has anything more: else it may have been acknowledged there.
 */
function wasPromoted({ known, observations }: PrimaryInput, live: readonly Live[], promised: NodeAddress): boolean {
  const own = live.find(({ node }) => node === promised);
  const old = live.find(({ node }) => node === known);
  if (own === undefined || old === undefined || own.source !== null || live.length < observations.length) return false;
  const { facts } = own;
  if (facts.replication !== null || hasAllOf(facts.flavor, old.facts, facts)) return false;
  return live.every((one) => one === old || hasAllOf(facts.flavor, facts, one.facts));
}

function firstChoice(live: readonly Live[], observations: readonly NodeObservation[]): PrimaryChoice {
  const writers = live.filter(({ facts }) => !facts.readOnly);
  const [writer] = writers;
  if (writer === undefined) return { node: null, why: 'no-writer' };
  if (writers.length > 1) {
    const top = writers.filter((one) => writers.every((other) => other === one || leadsTo(live, other, one.node)));
    const [only] = top;
    return only !== undefined && top.length === 1
      ? { node: only.node, why: 'followed-by-writers' }
      : { node: null, why: 'two-writers' };
  }
  // A lone writer that nobody follows, while replicas follow another node that is down, is not their primary.
  const elsewhere = live.filter(
    (one) => one.node !== writer.node && one.source !== null && !leadsTo(live, one, writer.node),
  );
  const followed = live.some((one) => one.node !== writer.node && leadsTo(live, one, writer.node));
  if (elsewhere.length > 0 && !followed && observations.length > 1) {
    return { node: null, why: 'writer-without-followers' };
  }
  return { node: writer.node, why: 'only-writer' };
}

function seenSince({ knownSince, observations }: PrimaryInput, node: NodeAddress): boolean {
  return (observations.find((one) => one.node === node)?.factsAt ?? -1) >= knownSince;
}

/**
 * Nodes that take writes beside a primary that does, too: it was asked after they were seen to. A primary that died is
 * seen as it was for a moment longer, and who took its place by then is its successor and no second writer.
 */
export function writersBeside(nodes: readonly NodeView[]): NodeView[] {
  const primary = nodes.find(({ role, state }) => role === 'primary' && state === 'ok')?.observation;
  if (primary?.reach.state !== 'up') return [];
  const askedAt = primary.factsAt ?? -1;
  return nodes.filter(({ state, observation }) => state === 'second-writer' && askedAt >= observation.at);
}

/** The primary, and why it is the one; or why there is none. */
export function choosePrimary(input: PrimaryInput): PrimaryChoice {
  const live = input.observations.flatMap((observation): Live[] => {
    const { node, reach, facts } = observation;
    if (reach.state !== 'up' || facts === null || !input.sameIdentity(observation)) return [];
    return [{ node, facts, source: input.sourceOf(facts) }];
  });
  const takesWrites = (node: NodeAddress) => live.some((one) => one.node === node && !one.facts.readOnly);
  // It was promoted, and clients past us may have been let to it: to go back would lose what they were told.
  const { promised, remembered } = input;
  const found = promised !== null && promised !== input.known;
  if (found && (takesWrites(promised) || wasPromoted(input, live, promised)))
    return { node: promised, why: 'promised' };
  // Somebody seemed to have moved it there, and nobody takes writes there any more before it could be followed.
  const stands = input.known === promised && live.some(({ node }) => node === promised);
  const left = remembered !== null && remembered !== input.known && !stands;
  if (input.known !== null && left && !takesWrites(input.known)) {
    const again = choosePrimary({ ...input, known: remembered, knownHealth: { state: 'alive' } });
    return again.why === 'known' ? { node: remembered, why: 'returned' } : again;
  }
  if (input.known !== null) {
    const known = input.observations.find(({ node }) => node === input.known);
    const writable = takesWrites(input.known);
    const since = live.filter(({ node }) => seenSince(input, node));
    const fresh = known !== undefined && known.at >= input.knownSince;
    const moved = writable || !fresh ? null : movedTo(input, since, known);
    return moved === null ? { node: input.known, why: 'known' } : { node: moved, why: 'moved-by-hand' };
  }
  // Judge nothing before every node had its chance to answer.
  if (input.observations.some(({ at }) => at < 0)) return { node: null, why: 'discovering' };
  return firstChoice(live, input.observations);
}
