// Replicas of replicas: who follows whom after a change of primary. A replica whose source lives on and is no part of the
// change keeps it, so that a tree of replicas (a data centre behind one relay, say) stays a tree. Pure.
import type { ClusterView } from '../cluster/types.ts';
import type { NodeAddress } from '../messages/index.ts';

/** The node that `node` replicates from; null where it follows nobody, or nobody of this cluster. */
export function sourceOf(cluster: ClusterView, node: NodeAddress): NodeAddress | null {
  const replication = cluster.nodes.find((one) => one.node === node)?.observation.facts?.replication ?? null;
  if (replication === null) return null;
  const { sourceHost, sourcePort, sourceUuid } = replication;
  const address = sourceHost.includes(':') ? `[${sourceHost}]:${sourcePort}` : `${sourceHost}:${sourcePort}`;
  const known = cluster.nodes.find(
    ({ node: name, observation }) =>
      name === address || (sourceUuid !== null && sourceUuid !== '' && observation.facts?.identity === sourceUuid),
  );
  return known?.node ?? null;
}

/** Whether a replica follows `primary` itself. One whose source is none of ours counts as such. */
export function isDirect(cluster: ClusterView, node: NodeAddress, primary: NodeAddress): boolean {
  const source = sourceOf(cluster, node);
  return source === null || source === primary || source === node;
}

export interface Tiers {
  /** Replicas that are to follow the new primary. */
  direct: NodeAddress[];
  /** Replicas that go on following the source that they have. */
  kept: { node: NodeAddress; source: NodeAddress }[];
}

/** Where the replicas among `replicas` belong once `to` has taken the place of `from`. */
export function tiersAfter(
  cluster: ClusterView,
  replicas: readonly NodeAddress[],
  from: NodeAddress,
  to: NodeAddress,
): Tiers {
  const others = replicas.filter((node) => node !== from && node !== to);
  // Nobody can follow a node that does not answer.
  const up = (node: NodeAddress) => cluster.nodes.find((one) => one.node === node)?.observation.reach.state === 'up';
  const staying = new Set(others.filter(up));
  const sources = new Map<NodeAddress, NodeAddress>();
  for (const node of staying) {
    const source = sourceOf(cluster, node);
    if (source !== null) sources.set(node, source);
  }
  const keeps = (node: NodeAddress): boolean => {
    // Upwards to the new primary, or to somebody who will follow it; in a ring nobody would.
    const seen = new Set([node]);
    for (let at = sources.get(node); at !== undefined; at = sources.get(at)) {
      if (at === to) return true;
      if (at === from || !staying.has(at)) return seen.size > 1;
      if (seen.has(at)) return false;
      seen.add(at);
    }
    return seen.size > 1;
  };
  const direct: NodeAddress[] = [];
  const kept: Tiers['kept'] = [];
  for (const node of others) {
    const source = sources.get(node);
    if (source !== undefined && keeps(node)) kept.push({ node, source });
    else direct.push(node);
  }
  return { direct, kept };
}
