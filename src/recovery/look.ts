// A fresh look at nodes, in parallel and bounded, laid over the monitor's view: what is decided next is decided
// on what the nodes say now, and what a silent node said last keeps its age.
import { refusedSince } from '../cluster/index.ts';
import type { ClusterView, NodeFacts, NodeObservation, NodeView, Reach } from '../cluster/types.ts';
import type { NodeAddress } from '../messages/index.ts';
import { errorText, withDeadline } from './journal.ts';
import type { RecoveryContext } from './types.ts';

/** Whether the view's last word on a node is a fresh answer. */
export function isReachable(view: NodeView, nowMs: number, maxAgeMs: number): boolean {
  const { reach, at, facts, factsAt } = view.observation;
  return reach.state === 'up' && facts !== null && factsAt !== null && nowMs - Math.min(at, factsAt) <= maxAgeMs;
}

export type Look = { node: NodeAddress; facts: NodeFacts } | { node: NodeAddress; reach: Reach };

/** Looks at one node; never rejects. Takes at most twice `timeoutMs`. */
export async function lookAt(ctx: RecoveryContext, node: NodeAddress, timeoutMs: number): Promise<Look> {
  const once = () => withDeadline(ctx.clock, timeoutMs, `look at ${node}`, () => ctx.nodes.look(node, timeoutMs));
  try {
    return { node, facts: await once() };
  } catch (error) {
    if (!isLostConnection(error)) return { node, reach: reachOf(error) };
  }
  // A kept connection that broke says little: a new one tells a dead process from a connection that was ended.
  try {
    return { node, facts: await once() };
  } catch (error) {
    return { node, reach: reachOf(error) };
  }
}

function isLostConnection(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'lost';
}

/** ECONNREFUSED tells that the process is gone; anything else may be a host that comes back. */
function reachOf(error: unknown): Reach {
  const text = errorText(error);
  for (let cause: unknown = error, depth = 0; cause instanceof Error && depth < 5; cause = cause.cause, depth++) {
    const code = 'code' in cause ? cause.code : undefined;
    if (code === 'refused' || code === 'ECONNREFUSED') return { state: 'refused', error: text };
    const errno = 'errno' in cause && typeof cause.errno === 'number' ? cause.errno : 0;
    if (code === 'server') return { state: 'denied', errno, error: text };
  }
  return { state: 'silent', error: text };
}

/** The monitor's view with what `looks` found in place of what was known of those nodes. */
export function viewAfter(view: ClusterView, looks: readonly Look[], nowMs: number): ClusterView {
  const byNode = new Map(looks.map((look) => [look.node, look]));
  return {
    ...view,
    nodes: view.nodes.map((one): NodeView => {
      const look = byNode.get(one.node);
      return look === undefined ? one : { ...one, observation: observationAfter(one.observation, look, nowMs) };
    }),
  };
}

function observationAfter(before: NodeObservation, look: Look, nowMs: number): NodeObservation {
  if ('reach' in look) {
    const { refusedSince: _, ...rest } = before;
    return { ...rest, at: nowMs, reach: look.reach, ...refusedSince(before, look.reach, nowMs) };
  }
  return { node: look.node, at: nowMs, reach: { state: 'up', rttMs: 0 }, facts: look.facts, factsAt: nowMs };
}
