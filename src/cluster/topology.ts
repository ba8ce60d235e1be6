// Clusters whose members form a group, or that a platform runs: who its primary is and how a node stands, each by its
// own rules, which are in group.ts, galera.ts and platform.ts. Pure. A node that tells nothing of a group is judged as a
// replica (view.ts), in every kind of cluster.

import type { NodeAddress } from '../messages/index.ts';
import { chooseGaleraWriter, galeraVerdict } from './galera.ts';
import { chooseGroupPrimary, groupVerdict } from './group.ts';
import type { MembersInput, Verdict } from './members.ts';
import { auroraVerdict, chooseAuroraWriter, instanceAddress } from './platform.ts';
import type { PrimaryChoice } from './primary.ts';
import type { NodeFacts, NodeObservation, Topology } from './types.ts';

/**
 * Which kind of cluster the nodes form. Settings alone do not make a group: a server may have them and replicate from
 * a source all the same.
 */
export function topologyOf(observations: readonly NodeObservation[]): Topology {
  let configured: Topology | null = null;
  for (const { facts } of observations) {
    const own = facts?.topology ?? null;
    if (own === null) continue;
    if (own.kind !== 'group' || own.state !== 'OFFLINE') return own.kind;
    if (facts?.replication === null) configured ??= own.kind;
  }
  return configured ?? 'replication';
}

/** The primary of a cluster that is no replication, and why it is the one. */
export function chooseAmongMembers(
  topology: Exclude<Topology, 'replication' | 'rds'>,
  input: MembersInput,
): PrimaryChoice {
  switch (topology) {
    case 'group':
      return chooseGroupPrimary(input);
    case 'galera':
      return chooseGaleraWriter(input);
    case 'aurora':
      return chooseAuroraWriter(input);
    default:
      throw new Error(`unknown topology: ${String(topology satisfies never)}`);
  }
}

/** How a member stands in its group; null where it is in none, and is judged as a replica. */
export function memberVerdict(facts: NodeFacts, isPrimary: boolean, oneWriter: boolean): Verdict | null {
  const own = facts.topology ?? null;
  if (own === null) return null;
  switch (own.kind) {
    case 'group':
      return groupVerdict(own, facts, isPrimary);
    case 'galera':
      return galeraVerdict(own, facts, isPrimary, oneWriter);
    case 'aurora':
      return auroraVerdict(facts, isPrimary);
    case 'rds':
      return null;
    default:
      throw new Error(`unknown topology: ${JSON.stringify(own satisfies never)}`);
  }
}

/** Where the other members of its group are, as a node tells it. */
export function membersOf(node: NodeAddress, { topology }: NodeFacts): NodeAddress[] {
  switch (topology?.kind) {
    case 'group':
      return topology.members.map(({ node }) => node);
    case 'galera':
      return topology.members;
    case 'aurora': {
      const { instance, members } = topology;
      return members.map((one) => instanceAddress(node, instance, one)).filter((one) => one !== null);
    }
    case 'rds':
    case undefined:
      return [];
    default:
      throw new Error(`unknown topology: ${JSON.stringify(topology satisfies never)}`);
  }
}

/** Two names lead to one server. */
export function isSameServer(one: NodeFacts, other: NodeFacts): boolean {
  const started = Math.abs(one.startedAtMs - other.startedAtMs) <= 2000;
  return started && one.identity === other.identity && one.selfName === other.selfName;
}
