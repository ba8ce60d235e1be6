// What the control process needs of its neighbours, as shapes: the cluster monitor, a log, time. The real ones
// come from src/cluster and from the caller; tests hand in their own. Nothing here decides anything.
import { setTimeout as pause } from 'node:timers/promises';
import type { Claim, CommitHealth, NodeRebuilder } from '../cluster/index.ts';
import type { ClusterView, NodeControl, NodeObservation, PrimaryHealth, ServerGreeting } from '../cluster/types.ts';
import type { Account, EvidenceKind, NodeAddress } from '../messages/index.ts';
import type { RecoveryClock } from '../recovery/types.ts';

/** A pino logger satisfies this. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** The part of ClusterMonitor that the control process uses. */
export interface Monitor {
  start(): void;
  stop(): Promise<void>;
  view(): ClusterView;
  primaryHealth(): PrimaryHealth;
  /** Whether the primary commits, as far as our own writes tell. */
  commitHealth(): CommitHealth;
  /** Whether it is us who recover this cluster. */
  claim(): Claim;
  /** Calls back after every change of the view or of the primary's health; returns the unsubscriber. */
  onChange(callback: () => void): () => void;
  /** A probe of its own, started now. Never rejects: what went wrong is in `reach`. */
  lookNow(node: NodeAddress): Promise<NodeObservation>;
  evidence(kind: EvidenceKind, node: NodeAddress, detail: string): void;
  setPrimary(node: NodeAddress | null): void;
  readonly nodeControl: NodeControl;
  readonly rebuilder: NodeRebuilder;
  removeNode(node: NodeAddress): void;
  admitNode(node: NodeAddress): void;
  /** All accounts of the cluster. Rejects where no node that could tell is reachable. */
  accounts(): Promise<Account[]>;
  /** How the primary greets; null until one was seen. */
  greeting(): ServerGreeting | null;
}

/** Time. The same clock serves the monitor and the recoveries, so that their readings can be compared. */
export type Clock = RecoveryClock;

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  sleep: async (ms, signal) => {
    await pause(ms, undefined, { signal });
  },
};

/** The text of anything that was thrown. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
