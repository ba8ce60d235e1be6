// Whether the old primary can still acknowledge a write, before another one is opened. Pure. Four things prove that
// it cannot: its process is gone; it is read-only; or, under semi-sync, too few of those whose acknowledgement it
// must wait for are left to it. What reaches it through Evenkeel was cut before; this is about everybody else.
import type { ClusterView, NodeFacts } from '../cluster/types.ts';
import type { NodeAddress } from '../messages/index.ts';
import { couldAcknowledge } from './durability.ts';
import { isDirect } from './tiers.ts';

/** A source that waits shorter than this for an acknowledgement may go on without one while we promote. */
const LASTING_TIMEOUT_MS = 60_000;

/** Begins the reason of a failover that ended so and waits for a human (`failover.unfenced: refuse`). */
export const NOT_FENCED = 'not fenced: ';

export interface FenceInput {
  /** After receivers were stopped and the fence was tried. */
  view: ClusterView;
  primary: NodeAddress;
  /** What it said before that. */
  primaryFacts: NodeFacts | null;
  durability: 'none' | 'semisync';
  /** It took the order to be read-only. */
  readOnly: boolean;
  /**
   * Nodes that were made to follow somebody else. Where it is given, any other of the old primary's replicas counts as one
   * that acknowledges to it, also where its receiver is stopped: restarted, it would follow that one again.
   */
  repointed?: ReadonlySet<NodeAddress>;
  /** The order waits in it, behind commits that hang, and lets no new write begin; its clients were ended. */
  readOnlyWaits: boolean;
}

export type Fence =
  | { fenced: true; how: 'process-gone' | 'read-only' | 'no-acknowledgement'; text: string }
  | { fenced: false; how: 'read-only-waits' | 'out-of-reach'; text: string };

/** The verdict, in words for the record. */
export function fenceOf(input: FenceInput): Fence {
  const { primary } = input;
  const reach = input.view.nodes.find(({ node }) => node === primary)?.observation.reach;
  if (input.readOnly) return { fenced: true, how: 'read-only', text: `${primary} is read-only` };
  if (reach?.state === 'refused') return { fenced: true, how: 'process-gone', text: `${primary} has no process` };
  const left = acknowledgersLeft(input);
  if (left !== null) {
    const text = `${primary} can acknowledge nothing: it waits for ${left.needs} replica(s) and has at most ${left.count}`;
    if (left.count < left.needs) return { fenced: true, how: 'no-acknowledgement', text };
  }
  if (input.readOnlyWaits) {
    const text = `${primary} has ended its clients and becomes read-only when its last commits do; it takes no new write`;
    return { fenced: false, how: 'read-only-waits', text };
  }
  const text = `${primary} could not be reached: it may still acknowledge writes of clients that reach it past Evenkeel`;
  return { fenced: false, how: 'out-of-reach', text };
}

/** How many could still acknowledge a write of the old primary, at most; null where it does not have to wait for any. */
function acknowledgersLeft({
  durability,
  primary,
  primaryFacts,
  repointed,
  view,
}: FenceInput): { count: number; needs: number } | null {
  const semiSync = primaryFacts?.semiSync ?? null;
  if (durability === 'none' || semiSync === null || !semiSync.sourceEnabled || !semiSync.sourceActive) return null;
  if (semiSync.timeoutMs < LASTING_TIMEOUT_MS) return null;
  const others = view.nodes.filter((one) => one.node !== primary && couldAcknowledge(one));
  const stopped = others.filter(({ node, observation: { facts, reach } }) => {
    if (repointed?.has(node) === true) return true;
    if (reach.state !== 'up' || facts === null) return false;
    if (facts.replication === null) return true;
    return facts.replication.receiver === 'stopped' && (repointed === undefined || !isDirect(view, node, primary));
  });
  const known = new Set(view.nodes.map(({ node }) => node));
  const strangers = primaryFacts?.replicas.filter((node) => !known.has(node) && node !== primary).length ?? 0;
  const unnamed = Math.max(0, semiSync.clients - others.length - strangers);
  return { count: others.length - stopped.length + strangers + unnamed, needs: Math.max(1, semiSync.waitForCount) };
}
