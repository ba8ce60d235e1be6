// What outlives the process: per cluster the epoch, the primary and the known nodes; and the history of recoveries.
import type { NodeAddress } from '../messages/index.ts';
import type { RecoveryRecord } from '../recovery/types.ts';

export interface ClusterMemory {
  cluster: string;
  epoch: number;
  primary: NodeAddress | null;
  /** Every node ever discovered and not removed, so that a start needs no particular seed. */
  nodes: { node: NodeAddress; identity: string }[];
}

/** A node, or the whole cluster (`node` null), that nothing is recovered of by itself. */
export interface MaintenanceOrder {
  node: NodeAddress | null;
  /** Milliseconds since 1970; `until` null: until it is ended. */
  since: number;
  until: number | null;
}

/** What operators ordered for a cluster, and what stands until they take it back or its time is over. */
export interface StandingOrders {
  cluster: string;
  maintenance: MaintenanceOrder[];
  /** Nodes out of service. Until `quietAt` (milliseconds since 1970) what had begun there may come to its end. */
  drained: { node: NodeAddress; quietAt: number }[];
  /** Nodes that were taken out of the cluster for good. */
  removed: NodeAddress[];
  /** Endpoints whose statements are held; `until` in milliseconds since 1970. */
  paused: { endpoint: string; until: number }[];
}

export interface Store {
  loadCluster(cluster: string): ClusterMemory | null;
  saveCluster(memory: ClusterMemory): void;
  loadOrders(cluster: string): StandingOrders | null;
  saveOrders(orders: StandingOrders): void;
  /** Inserts, or replaces the entry with the same id (a recovery is saved at its start and at its end). */
  saveRecovery(record: RecoveryRecord): void;
  /** Newest first. */
  history(options?: { cluster?: string; limit?: number }): RecoveryRecord[];
  recovery(id: string): RecoveryRecord | null;
  close(): void;
}
