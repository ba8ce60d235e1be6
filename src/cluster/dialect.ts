// What differs between MySQL and MariaDB, behind one shape: which statements bring a node's facts, and which
// carry out a recovery's steps. Column and variable names are brought to one spelling (source, replica) first.
import type { Account, Flavor, NodeAddress } from '../messages/index.ts';
import type { ControlConnection, Row } from './connection.ts';
import type { NodeFacts, ReplicationFacts, SemiSyncFacts, TopologyFacts } from './types.ts';

/** Parts of a probe. `state` is required; the others may be refused to us and are then left out. */
export type ProbePart =
  | 'state'
  | 'replication'
  | 'receiver' // what the replica hears
  | 'applier' // lag with a finer grain than seconds
  | 'heartbeat'
  | 'semisync-variables'
  | 'semisync-status'
  | 'activity' // connections and running statements
  | 'replicas'
  | 'dump-threads'
  | 'group-settings'
  | 'group-members'
  | 'galera-settings'
  | 'galera-status'
  | 'platform-topology'
  | 'session-variables';

/** The rows of each part that was asked; a part that was refused is missing. */
export type ProbeRows = Partial<Record<ProbePart, Row[]>>;

/** What a source must be told about how to be reached, and by whom. */
export interface FollowSettings {
  host: string;
  port: number;
  /** Null: keep the user and password that the channel has. */
  login: { user: string; password: string } | null;
  tls: boolean;
}

export interface Dialect {
  readonly flavor: Flavor;
  /** Statement of each part; of the first list with every probe, of the second with a full one. */
  readonly parts: Readonly<Partial<Record<ProbePart, string>>>;
  readonly everyProbe: readonly ProbePart[];
  /** Asked with every probe as long as the node has a source. */
  readonly everyProbeOfReplicas: readonly ProbePart[];
  /** The same for members of a group. */
  readonly everyProbeOfMembers: readonly ProbePart[];
  readonly fullProbe: readonly ProbePart[];
  /** Asked once, by the first full one of a connection. */
  readonly firstProbe: readonly ProbePart[];
  executed(state: Row): { gtidExecuted: string; gtidPosition: string };
  replication(rows: ProbeRows, gtidExecuted: string): ReplicationFacts | null;
  topology(rows: ProbeRows): TopologyFacts | null;

  /** Statements, in order. */
  readOnly: readonly string[];
  writable: readonly string[];
  stopReceiver: string;
  startReceiver: string;
  startApplier: string;
  detach(connection: ControlConnection, timeoutMs: number): Promise<void>;
  /** Whether the default channel has a replication user of its own. */
  channelUser(connection: ControlConnection, timeoutMs: number): Promise<string | null>;
  follow(connection: ControlConnection, settings: FollowSettings, timeoutMs: number): Promise<void>;
  waitForGtid(connection: ControlConnection, gtid: string, waitMs: number, timeoutMs: number): Promise<boolean>;
  accounts(connection: ControlConnection, timeoutMs: number): Promise<Account[]>;

  /** Counters that move while the server writes or syncs anything, as rows of any shape. */
  ioCounters: string;
  /** The server's words for a full disk, in the last minutes; null where it cannot tell in SQL. */
  diskFullLog: string | null;
}

/** A row with its keys in lower case and in today's words: `Master_Host` becomes `source_host`. */
export function modern(row: Row): Row {
  const result: Row = {};
  for (const key in row) result[modernName(key)] = row[key] ?? null;
  return result;
}

/** As it was asked for before: servers have some hundred names. */
const MODERN_NAMES = new Map<string, string>();
const MAX_NAMES = 5000;

function modernName(name: string): string {
  const known = MODERN_NAMES.get(name);
  if (known !== undefined) return known;
  const now = name.toLowerCase().replaceAll('master', 'source').replaceAll('slave', 'replica');
  if (MODERN_NAMES.size < MAX_NAMES) MODERN_NAMES.set(name, now);
  return now;
}

/** SHOW VARIABLES or SHOW STATUS as a map with modern names. */
export function nameValues(rows: readonly Row[]): Map<string, string> {
  const result = new Map<string, string>();
  for (const row of rows) {
    const [name, value] = Object.values(row);
    if (name === null || name === undefined) continue;
    result.set(modernName(name), value ?? '');
  }
  return result;
}

