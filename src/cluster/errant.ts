// Errant transactions: those that a node has and the primary has not. Pure. Semi-sync lets a replica of MySQL execute what
// its primary is committing still: such transactions are errant only when the primary has not come by them for long.
import { CHOSEN_UUID_PREFIX } from '../messages/index.ts';
import { formatGtidSet, gtidSubtract, parseGtidSet } from './gtid.ts';
import type { NodeFacts, NodeObservation } from './types.ts';

/** What a replica had executed before the primary, as far as the primary may be committing it. */
export interface Ahead {
  readonly gtids: string;
  /** Monotonic, ms. */
  readonly since: number;
}

export interface ErrantInput {
  node: NodeObservation;
  /** The node's. */
  facts: NodeFacts;
  primary: NodeObservation | null;
  /** It replicates from the primary, over others perhaps. */
  follows: boolean;
  /** The primary's commits do not end. */
  stuck: boolean;
  /** What was concluded last. */
  before: { errant: string | null; ahead: Ahead | null };
}

/** For so long a commit of a primary that is not stuck may last: far longer than one takes to count as stuck. */
const COMMITTING_MS = 10_000;

/** A node's errant transactions as text, null where there are none; and what must be known the next time. */
export function errantOf(input: ErrantInput): ErrantInput['before'] {
  const { before, facts, node, primary, stuck } = input;
  const primaryFacts = primary?.reach.state === 'up' ? primary.facts : null;
  const at = primary?.factsAt ?? -1;
  // The primary must have been read after the node: then all that the node had from it is in it.
  if (primaryFacts === null || at < node.at || primaryFacts.flavor !== facts.flavor) return before;
  const beyond = gtidSubtract(facts.flavor, facts.gtidExecuted, primaryFacts.gtidExecuted);
  const own = input.follows ? withoutCommitting(facts, primaryFacts, beyond) : beyond;
  const committing = gtidSubtract(facts.flavor, beyond, own);
  const errant = (gtids: string): string | null => (gtids === '' ? null : gtids);
  if (committing === '') return { errant: errant(own), ahead: null };
  const still = before.ahead === null ? '' : both(facts, committing, before.ahead.gtids);
  const ahead =
    before.ahead === null || still === '' ? { gtids: committing, since: at } : { ...before.ahead, gtids: still };
  const tooLong = !stuck && at - ahead.since >= COMMITTING_MS;
  return { errant: errant(tooLong ? beyond : own), ahead };
}

function both({ flavor }: NodeFacts, a: string, b: string): string {
  return gtidSubtract(flavor, a, gtidSubtract(flavor, a, b));
}

/**
 * A primary of MySQL that waits for its replicas has not executed what it is committing, while they have. Those
 * transactions have its own number, or one that a worker of ours chose.
 */
function withoutCommitting({ flavor }: NodeFacts, primary: NodeFacts, gtids: string): string {
  if (flavor !== 'mysql') return gtids;
  const others = [...parseGtidSet(flavor, gtids)].filter(
    ([key]) => key.split(':')[0] !== primary.identity.toLowerCase() && !key.startsWith(CHOSEN_UUID_PREFIX),
  );
  return formatGtidSet(flavor, new Map(others));
}
