// The door of src/cluster: what a cluster is, who its primary is, whether that lives, and the hands on its nodes.
export * from './types.ts';
export * from './gtid.ts';
export { NodeControlError } from './control.ts';
export { ClusterMonitor, monitorClock, type MonitorLog, type MonitorMemory, type MonitorOptions } from './monitor.ts';
export type { MonitorClock } from './watcher.ts';
