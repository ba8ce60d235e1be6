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

/** Who makes a node the primary: a recovery of ours, the members of a group, or the platform that runs the servers. */
export type Topology = 'replication' | 'group' | 'galera' | 'aurora' | 'rds';

export interface GroupMember {
  /** Its server_uuid. */
  id: string;
  node: NodeAddress;
  state: string;
  role: 'primary' | 'secondary';
}

/** MySQL Group Replication, as one member sees it. */
export interface GroupFacts {
  kind: 'group';
  group: string;
  /** The member's own id. */
  self: string;
  /** `OFFLINE` where it is in no group. */
  state: string;
  role: 'primary' | 'secondary';
  singlePrimary: boolean;
  /** It sees more than half of the members. */
  majority: boolean;
  /** The group's life and the number of its view in it. */
  view: string;
  /** Transactions of others that it has still to apply. */
  queue: number;
  lagMs: number | null;
  members: GroupMember[];
}

/** MariaDB Galera, as one member sees it. */
export interface GaleraFacts {
  kind: 'galera';
  /** Of the cluster's state. */
  cluster: string;
  component: 'primary' | 'non-primary' | 'disconnected';
  state: 'synced' | 'donor' | 'joined' | 'joiner' | 'other';
  /** The server's own word for it. */
  stateText: string;
  /** It takes statements. */
  ready: boolean;
  /** Someone asked it not to slow the others down: it may be far behind. */
  desynced: boolean;
  /** How many members the component has. */
  size: number;
  /** Number of the component's configuration: it grows with every change of its members. */
  configuration: number;
  /** Writesets of others that it has still to apply. */
  queue: number;
  lagMs: null;
  /** Addresses for clients, as the members tell them; fewer than `size` where some do not. */
  members: NodeAddress[];
}

/** An Aurora instance, as it sees its cluster. */
export interface AuroraFacts {
  kind: 'aurora';
  /** Its own name, which its address begins with. */
  instance: string;
  /** The instance that its topology view calls the writer; null where it was not told. */
  writer: string | null;
  /** When the writer's entry was made, seconds since 1970. */
  updated: number;
  queue: -1;
  lagMs: number | null;
  /** Names of all instances. */
  members: string[];
}

/** A server of RDS: plain replication that the platform looks after. */
export interface RdsFacts {
  kind: 'rds';
  queue: -1;
  lagMs: null;
}

export type TopologyFacts = GroupFacts | GaleraFacts | AuroraFacts | RdsFacts;

/** How a server greets its clients; drivers draw conclusions from both. */
export interface ServerGreeting {
  /** Verbatim: MariaDB before 11 puts `5.5.5-` in front. */
  version: string;
  /** The low byte of the id of the collation that the server was started with. */
  collation: number;
  /**
   * MySQL: the names of the variables of which every session has a value of its own, with commas in between; absent where that
   * could not be read.
   */
  sessionVariables?: string;
  /** Its global sql_mode, by which texts of new sessions are read. */
  sqlMode?: string;
  /** New sessions begin with autocommit off. */
  autocommit?: false;
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
  /** Connections and running statements; absent where the server did not tell. */
  activity?: { connected: number; running: number; maxConnections: number } | undefined;
  /** Whose the advisory lock on this node is; absent where we do not ask for it. */
  claim?: 'ours' | { holder: number } | undefined;
  /** Replicas attached now, as far as the node can tell their address (report_host, processlist). */
  replicas: NodeAddress[];
  /** Of a server that is set up as a member of a group; absent or null: it is not. */
  topology?: TopologyFacts | null;
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
  /** Since when it was refused at every look; absent where it was not at the last. */
  refusedSince?: number;
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
  | 'member-joining' // is being brought up to date by its group
  | 'member-out' // offline, expelled or disconnected
  | 'no-majority' // in its group, but cut off from most of it
  | 'desynced' // Galera: a donor, or told not to keep up
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
  /** Absent: plain replication. */
  topology?: Topology;
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
  /**
   * Sets semi-sync up for the role where `durability` asks for it; no-op where the plug-in is missing. A replica of
   * `primary` acknowledges where the policy lets it.
   */
  setSemiSyncRole(
    node: NodeAddress,
    role: 'source' | 'replica',
    timeoutMs: number,
    primary?: NodeAddress,
  ): Promise<void>;
  /**
   * Begins a new binary log file. A source reads its current file from the beginning to find where a replica that
   * attaches goes on; a young file makes that quick.
   */
  rotateBinlog(node: NodeAddress, timeoutMs: number): Promise<void>;
  /** Group Replication: has the group make the member with this id its primary, and waits for it. */
  electMember(node: NodeAddress, memberId: string, timeoutMs: number): Promise<void>;
  /** Galera: waits until the node has applied all that its cluster had committed when this was called. */
  syncWithCluster(node: NodeAddress, timeoutMs: number): Promise<void>;
  /** Group Replication: has a member that is out of its group join it. */
  joinGroup(node: NodeAddress, timeoutMs: number): Promise<void>;
  /** What is global there, of these variables, by name. */
  globals(node: NodeAddress, names: readonly string[], timeoutMs: number): Promise<Record<string, string>>;
  /** On a MariaDB primary: makes `evenkeel.ledger` where it is missing, and clears it of rows long out of use. */
  keepLedger(node: NodeAddress, timeoutMs: number): Promise<void>;
}
