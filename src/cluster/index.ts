// The door of src/cluster: what a cluster is, who its primary is, whether that lives, and the hands on its nodes.

export { ANALYSIS_NAMES, ANALYSIS_OF_STATE, type AnalysisName } from './analyses.ts';
export type { Claim } from './claim.ts';
export { monitorClock } from './clock.ts';
export { couldWrite, galeraAddresses, galeraOf, isWithout, leftBehindBy } from './galera.ts';
export { leftBehind } from './group.ts';
export * from './gtid.ts';
export { type CommitHealth, isActionable } from './heartbeat.ts';
export { ClusterMonitor } from './monitor.ts';
export type { MonitorLog, MonitorMemory, MonitorOptions } from './monitor-options.ts';
export { LookBudget } from './pace.ts';
export { asksForSemiSync, byPreference, mayAcknowledge, placementOf } from './placement.ts';
export type { CloneProgress, Credentials, ErrantReport, Newcomer, NodeRebuilder } from './rebuild.ts';
export * from './types.ts';
export { refusedSince } from './watcher.ts';
