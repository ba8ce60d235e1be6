// The door of the drill room: workloads that check themselves against a running cluster, for the demo, drills and
// benchmarks, and the verdict on how a run went. It stands alone: it sees the cluster as any application does.
export { type Audit, audit, ClientBook, type Doubt, type Found } from './book.ts';
export { type Conserved, conserved } from './conserve.ts';
export { Histogram } from './histogram.ts';
export { CheckedLoad } from './load.ts';
export { Period } from './period.ts';
export { Dice } from './random.ts';
export {
  type DrillEvidence,
  type DrillFault,
  type DrillFaultReport,
  type DrillReport,
  drillReport,
  type FaultKind,
  wrongErrors,
} from './report.ts';
export { dropSchema, type Holdings, makeSchema } from './tables.ts';
export { type Slice, Timeline } from './timeline.ts';
export { type ClientError, type Fault, type FaultReport, type Judgement, judge, verdictOf } from './verdict.ts';
export { Workload, type WorkloadLogin, type WorkloadOptions, type WorkloadState } from './workload.ts';
