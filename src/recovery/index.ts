// Recovery's door: who is promoted (elect), in which order things are done (plan), and the runs that do them.

export { reinstate, runFailover, runRejoin, runSwitchover } from './by-topology.ts';
export { type Election, electForFailover, type FailoverInput } from './elect.ts';
export type { FailoverOptions } from './failover.ts';
export { NOT_FENCED } from './fence.ts';
export { type Floor, floorAfter } from './floor.ts';
export {
  concludeUnfinished,
  ENDED_EARLY,
  FORSAKEN,
  forsakeUnfinished,
  OBSERVED,
  recordObserved,
  UNFINISHED,
} from './journal.ts';
export { fenceOfPromised, type PromisedFence, repointToPromised, standingOfPromised } from './promised.ts';
export { type RebuildOptions, runRebuild } from './rebuild.ts';
export { makeReadOnly, type ReinstateOptions } from './rejoin.ts';
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
export { runUpkeep, type UpkeepOptions } from './upkeep.ts';
