// What passes between the control process and its workers, and nothing else does: routing tables,
// accounts and orders go down; evidence, counters and reports go up. Both planes import this file;
// neither imports the other. Everything here must survive JSON, so: plain data only.

export { joinAddress, splitAddress } from './address.ts';
export { BREAKS_PROMISES, type BrokenMode, broken, brokenModeOf } from './broken.ts';
export { INHERITED_DEFAULTS, SESSION_DEFAULTS } from './defaults.ts';
export { DIGEST_ORDERS, type DigestCounts, type DigestOrder } from './digests.ts';
export { LineDecoder, maxLineBytes } from './lines.ts';
export {
  CLOSE_REASONS,
  type CloseReason,
  noServerConnections,
  PIN_REASONS,
  type PinCounts,
  type PinReason,
  type ServerConnectionCounts,
} from './sessions.ts';

import type { DigestCounts } from './digests.ts';
import type { PinCounts, ServerConnectionCounts } from './sessions.ts';

/** `host:port`, the identity of a node everywhere in this code base. An IPv6 host stands in brackets. */
export type NodeAddress = string;

export type Flavor = 'mysql' | 'mariadb';

/**
 * The first group of every UUID under which workers number transactions on MySQL. Whichever node has such a GTID, a client
 * of ours wrote it there, or it was replicated.
 */
export const CHOSEN_UUID_PREFIX = 'e7e14ee1';

/** Why statements are being held. The same words are the log field, the metric label and the API value. */
export type HoldReason =
  | 'no-primary' // nothing discovered that takes writes
  | 'no-replica' // a reader or fixed endpoint without a node that serves
  | 'connection-lost' // a server connection broke under a statement
  | 'connect-failed' // the primary refuses connections
  | 'read-only' // the primary answered 1290, 1836 or 1792
  | 'shutdown' // the primary said that it is shutting down (1053, 1077, 1927, 4031 …)
  | 'detector' // the control process suspects the primary
  | 'switchover' // planned
  | 'failover' // unplanned, running
  | 'paused'; // an operator's `pause`

/** Whether statements for the primary may pass. */
export type Gate = { state: 'open' } | { state: 'closed'; reason: HoldReason; recovery?: string };

/** One node as the data plane needs to know it. */
export interface RouteNode {
  node: NodeAddress;
  role: 'primary' | 'replica' | 'unknown';
  /** May serve reads: reachable, replicating, not delayed, not drained. The primary, too, while it is up. */
  serving: boolean;
  /** Replication lag; null where unknown, 0 on the primary. */
  lagMs: number | null;
  /** An operator takes it out of service. `draining`: nothing new is sent there, what has begun may end. */
  leaving?: 'draining' | 'drained';
}

/** MySQL Group Replication, or MariaDB Galera. */
export type GroupKind = 'group' | 'galera';

/** One cluster's part of the routing table. */
export interface ClusterRoute {
  cluster: string;
  /** Grows by one with every change of primary. A worker never goes back to a smaller one. */
  epoch: number;
  flavor: Flavor;
  /** As the primary greets clients, e.g. `9.7.4` or `5.5.5-10.11.19-MariaDB-0+deb12u1`. */
  serverVersion: string;
  /** The collation byte of the primary's greeting. */
  collation: number;
  /** MySQL: the names of the variables of sessions, with commas in between; absent where they are not known. */
  sessionVariables?: string;
  /** The primary's global sql_mode; absent where it is not known. */
  sqlMode?: string;
  /** Set where new sessions of the primary begin with autocommit off. */
  autocommit?: false;
  /** The nodes form a group, which agrees on the order of all transactions; absent where they replicate from one another. */
  group?: GroupKind;
  /** Null while there is none; the gate is closed then. */
  primary: NodeAddress | null;
  gate: Gate;
  nodes: RouteNode[];
}

/** An account row as the server keeps it (mysql.user, mysql.global_priv) or as the configuration lists it. */
export interface Account {
  user: string;
  /** A host pattern as in `CREATE USER`: `%`, `10.0.%`, `192.168.0.0/255.255.0.0`, `localhost`, a name. */
  host: string;
  /** e.g. `mysql_native_password`, `caching_sha2_password`, `ed25519`. */
  plugin: string;
  /** The stored form (`authentication_string`), as latin1/base64url-safe text: see `encoding`. */
  stored: string;
  /** caching_sha2's stored form holds arbitrary bytes, so it travels as base64. */
  encoding: 'text' | 'base64';
  locked: boolean;
  passwordExpired: boolean;
  /** `REQUIRE SSL` or stricter. */
  requireTls: boolean;
  /** Stands for its global privileges, which servers read at login: another text, other privileges. Absent where they are not known. */
  grants?: string;
  /** Set only for accounts from the configuration; never printed. */
  password?: string;
}

