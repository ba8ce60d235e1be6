// Where nodes stand and what they are for, as the configuration says: zones, who is preferred as a primary, and who may
// acknowledge the writes of whom. Pure.
import type { ClusterConfig } from '../config/types.ts';
import type { NodeAddress } from '../messages/index.ts';

export type Placement = Omit<ClusterConfig['nodes'][number], 'node'>;

const UNPLACED: Placement = { zone: null, promotion: 'neutral', tier: 1 };

type Placed = Pick<ClusterConfig, 'nodes'>;

export function placementOf({ nodes }: Placed, node: NodeAddress): Placement {
  return nodes.find((one) => one.node === node) ?? UNPLACED;
}

/** Whether a semi-sync policy may count on `node` for the writes of `primary`. */
export function mayAcknowledge(
  config: Placed & Pick<ClusterConfig, 'durability'>,
  node: NodeAddress,
  primary: NodeAddress,
): boolean {
  if (node === primary) return false;
  if (config.durability !== 'cross-zone') return true;
  const [own, theirs] = [placementOf(config, node).zone, placementOf(config, primary).zone];
  // Of a node without a zone nobody knows that it stands elsewhere.
  return own !== null && theirs !== null && own !== theirs;
}

/** Whether commits shall wait for replicas, where the configuration decides that alone. */
export function asksForSemiSync({ durability }: Pick<ClusterConfig, 'durability'>): boolean {
  return durability === 'semisync' || durability === 'cross-zone';
}

const PREFERENCE = { prefer: 0, neutral: 1, avoid: 2, never: 3 } as const;

/** Negative where `a` is the better primary; 0 where the configuration does not say. */
export function byPreference(config: Placed, a: NodeAddress, b: NodeAddress): number {
  const [one, other] = [placementOf(config, a), placementOf(config, b)];
  return PREFERENCE[one.promotion] - PREFERENCE[other.promotion] || one.tier - other.tier;
}
