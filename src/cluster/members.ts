// What the rules of all groups (group.ts, galera.ts, platform.ts) look at: the members that answer.
import type { NodeAddress } from '../messages/index.ts';
import type { NodeFacts, NodeObservation, NodeState, TopologyFacts } from './types.ts';

export type Verdict = { state: NodeState; detail: string };

/** What a choice among members looks at. */
export interface MembersInput {
  /** Seeds first. */
  observations: readonly NodeObservation[];
  known: NodeAddress | null;
  sameIdentity: (observation: NodeObservation) => boolean;
}

/** A node that answers, with what it says of its group. */
export interface LiveMember<F extends TopologyFacts> {
  node: NodeAddress;
  facts: NodeFacts;
  own: F;
}

/** The members of a kind that answer and are who they were. */
export function liveMembers<K extends TopologyFacts['kind']>(
  input: MembersInput,
  kind: K,
): LiveMember<Extract<TopologyFacts, { kind: K }>>[] {
  return input.observations.flatMap((observation) => {
    const { node, reach, facts } = observation;
    const own = facts?.topology ?? null;
    if (reach.state !== 'up' || facts === null || own === null || !input.sameIdentity(observation)) return [];
    return isKind(own, kind) ? [{ node, facts, own }] : [];
  });
}

function isKind<K extends TopologyFacts['kind']>(
  own: TopologyFacts,
  kind: K,
): own is Extract<TopologyFacts, { kind: K }> {
  return own.kind === kind;
}
