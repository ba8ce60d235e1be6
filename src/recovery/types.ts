// What a recovery is: its plan as data, its record, and the hands it needs (ports). The recovery code
// decides and orders; nodes are touched only through `NodeControl`, clients only through `ClientGate`.
import type { Impact, NodeAddress } from '../messages/index.ts';

export type { NodeControl } from '../cluster/types.ts';

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
