// The vocabulary of the control plane: what is observed of a node, what is concluded about a cluster.
// Facts are what a node said; a view is what we make of all nodes' facts together.
import type { Flavor, NodeAddress } from '../messages/index.ts';
import type { AnalysisName } from './analyses.ts';

/** One replication channel of a replica, in the words of both flavors' SHOW REPLICA STATUS. */
export interface ReplicationFacts {
  sourceHost: string;
  sourcePort: number;
  sourceUuid: string | null;
  /** Receiver (I/O) thread. */
  receiver: 'running' | 'connecting' | 'stopped';
  receiverError: string | null;
  /** Applier (SQL) thread. */
  applier: 'running' | 'stopped';
  applierError: string | null;
  /** Deliberate delay (SOURCE_DELAY), seconds. */
  delaySeconds: number;
  lagMs: number | null;
  /** GTIDs received, applied or not (MySQL: Retrieved ∪ executed; MariaDB: Gtid_IO_Pos). */
  received: string;
  /** Changes whenever the replica hears its source: heartbeats received, position read. Equal twice = silence. */
  heard: string;
  /** How often an idle source lets itself be heard; absent where the replica does not tell. */
  heartbeatMs?: number;
  semiSyncActive: boolean;
}

export interface SemiSyncFacts {
  sourceEnabled: boolean;
  /** Status ON: commits do wait for an acknowledgement. */
  sourceActive: boolean;
  replicaEnabled: boolean;
  /** Replicas that acknowledge, as the source counts them. */
  clients: number;
  waitForCount: number;
  timeoutMs: number;
}

/** How a server greets its clients; drivers draw conclusions from both. */
export interface ServerGreeting {
  /** Verbatim: MariaDB before 11 puts `5.5.5-` in front. */
  version: string;
  /** The low byte of the id of the collation that the server was started with. */
  collation: number;
}

/** What a node said of itself in one probe. */
export interface NodeFacts {
  flavor: Flavor;
  /** VERSION(). */
  version: string;
  /** Of the control connection that the facts came over. */
  greeting?: ServerGreeting;
  serverId: number;
  /** MySQL: @@server_uuid. MariaDB: @@server_uid where there is one, else `server_id:` and the id. */
  identity: string;
  /** Changes with every start of the process. */
  startedAtMs: number;
  /** `hostname:port` as the node itself knows them: tells two names of one node from two nodes. */
  selfName?: string;
  readOnly: boolean;
  /** MySQL only; equals readOnly on MariaDB. */
  superReadOnly: boolean;
  /** Executed GTIDs. MySQL: @@gtid_executed. MariaDB: @@gtid_binlog_state (falls back to gtid_current_pos). */
  gtidExecuted: string;
  /** MariaDB: @@gtid_current_pos; MySQL: equals gtidExecuted. */
  gtidPosition: string;
  logBin: boolean;
  logReplicaUpdates: boolean;
  replication: ReplicationFacts | null;
  semiSync: SemiSyncFacts | null;
  /** Replicas attached now, as far as the node can tell their address (report_host, processlist). */
  replicas: NodeAddress[];
}

/** How a probe ended. */
export type Reach =
  | { state: 'up'; rttMs: number }
  /** ECONNREFUSED: the host answers, the process is gone. */
  | { state: 'refused'; error: string }
  /** No answer in time, or the network says unreachable. */
  | { state: 'silent'; error: string }
  /** The process answers but will not let us in: too many connections, wrong password, shutting down. It lives. */
  | { state: 'denied'; errno: number; error: string };

/** All that is known of one node at one time. */
export interface NodeObservation {
  node: NodeAddress;
  /** Monotonic clock, ms, of the probe's end. */
  at: number;
  reach: Reach;
  /** Of the last successful probe; null if there never was one. */
  facts: NodeFacts | null;
  /** Monotonic clock, ms, when the probe that brought the facts began: they are at least as new as that. */
  factsAt: number | null;
}

export type NodeRole = 'primary' | 'replica' | 'unknown';

export type NodeState =
  | 'ok'
  | 'unreachable'
  | 'denied'
  | 'read-only-primary' // the known primary, but it does not take writes
  | 'second-writer' // writable, but not the primary
  | 'replication-stopped'
  | 'replication-broken' // stopped by an error
  | 'replication-wrong-source'
  | 'not-replicating'
  | 'delayed'
  | 'lagging'
  | 'errant' // has transactions that the primary has not
  | 'identity-changed'
  | 'other-flavor'
  | 'discovering';

export interface NodeView {
  node: NodeAddress;
  role: NodeRole;
  state: NodeState;
  /** A sentence for a human: what is wrong and what mends it; empty when ok. */
  detail: string;
  lagMs: number | null;
  gtid: string;
  observation: NodeObservation;
}

/** What is wrong with a cluster, for `status`, events and metrics. */
export interface Problem {
  code: AnalysisName;
  node?: NodeAddress;
  text: string;
}

export interface ClusterView {
  cluster: string;
  flavor: Flavor | null;
  primary: NodeAddress | null;
  nodes: NodeView[];
  problems: Problem[];
}

/** The detector's word on the primary. */
export type PrimaryHealth =
  | { state: 'alive' }
  /** Something speaks against it: hold, look again. */
  | {
      state: 'suspect';
      since: number;
      reason: string /** We do not reach it, but these replicas hear it. */;
      heardBy?: NodeAddress[];
    }
  /** Enough and consistent evidence: recover. */
  | { state: 'dead'; since: number; reason: string };

/** What recovery may do to a node. Every call has a deadline and rejects with a NodeControlError past it. */
export interface NodeControl {
  /** Fresh facts, by a connection that is opened if need be. */
  look(node: NodeAddress, timeoutMs: number): Promise<NodeFacts>;
  setReadOnly(node: NodeAddress, timeoutMs: number): Promise<void>;
  setWritable(node: NodeAddress, timeoutMs: number): Promise<void>;
  /** Ends the connections of everyone but replication and ourselves. Returns how many. */
  killClients(node: NodeAddress, timeoutMs: number): Promise<number>;
  /** Waits until the node has applied `gtid` (a set or a MariaDB position). False where the time is not enough. */
  waitForGtid(node: NodeAddress, gtid: string, timeoutMs: number): Promise<boolean>;
  /** Stops the receiver and waits until everything received is applied. False where the time is not enough. */
  applyAllReceived(node: NodeAddress, timeoutMs: number): Promise<boolean>;
  /** Forgets the source for good (STOP REPLICA, RESET REPLICA ALL). */
  detachFromSource(node: NodeAddress, timeoutMs: number): Promise<void>;
  /** Makes `node` a replica of `source` with GTID auto-positioning and starts it; semi-sync roles follow. */
  follow(node: NodeAddress, source: NodeAddress, timeoutMs: number): Promise<void>;
  /** Sets semi-sync up for the role where `durability` asks for it; no-op where the plug-in is missing. */
  setSemiSyncRole(node: NodeAddress, role: 'source' | 'replica', timeoutMs: number): Promise<void>;
  /**
   * Begins a new binary log file. A source reads its current file from the beginning to find where a replica that
   * attaches goes on; a young file makes that quick.
   */
  rotateBinlog(node: NodeAddress, timeoutMs: number): Promise<void>;
}