/**
 * What reads on replicas are at least as new as: `session`, the session's own writes; `global`, all that anybody had
 * written when they came; `none`, nothing.
 */
export type CausalMode = 'session' | 'global' | 'none';

/** On what terms reads leave the primary. */
export interface AsideTerms {
  maxLagMs: number | null;
  causal: CausalMode;
  causalTimeoutMs: number;
}

export type EndpointRoute =
  /** `aside`: rules send some reads to replicas. */
  | { kind: 'primary'; aside?: AsideTerms }
  | { kind: 'replica'; maxLagMs: number | null; fallbackToPrimary: boolean }
  | ({ kind: 'auto' } & AsideTerms)
  | { kind: 'fixed'; nodes: NodeAddress[] };

/**
 * What becomes of writes that are in flight when their server is lost: `exactly-once` finds out whether they were executed,
 * and runs those again that were not; `report` sends nothing twice and says `unknown`.
 */
export type InFlightMode = 'exactly-once' | 'report';

export interface EndpointSettings {
  name: string;
  cluster: string;
  host: string;
  port: number;
  route: EndpointRoute;
  inFlight: InFlightMode;
  /** The members of its own zone: of replicas these come first. */
  near?: NodeAddress[];
}

/** What is done with some statements. Null: any, or nothing. */
export interface RuleSettings {
  name: string;
  endpoints: string[] | null;
  users: string[] | null;
  schemas: string[] | null;
  /** An example of the statements that are meant: those of its shape. */
  statement: string | null;
  /** Where reads go. */
  route: 'primary' | 'replica' | null;
  /** How long a read may take, from its arrival. */
  timeoutMs: number | null;
  /** Why the statement is refused. */
  refuse: string | null;
  /** All workers together. */
  maxPerSecond: number | null;
}

export interface TlsSettings {
  /** PEM. */
  cert: string;
  /** PEM; secret. */
  key: string;
  minVersion: 'TLSv1.2' | 'TLSv1.3';
}

export interface ServerTlsSettings {
  /** `as-client`: TLS where the client speaks TLS and the server offers it; our own control connections prefer it. */
  mode: 'as-client' | 'off' | 'preferred' | 'required' | 'verify-ca' | 'verify-identity';
  /** PEM of the authorities to trust with the two verify modes. */
  ca?: string;
}

/** Server connections. */
export interface PoolSettings {
  /** All workers together. */
  maxPerNode: number;
  /** Being opened at a time, a worker. */
  maxConnecting: number;
  /** Opened in a second, all workers together. */
  connectRate: number;
  connectTimeoutMs: number;
  /** A free connection is closed after this time, down to `minPerAccount`. */
  idleTimeoutMs: number;
  /** Kept open for each account that is in use, a worker. */
  minPerAccount: number;
  maxLifetimeMs: number;
  /** Prepared statements on one connection; the one not used for longest is closed. */
  maxPreparedPerConnection: number;
  /** Reads of several sessions may be queued on one connection. */
  pipelining: boolean;
}

/** How much of a transaction is kept to run it again, should its primary be lost. */
export interface ReplaySettings {
  maxStatements: number;
  maxBytes: number;
}

/** Everything a worker must know to serve; sent once, before it listens. */
export interface GatewaySettings {
  endpoints: EndpointSettings[];
  /** The first that fits a statement counts. */
  rules: RuleSettings[];
  tls: TlsSettings;
  /** PEM, RSA private key for caching_sha2_password's full exchange without TLS; shared by all workers. */
  rsaKey: string;
  serverTls: Record<string, ServerTlsSettings>; // by cluster
  hold: { timeoutMs: number; maxStatements: number; maxBytes: number };
  replay: ReplaySettings;
  pool: PoolSettings;
  limits: {
    maxClients: number; // over all endpoints of one worker
    maxPacketBytes: number;
    handshakeTimeoutMs: number;
    /** Connections that have not logged in yet, one worker. */
    maxUnauthenticated: number;
    /** How much of one client's unread answer is buffered before its server connection is paused. */
    clientBufferBytes: number;
  };
  /** How long a switchover waits for open transactions before it ends them. */
  drainTimeoutMs: number;
  logLevel: string;
}

/** What a worker saw that speaks against a node. */
export type EvidenceKind = 'connection-lost' | 'connect-failed' | 'read-only' | 'shutdown' | 'idle-closed';

/** What became of a KILL. An account may kill its own connections only. */
export type KillOutcome = 'done' | 'unknown' | 'denied';

