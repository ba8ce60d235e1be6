// What the HTTP interface needs of the control process, and the JSON shapes that go over it. The shapes
// are public (design.md section 3): keys may be added, never renamed. `control` satisfies ControlApi by its
// shape alone and does not import this file; src/cli/start.ts joins the two, where the compiler compares them.
import type { Credentials, ErrantReport } from '../cluster/index.ts';
import type { NodeRole, NodeState, Problem, Topology } from '../cluster/types.ts';
import type { DigestCounts, DigestOrder, NodeAddress, PinCounts } from '../messages/index.ts';
import type { RecoveryRecord, RecoveryStep } from '../recovery/types.ts';

export type { DigestCounts, ErrantReport };

/** `holding`: clients wait. `recovering`: a switchover or failover runs. `degraded`: serves, with a problem. */
export type ClusterState = 'healthy' | 'holding' | 'recovering' | 'degraded' | 'down';

/** Nothing is recovered by itself. */
export interface MaintenanceStatus {
  /** ISO 8601, UTC; null: until it is ended. */
  until: string | null;
}

export interface NodeStatus {
  node: NodeAddress;
  role: NodeRole;
  /** `draining`, `drained` and `maintenance` where nothing is wrong with it. */
  state: NodeState | 'draining' | 'drained' | 'maintenance';
  /** Null where unknown; 0 on the primary. */
  lagMs: number | null;
  /** Executed GTIDs, in the flavor's own notation. */
  gtid: string;
  /** What is wrong and what mends it; empty when `state` is ok. */
  detail: string;
  /** Out of service by an operator's word, or on its way. */
  leaving: 'draining' | 'drained' | null;
  maintenance: MaintenanceStatus | null;
}

export interface ClusterStatus {
  name: string;
  epoch: number;
  state: ClusterState;
  primary: NodeAddress | null;
  flavor: 'mysql' | 'mariadb' | null;
  /** Who makes a node the primary. */
  topology: Topology;
  durability: string;
  recovery: 'automatic' | 'observe';
  /** Of the whole cluster. */
  maintenance: MaintenanceStatus | null;
  nodes: NodeStatus[];
  problems: Problem[];
}

export interface EndpointStatus {
  name: string;
  cluster: string;
  /** `host:port` */
  listen: string;
  /** `primary`, `replica`, `auto`, or the fixed nodes separated by commas. */
  route: string;
  /** Over all workers. */
  clients: number;
  held: number;
  /** Statements received, and errors that Evenkeel itself answered, since it started. */
  statements: number;
  errors: number;
  /** Sessions that keep their server connection, by reason (docs/sessions.md); a reason with none is not there. */
  pinned: PinCounts;
  /** Its statements are held by an operator's word, until this time (ISO 8601, UTC) at the latest. */
  paused: { until: string } | null;
}

export interface StatusJson {
  clusters: ClusterStatus[];
  endpoints: EndpointStatus[];
}

/** One entry of `GET /api/v1/events`. Ids are given by the HTTP side. */
export interface ControlEvent {
  type:
    | 'cluster-changed'
    | 'recovery-started'
    | 'recovery-step'
    | 'recovery-ended'
    | 'operator-order'
    | 'worker-changed';
  /** ISO 8601, UTC. */
  at: string;
  /** Null where it concerns no cluster. */
  cluster: string | null;
  data:
    | { kind: 'cluster'; status: ClusterStatus }
    | { kind: 'recovery-started'; recovery: Pick<RecoveryRecord, 'id' | 'kind' | 'from' | 'to' | 'reason'> }
    | { kind: 'recovery-step'; recovery: string; step: RecoveryStep }
    | { kind: 'recovery-ended'; recovery: RecoveryRecord }
    | { kind: 'operator-order'; order: OperatorOrder }
    | { kind: 'worker'; worker: number; state: 'started' | 'listening' | 'exited'; detail: string };
}

