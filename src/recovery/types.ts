// What a recovery is: its plan as data, its record, and the hands it needs (ports). The recovery code
// decides and orders; nodes are touched only through `NodeControl`, clients only through `ClientGate`.
import type { Impact, NodeAddress } from '../messages/index.ts';
import type { NodeFacts } from '../cluster/types.ts';

export type RecoveryKind = 'switchover' | 'failover' | 'rejoin' | 'follow' | 'reinstate';
export type RecoveryOutcome = 'done' | 'failed' | 'rolled-back';

export interface RecoveryStep {
  name: string;
  /** Since the recovery's start. */
  startedMs: number;
  durationMs: number;
  /** What was done or found, or the error. */
  detail: string;
}

/** One entry of `history --json`, and what `switchover --json` prints (design.md section 3). */
export interface RecoveryRecord {
  id: string;
  kind: RecoveryKind;
  cluster: string;
  from: NodeAddress | null;
  to: NodeAddress | null;
  epoch: number;
  outcome: RecoveryOutcome;
  reason: string;
  /** ISO 8601, UTC. */
  startedAt: string;
  durationMs: number;
  longestStallMs: number;
  clientErrors: number;
  steps: RecoveryStep[];
}

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
}

/** What recovery may do to the clients of its cluster. */
export interface ClientGate {
  /** Resolves when every worker has applied the closed route: no new statement is sent. */
  close(reason: 'switchover' | 'failover', recovery: string): Promise<void>;
  /** After close: lets in-flight work end for at most `drainMs`, ends the rest. Returns transactions ended. */
  drain(drainMs: number): Promise<number>;
  /** Publishes `primary` under a new epoch and opens. Resolves with the epoch when every worker has applied it. */
  open(primary: NodeAddress, recovery: string): Promise<number>;
  /** Opens again with the old primary and epoch: nothing happened. */
  reopen(recovery: string): Promise<void>;
  /** Asks the workers what clients noticed since `close`. */
  impact(recovery: string): Promise<Impact>;
}
