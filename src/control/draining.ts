// Whether a node may leave service: who would still serve each endpoint, and who would still acknowledge the writes.
// Pure. An operator may know better (`force`).
import type { ClusterView, NodeView } from '../cluster/types.ts';
import type { EndpointSettings, NodeAddress } from '../messages/index.ts';

export interface DrainCheck {
  node: NodeAddress;
  primary: NodeAddress | null;
  view: ClusterView;
  /** Out of service already. */
  drained: ReadonlySet<NodeAddress>;
  /** Of this cluster. */
  endpoints: readonly EndpointSettings[];
  /** Whether writes wait for a replica's acknowledgement. */
  semiSync: boolean;
}

/** Why not, as a sentence; null where nothing speaks against it. */
export function drainRefusal(input: DrainCheck): string | null {
  const { node, primary, view, drained } = input;
  const staying = view.nodes.filter(
    (each) =>
      each.node !== node && !drained.has(each.node) && each.observation.reach.state === 'up' && isSound(each, primary),
  );
  const replicas = staying.filter((each) => each.node !== primary);
  // Where it is the primary, one of the replicas takes its place.
  const readers = node === primary ? replicas.length - 1 : replicas.length;
  if (node === primary && replicas.length === 0) return `${node} is the primary and no replica could take its place`;
  for (const { name, route } of input.endpoints) {
    if (route.kind === 'replica' && readers === 0 && !route.fallbackToPrimary) {
      return `endpoint ${name} would have no replica left: its statements would wait`;
    }
    if (
      route.kind === 'fixed' &&
      route.nodes.includes(node) &&
      !staying.some((each) => route.nodes.includes(each.node))
    ) {
      return `endpoint ${name} would have no node left: its statements would wait`;
    }
  }
  if (!input.semiSync || primary === null) return null;
  const source = view.nodes.find((each) => each.node === primary)?.observation.facts?.semiSync ?? null;
  const needed = Math.max(1, source?.waitForCount ?? 1);
  const acknowledging = replicas.filter(acknowledges).length - (node === primary ? 1 : 0);
  if (acknowledging >= needed) return null;
  return `without it ${acknowledging} of ${needed} replicas would acknowledge writes: if it is stopped, they wait`;
}

function isSound({ node, state }: NodeView, primary: NodeAddress | null): boolean {
  return node === primary || state === 'ok' || state === 'lagging';
}

function acknowledges({ observation: { facts } }: NodeView): boolean {
  return facts !== null && facts.semiSync !== null && facts.replication !== null;
}