/** Where nothing more is to be in progress: transactions, and statements in flight. */
export type QuiesceTarget = { endpoint: string } | { cluster: string; node: NodeAddress };

/** What was global before a SET GLOBAL, by variable, as servers report it. */
export type Replaced = Readonly<Record<string, string>>;

export type ToWorker =
  | { type: 'configure'; worker: number; workers: number; settings: GatewaySettings }
  /** What changed since the version before; all of it, for a worker that was just greeted. */
  | { type: 'routes'; version: number; clusters: ClusterRoute[] }
  /** Null: read again as a worker asked, and the same as before. */
  | { type: 'accounts'; cluster: string; accounts: Account[] | null }
  /** After a closed gate was applied: wait for what is in flight, then end what is left. Answered by `drained`. */
  | { type: 'drain'; id: number; cluster: string; drainMs: number }
  /** The node may soon be primary: open what its clients will need there. Answered by `opened-ahead`, at the latest after `waitMs`. */
  | { type: 'open-ahead'; id: number; cluster: string; node: NodeAddress; waitMs: number }
  /** The control process looked at the node because of `evidence`: is it fit to go on? */
  | { type: 'reviewed'; cluster: string; evidence: number; healthy: boolean }
  /** Values that were global on the node before a SET GLOBAL, of a client of another worker or past Evenkeel. */
  | { type: 'defaults-replaced'; cluster: string; node: NodeAddress; replaced: Replaced }
  /** A client of worker `asker` wants one of yours killed; the worker that the id belongs to answers. */
  | {
      type: 'kill';
      order: number;
      asker: number;
      connectionId: number;
      queryOnly: boolean;
      cluster: string;
      user: string;
    }
  | { type: 'kill-answer'; order: number; outcome: KillOutcome }
  /** The endpoints that are paused now, all of them; each resumes by itself after `leftMs`. Answered by `pauses-applied`. */
  | { type: 'pauses'; version: number; pauses: { endpoint: string; leftMs: number }[] }
  /** Wait until nothing more is in progress there, or the time is over. Answered by `quiesced`. */
  | { type: 'quiesce'; id: number; of: QuiesceTarget; waitMs: number }
  /** Answered by `digests`. */
  | { type: 'digests-report'; id: number }
  /** A recovery ended: send the clients' view of it (`impact`) and forget it. */
  | { type: 'impact-report'; id: number; cluster: string; recovery: string }
  /** Stop listening, let clients finish their transactions, close, exit 0. */
  | { type: 'retire'; drainMs: number };

export interface EndpointCounters {
  endpoint: string;
  clients: number;
  held: number;
  /** Since the worker started. */
  statements: number;
  errors: number;
  /** Sessions that keep their server connection, by reason. */
  pinned: PinCounts;
}

/** What the clients of one cluster noticed of one recovery, one worker's share. */
export interface Impact {
  heldStatements: number;
  longestStallMs: number;
  clientErrors: number;
}

export interface WorkerCounters {
  endpoints: EndpointCounters[];
  /** Server connections by node. */
  serverConnections: Record<NodeAddress, ServerConnectionCounts>;
  /** Counters by name and label value, e.g. `hold_ended{reason}`. Monotonic since the worker's start. */
  events: { name: string; label: string; count: number }[];
  cpuUs: number;
  residentBytes: number;
}

export type FromWorker =
  | { type: 'hello'; pid: number; worker: number | null }
  | { type: 'listening' }
  | { type: 'failed'; error: string }
  | { type: 'routes-applied'; version: number }
  | { type: 'drained'; id: number; cluster: string; endedTransactions: number }
  | { type: 'pauses-applied'; version: number }
  /** `open`: server connections to the node, by then. */
  | { type: 'opened-ahead'; id: number; open: number }
  /** `inProgress`: what has not come to its end. */
  | { type: 'quiesced'; id: number; inProgress: number }
  | { type: 'evidence'; cluster: string; node: NodeAddress; kind: EvidenceKind; evidence: number; detail: string }
  | { type: 'refresh-accounts'; cluster: string; user: string }
  /** Values that were global on the node before a client's SET GLOBAL, by variable. */
  | { type: 'defaults-replaced'; cluster: string; node: NodeAddress; replaced: Replaced }
  | { type: 'kill'; order: number; connectionId: number; queryOnly: boolean; cluster: string; user: string }
  | { type: 'kill-answer'; order: number; asker: number; outcome: KillOutcome }
  | { type: 'impact'; id: number; cluster: string; recovery: string; impact: Impact }
  | { type: 'counters'; counters: WorkerCounters }
  | { type: 'digests'; id: number; digests: DigestCounts[] }
  | { type: 'retired' };
