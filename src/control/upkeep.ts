// Keeping semi-sync as the durability policy wants it: who acknowledges, how many are waited for, how long. Pure. It
// never makes a commit wait for acknowledgements that nobody is there to give: the source side is switched on, and
// the count raised, only when enough replicas acknowledge already.
import { type AnalysisName, asksForSemiSync, mayAcknowledge } from '../cluster/index.ts';
import type { ClusterView, NodeView, SemiSyncFacts } from '../cluster/types.ts';
import type { ClusterConfig } from '../config/types.ts';
import type { NodeAddress } from '../messages/index.ts';

export type Policy = Pick<ClusterConfig, 'durability' | 'semisync' | 'nodes'>;

/** What is not as it should be, on one node. */
export interface Upkeep {
  node: NodeAddress;
  role: 'source' | 'replica';
  reason: string;
}

/** The analysis that upkeep is done for. */
export const upkeepAnalysis: AnalysisName = 'semisync-degraded';
/** Facts of semi-sync are a second old, and a recovery may have changed them a moment ago. */
export const upkeepGraceMs = 2500;
const LASTING_MS = 3_600_000;

/** All that is not as the policy wants it, replicas first; empty where the policy does not decide. */
export function upkeepOf(view: ClusterView, policy: Policy, members: ReadonlySet<NodeAddress>): Upkeep[] {
  const primary = view.nodes.find(({ node }) => node === view.primary);
  const facts = primary?.observation.reach.state === 'up' ? primary.observation.facts : null;
  if (!asksForSemiSync(policy) || primary === undefined || facts === null || facts.readOnly) return [];
  const replicas = view.nodes.filter(
    (one) => isSoundReplica(one) && members.has(one.node) && followsDirectly(one, primary.node, facts.identity),
  );
  const found = replicas.flatMap((one) => replicaUpkeep(one, policy, primary.node));
  if (found.length > 0 || facts.semiSync === null) return found;
  const acknowledging = replicas.filter((one) => acknowledges(one) && mayAcknowledge(policy, one.node, primary.node));
  // MariaDB waits for one, whatever is asked for.
  const wanted = facts.flavor === 'mysql' ? policy.semisync.acks : 1;
  const reason = sourceReason(facts.semiSync, wanted, policy.semisync.timeoutMs, acknowledging.length);
  return reason === null ? [] : [{ node: primary.node, role: 'source', reason }];
}

function isSoundReplica({ observation: { facts, reach }, role, state }: NodeView): boolean {
  const sound = state === 'ok' || state === 'lagging' || state === 'delayed';
  return role === 'replica' && sound && reach.state === 'up' && facts?.readOnly === true;
}

/** A replica of a replica acknowledges nothing to the primary. */
function followsDirectly({ observation: { facts } }: NodeView, primary: NodeAddress, identity: string): boolean {
  const replication = facts?.replication ?? null;
  if (replication === null) return false;
  return `${replication.sourceHost}:${replication.sourcePort}` === primary || replication.sourceUuid === identity;
}

function acknowledges({ observation: { facts } }: NodeView): boolean {
  return facts?.replication?.receiver === 'running' && facts.replication.semiSyncActive;
}

function replicaUpkeep(view: NodeView, policy: Policy, primary: NodeAddress): Upkeep[] {
  const { facts } = view.observation;
  const semiSync = facts?.semiSync ?? null;
  if (semiSync === null || facts?.replication?.receiver !== 'running') return [];
  const should = mayAcknowledge(policy, view.node, primary);
  if (should && (!semiSync.replicaEnabled || !acknowledges(view))) {
    return [{ node: view.node, role: 'replica', reason: `${view.node} does not acknowledge` }];
  }
  if (!should && acknowledges(view)) {
    const reason = `${view.node} acknowledges, and stands in the zone of the primary, or in none`;
    return [{ node: view.node, role: 'replica', reason }];
  }
  return [];
}

function sourceReason(now: SemiSyncFacts, wanted: number, timeoutMs: number, acknowledging: number): string | null {
  if (acknowledging < wanted) return null;
  if (!now.sourceEnabled) return 'the primary does not wait for acknowledgements';
  if (now.waitForCount !== wanted) return `the primary waits for ${now.waitForCount}, not for ${wanted}`;
  // Longer than an hour is for ever.
  if (now.timeoutMs >= Math.min(timeoutMs, LASTING_MS)) return null;
  return `the primary gives up waiting after ${now.timeoutMs} ms, not ${timeoutMs} ms`;
}

/** Since when something is wrong, and when it may be mended next; by node. */
export type UpkeepStories = ReadonlyMap<NodeAddress, { attempts: number; notBefore: number }>;

/** The stories after `wrong` was seen: what is in order again is forgotten. */
export function observeUpkeep(before: UpkeepStories, wrong: readonly Upkeep[], now: number): UpkeepStories {
  return new Map(wrong.map(({ node }) => [node, before.get(node) ?? { attempts: 0, notBefore: now + upkeepGraceMs }]));
}