/** What an operator ordered and what stands until it ends. */
export interface OperatorOrder {
  order: 'maintenance' | 'pause' | 'drain' | 'remove-node';
  /** The node, the cluster or the endpoint that it is about. */
  of: string;
  state: 'begun' | 'ended';
  /** A time limit ends it, too. */
  by: 'operator' | 'time-limit';
  /** ISO 8601, UTC; null: until it is ended. */
  until: string | null;
}

export interface DrainReport extends OperatorOrder {
  /** Clients whose work there did not come to its end in time: it was ended. */
  ended: number;
  /** Where the node was the primary: the switchover. */
  switchover: RecoveryRecord | null;
}

export interface PauseReport extends OperatorOrder {
  /** Transactions and statements that have not come to their end yet. */
  inProgress: number;
}

/**
 * Why an order was not carried out at all. `switchover` and `failover` reject with an Error that has one of
 * these as `code`; a recovery that began and failed resolves, with `outcome` saying so.
 */
export type OrderErrorCode =
  | 'unknown-cluster' // 404
  | 'unknown-endpoint' // 404
  | 'unknown-node' // 404
  | 'busy' // 409: another recovery of this cluster runs
  | 'refused'; // 422: checked and found unsafe or impossible; the message says why and what mends it

export interface ControlApi {
  status(): StatusJson;
  /** Whether every endpoint would serve a client now; the reasons are sentences for a human, none if ready. */
  ready(): { ready: boolean; reasons: string[] };
  /** Newest first, at most `limit`. */
  history(filter: { cluster?: string; limit: number }): RecoveryRecord[];
  recovery(id: string): RecoveryRecord | null;
  /** Statements by shape since their worker started, most first; workers that do not answer are left out. */
  digests(filter: { order: DigestOrder; limit: number }): Promise<DigestCounts[]>;
  /** Resolves when it has ended, however it ended. Rejects with an OrderErrorCode where it did not begin. */
  switchover(cluster: string, options: { to?: NodeAddress }): Promise<RecoveryRecord>;
  /** As `switchover`. `force` promotes where durability would speak against it. */
  failover(cluster: string, options: { to?: NodeAddress; force?: boolean }): Promise<RecoveryRecord>;
  /** Of one node, or of the whole cluster. Throws with an OrderErrorCode. */
  maintenance(cluster: string, options: { node?: NodeAddress; forMs?: number; end?: boolean }): OperatorOrder;
  /** Resolves when nothing is left on the node. Rejects with an OrderErrorCode. */
  drain(
    cluster: string,
    options: { node: NodeAddress; timeoutMs?: number; to?: NodeAddress; force?: boolean },
  ): Promise<DrainReport>;
  /** Rejects with an OrderErrorCode where it cannot be read. */
  errant(cluster: string, options: { node: NodeAddress }): Promise<ErrantReport>;
  /** Resolves when it has ended, however it ended. Rejects with an OrderErrorCode where it did not begin. */
  rebuild(
    cluster: string,
    options: { node: NodeAddress; from?: NodeAddress; force?: boolean; returnWaitMs?: number },
  ): Promise<RecoveryRecord>;
  /** As `rebuild`. */
  addNode(
    cluster: string,
    options: {
      node: NodeAddress;
      from?: NodeAddress;
      credentials?: Credentials;
      keepData?: boolean;
      returnWaitMs?: number;
    },
  ): Promise<RecoveryRecord>;
  removeNode(cluster: string, options: { node: NodeAddress; force?: boolean }): Promise<OperatorOrder>;
  undrain(cluster: string, options: { node: NodeAddress }): OperatorOrder;
  /** Resolves when every worker holds, and nothing is in progress or `waitMs` is over. Rejects with an OrderErrorCode. */
  pause(endpoint: string, options: { forMs: number; waitMs?: number }): Promise<PauseReport>;
  resume(endpoint: string): Promise<OperatorOrder>;
  /** Prometheus text exposition format 0.0.4. */
  metrics(): Promise<string>;
  /** Calls `listener` (which does not throw) with everything that happens; returns the unsubscriber. */
  subscribe(listener: (event: ControlEvent) => void): () => void;
}
