// What a monitor is given: the configuration, what an earlier run knew, the clock and the log.
import type { ClusterConfig } from '../config/types.ts';
import type { NodeAddress } from '../messages/index.ts';
import type { MonitorClock } from './clock.ts';
import type { LookBudget } from './pace.ts';

/** A pino logger satisfies this. */
export interface MonitorLog {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** What an earlier run knew. */
export interface MonitorMemory {
  primary: NodeAddress | null;
  epoch: number;
  nodes: readonly { node: NodeAddress; identity: string }[];
  /** Former primaries: not followed where they come back, unless they were seen to be read-only. */
  demoted?: readonly NodeAddress[];
  /** Whom a recovery was about to promote when that run ended: where it takes writes, it is the primary. */
  promised?: NodeAddress | null;
}

export interface MonitorOptions {
  config: ClusterConfig;
  memory: MonitorMemory | null;
  clock: MonitorClock;
  log: MonitorLog;
  /** Shared by all monitors of a process; one's own without. */
  budget?: LookBudget;
  /** Nodes that an operator removed. */
  removed?: readonly NodeAddress[];
}