/** ON, 1, YES. Unknown words (MariaDB 12's NO_LOCK of read_only) count as on. */
export function isOn(value: string | null | undefined): boolean {
  return value !== null && value !== undefined && !/^(?:|0|off|no|false)$/i.test(value);
}

export function toNumber(value: string | null | undefined, otherwise = 0): number {
  if (value === null || value === undefined || value === '') return otherwise;
  const result = Number(value);
  return Number.isFinite(result) ? result : otherwise;
}

export function errorOrNull(errno: string | null | undefined, text: string | null | undefined): string | null {
  return toNumber(errno) === 0 ? null : `${errno}: ${text ?? ''}`;
}

export function receiverState(value: string | null | undefined): ReplicationFacts['receiver'] {
  if (/^yes$/i.test(value ?? '')) return 'running';
  // MariaDB says `Preparing` between start and the first attempt.
  return /^(?:connecting|preparing)$/i.test(value ?? '') ? 'connecting' : 'stopped';
}

/** Null where the plug-in is missing. */
export function semiSync(rows: ProbeRows): SemiSyncFacts | null {
  const variables = nameValues(rows['semisync-variables'] ?? []);
  const status = nameValues(rows['semisync-status'] ?? []);
  if (!variables.has('rpl_semi_sync_source_enabled') && !variables.has('rpl_semi_sync_replica_enabled')) return null;
  return {
    sourceEnabled: isOn(variables.get('rpl_semi_sync_source_enabled')),
    sourceActive: isOn(status.get('rpl_semi_sync_source_status')),
    replicaEnabled: isOn(variables.get('rpl_semi_sync_replica_enabled')),
    clients: liveClients(toNumber(status.get('rpl_semi_sync_source_clients')), rows['dump-threads'] ?? []),
    waitForCount: toNumber(variables.get('rpl_semi_sync_source_wait_for_replica_count'), 1),
    timeoutMs: toNumber(variables.get('rpl_semi_sync_source_timeout')),
  };
}

/** What MySQL calls a dump thread that serves its replica no more. */
const ENDING = 'Waiting to finalize termination';

/**
 * MySQL counts a replica that connects anew twice for up to a second: it looks for acknowledgements that long before
 * it lets go of the connection that ended. The threads are asked for after the count: one that ended in between is
 * not taken off twice.
 */
function liveClients(counted: number, dumpThreads: readonly Row[]): number {
  const ending = dumpThreads.filter((thread) => thread['STATE'] === ENDING).length;
  if (ending === 0) return counted;
  return Math.max(counted - ending, Math.min(counted, dumpThreads.length - ending));
}

/** Whether the receiver registered for semi-sync. */
export function semiSyncReplicaActive(rows: ProbeRows): boolean {
  return isOn(nameValues(rows['semisync-status'] ?? []).get('rpl_semi_sync_replica_status'));
}

/** How many are connected, how many may be, and how many statements run; null where it was not told. */
export function activity(rows: ProbeRows): NodeFacts['activity'] {
  const status = nameValues(rows['activity'] ?? []);
  const max = rows['state']?.[0]?.['max_connections'];
  if (!status.has('threads_running') || max === undefined) return undefined;
  return {
    connected: toNumber(status.get('threads_connected')),
    running: toNumber(status.get('threads_running')),
    maxConnections: toNumber(max),
  };
}

/**
 * Addresses of attached replicas. One that does not report its host is looked for at the addresses of the
 * dump threads: a guess, which a probe will confirm or not.
 */
export function replicaAddresses(rows: ProbeRows, join: (host: string, port: number) => NodeAddress): NodeAddress[] {
  const found = new Set<NodeAddress>();
  for (const row of rows['replicas'] ?? []) {
    const { host, port } = modern(row);
    const portNumber = toNumber(port, 3306);
    if (host !== null && host !== undefined && host !== '') {
      found.add(join(host, portNumber));
      continue;
    }
    for (const thread of rows['dump-threads'] ?? []) {
      const from = /^(.+):\d+$/.exec(Object.values(thread)[0] ?? '')?.[1];
      if (from !== undefined) found.add(join(from, portNumber));
    }
  }
  return [...found];
}
