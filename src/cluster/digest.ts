// What of a view is news: two views with the same digest differ in nothing that anybody waits for. Pure.
import type { ClusterView, PrimaryHealth } from './types.ts';

/** Lag changes smaller than this are not worth telling. */
const LAG_STEP_MS = 250;

/** Equal twice: nothing to tell. */
export function digestOf(view: ClusterView, health: PrimaryHealth, claim: unknown): string {
  return JSON.stringify([
    health,
    view.primary,
    view.flavor,
    view.problems,
    claim,
    view.nodes.map(({ node, role, state, detail, lagMs, observation }) => [
      node,
      role,
      state,
      detail,
      lagMs === null ? null : Math.floor(lagMs / LAG_STEP_MS),
      observation.reach.state,
      observation.facts?.readOnly,
      observation.facts?.identity,
    ]),
  ]);
}
