// What of a view is news: two views with the same digest differ in nothing that anybody waits for. Pure.
import type { ClusterView, PrimaryHealth } from './types.ts';

/** Lag changes smaller than this are not worth telling. */
const LAG_STEP_MS = 250;

/** All but the lags. Equal twice: nothing happened. */
export function digestOf(view: ClusterView, health: PrimaryHealth, claim: unknown): string {
  return JSON.stringify([
    health,
    view.primary,
    view.flavor,
    view.problems,
    claim,
    view.nodes.map(({ node, role, state, detail, observation }) => [
      node,
      role,
      state,
      detail,
      observation.reach.state,
      observation.facts?.readOnly,
      observation.facts?.identity,
    ]),
  ]);
}

/** How far behind the nodes are, roughly. */
export function lagsOf(view: ClusterView): string {
  return view.nodes.map(({ lagMs }) => (lagMs === null ? '' : Math.floor(lagMs / LAG_STEP_MS))).join();
}
