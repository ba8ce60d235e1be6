// What a recovery is: its plan as data, its record, and the hands it needs (ports). The recovery code
// decides and orders; nodes are touched only through `NodeControl`, clients only through `ClientGate`.
import type { AnalysisName } from '../cluster/index.ts';
import type { ClusterView, NodeControl } from '../cluster/types.ts';
import type { ClusterConfig } from '../config/types.ts';
import type { Impact, NodeAddress } from '../messages/index.ts';
import type { Store } from '../store/types.ts';

export type { NodeControl } from '../cluster/types.ts';

export type RecoveryKind =
  | 'switchover'
  | 'failover'
  | 'rejoin'
  | 'follow'
  | 'reinstate'
  | 'semisync'
  | 'rebuild'
  | 'add-node';
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
  /** What it was begun for; absent where an operator ordered it. */
  analysis?: AnalysisName | undefined;
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
  /**
   * Before `open`, at any time: opens to `node` the server connections that clients will need there, and waits for them
   * for at most `waitMs`. Returns how many are open.
   */
  openAhead(node: NodeAddress, waitMs: number): Promise<number>;
  /** After close: lets in-flight work end for at most `drainMs`, ends the rest. Returns transactions ended. */
  drain(drainMs: number): Promise<number>;
  /** Publishes `primary` under a new epoch and opens. Resolves with the epoch when every worker has applied it. */
  open(primary: NodeAddress, recovery: string): Promise<number>;
  /** Opens again with the old primary and epoch: nothing happened. */
  reopen(recovery: string): Promise<void>;
  /** Asks the workers what clients noticed since `close`. */
  impact(recovery: string): Promise<Impact>;
}

/** Time, handed in so that a recovery can be simulated. */
export interface RecoveryClock {
  /** Monotonic, ms; the clock of `NodeObservation.at`. */
  nowMs(): number;
  /** Milliseconds since 1970, UTC. */
  wallMs(): number;
  /** Ends after `ms`, or at once when `signal` aborts (then it may reject). */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** A pino logger satisfies this. */
export interface RecoveryLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** All that a recovery of one cluster works with. The caller runs one recovery of a cluster at a time. */
export interface RecoveryContext {
  cluster: string;
  /** What is known now; asked again at every decision. */
  view(): ClusterView;
  nodes: NodeControl;
  gate: ClientGate;
  store: Store;
  clock: RecoveryClock;
  config: ClusterConfig;
  log: RecoveryLog;
  /** Nodes that operators took out of service, or work at: promoted only where they are named, or nobody else is as far. */
  outOfService?: () => ReadonlySet<NodeAddress>;
  /** What it is begun for; absent where an operator ordered it. */
  analysis?: AnalysisName | undefined;
  /** Called when the recovery has begun (`step` null) and after each step. Must not throw. */
  onProgress?: (record: RecoveryRecord, step: RecoveryStep | null) => void;
  /** In [0, 1), for the end of the id. */
  random?: () => number;
}
