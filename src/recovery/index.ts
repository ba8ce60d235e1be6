// Recovery's door: who is promoted (elect), in which order things are done (plan), and the runs that do them.
export { type Election, electForFailover, type FailoverInput } from './elect.ts';
export { type FailoverOptions, runFailover } from './failover.ts';
export { type ReinstateOptions, reinstate, runRejoin } from './rejoin.ts';
export { runSwitchover } from './switchover.ts';
export type {
  ClientGate,
  NodeControl,
  RecoveryClock,
  RecoveryContext,
  RecoveryKind,
  RecoveryLog,
  RecoveryOutcome,
  RecoveryRecord,
  RecoveryStep,
} from './types.ts';
