// The parts of the simulated cluster that need no clock: a node with its history and relay log, its GTIDs in both
// flavors' notation, and what can be asked of a world: faults, and mistakes to be switched on.
import type { ClusterConfig } from '../../src/config/types.ts';
import type { Flavor, NodeAddress } from '../../src/messages/index.ts';

export interface Transaction {
  origin: number;
  seq: number;
}

/** By server (MySQL) or, under key 0, by domain (MariaDB): the last number. */
export type Reached = Map<number, Transaction>;

export interface SimNode {
  name: NodeAddress;
  id: number;
  state: 'up' | 'crashed' | 'frozen';
  readOnly: boolean;
  executed: Transaction[];
  relay: Transaction[];
  /** Executed or in the relay log; the same objects on every node. */
  has: Set<Transaction>;
  executedTo: Reached;
  receivedTo: Reached;
  source: SimNode | null;
  receiving: boolean;
  /** Transactions applied in one step, at most, and how probably each. */
  applySpeed: number;
  applyChance: number;
  /** `no-read-only`: what it says of itself, though it is writable. */
  claimsReadOnly: boolean;
  /** `receivers-go-on`: what it says of its receiver, though it runs. */
  claimsStopped?: boolean;
  startedAtMs: number;
  /** Was out of reach, or seemed to be, during the recovery. */
  wasLost: boolean;
}

/** Mistakes that can be switched on, to see that an invariant catches them. */
export type Bug =
  | 'none'
  | 'no-read-only' // the old primary is not made read-only
  | 'ignore-relay-log' // promotes without applying what was received
  | 'elect-by-applied' // what is only in the relay log does not count
  | 'no-position-wait' // does not wait for the old primary's last transactions
  | 'no-durability-check' // does not know that clients were promised anything
  | 'no-restore' // the way back does not make the old primary writable
  | 'no-reopen' // the way back leaves the gate closed
  | 'no-follow' // the way back forgets the candidate's replication
  // Of the whole control process; see control-world.ts.
  | 'semi-sync-off-early' // a commit that waits is let go before its client is gone (vitess #16050)
  | 'receivers-go-on' // the fence leaves replicas that acknowledge to the old primary, which say that they stopped
  | 'epoch-not-saved' // a restart gives out an epoch a second time
  | 'no-rejoin' // a promoted last replica waits for acknowledgements for ever (vitess #13284)
  | 'clients-not-cut' // the new primary is opened while clients still wait for answers of the old one (proxysql #789, #2179)
  | 'no-epoch-check' // a worker takes an older route over that arrives late
  | 'wrong-one' // whoever comes first is promoted, whatever it received (vitess #13284)
  | 'no-floor'; // what an earlier primary had acknowledged counts for nothing

export type Fault =
  | { at: number; kind: 'error-before' | 'error-after' | 'slow' | 'lost' }
  | { at: number; kind: 'crash-before' | 'crash-after' | 'freeze'; victim: 'target' | 'primary' | 'random' };

export interface WorldOptions {
  seed: number;
  flavor: Flavor;
  nodes: number;
  durability: 'none' | 'semisync';
  faults: Fault[];
  bug: Bug;
  /** Clients go on writing. */
  load: boolean;
  /** `failover.unfenced`; absent: promote. */
  unfenced?: 'promote' | 'wait';
  /** What was received and not applied does not outlive the process. */
  dropsRelay?: boolean;
}

/** As a position (MariaDB) or a set (MySQL). */
export function gtidOf(flavor: Flavor, reached: Reached): string {
  if (flavor === 'mariadb') {
    const last = reached.get(0);
    return last === undefined ? '' : `0-${last.origin}-${last.seq}`;
  }
  return origins(reached)
    .map((one) => `${uuidOf(one.origin)}:1-${one.seq}`)
    .join(',');
}

/** MariaDB's binary log state: the last of each server. */
export function executedSetOf(flavor: Flavor, reached: Reached): string {
  if (flavor === 'mysql') return gtidOf(flavor, reached);
  return origins(reached)
    .map((one) => `0-${one.origin}-${one.seq}`)
    .join(',');
}

function origins(reached: Reached): Transaction[] {
  return [...reached].filter(([origin]) => origin !== 0).map(([, last]) => last);
}

export function execute(node: SimNode, transaction: Transaction): void {
  node.executed.push(transaction);
  advanceTo(node.executedTo, transaction);
  // What comes from the relay log was counted when it was received, and more may have come since.
  if (node.has.has(transaction)) return;
  node.has.add(transaction);
  advanceTo(node.receivedTo, transaction);
}

export function advanceTo(reached: Reached, transaction: Transaction): void {
  reached.set(transaction.origin, transaction);
  reached.set(0, transaction);
}

export function dropRelay(node: SimNode): void {
  node.relay = [];
  node.has = new Set(node.executed);
  node.receivedTo = new Map(node.executedTo);
}

/** A crash of a server that did not flush: its last transaction is gone. */
export function forgetLast(node: SimNode): void {
  const kept = node.executed.slice(0, -1);
  node.executed = [];
  node.executedTo = new Map();
  node.receivedTo = new Map();
  node.has = new Set();
  for (const transaction of kept) execute(node, transaction);
}

export function uuidOf(id: number): string {
  return `00000000-0000-0000-0000-${String(id).padStart(12, '0')}`;
}

export function config(durability: 'none' | 'semisync'): ClusterConfig {
  return {
    name: 'shop',
    seeds: ['db1:3306'],
    admin: { user: 'evenkeel', password: '' },
    durability,
    semisync: { acks: 1, timeoutMs: 1_000_000_000 },
    nodes: [],
    recovery: 'automatic',
    serverTls: { mode: 'off' },
    probe: { intervalMs: 50, timeoutMs: 200, silentAfterMs: 1_000 },
    heartbeat: { enabled: false, intervalMs: 500, deadlineMs: 2_000, degradedAfterMs: 30_000 },
    failover: { unfenced: 'promote', minIntervalMs: 0, maxFailures: 5 },
    switchover: { drainTimeoutMs: 500, catchUpTimeoutMs: 3_000, maxLagMs: 500, degraded: 'tell' },
  };
}
