// The door of what keeps writes in flight: see guard.ts.
export { WitnessedAccounts } from './accounts.ts';
export { CHOOSES_GTID } from './chosen.ts';
export { endOf } from './ends.ts';
export { Guard } from './guard.ts';
export { Holes } from './holes.ts';
export { mayWrite, opens, READ_WRITE } from './opens.ts';
export { type AnswerMark, RecordingBudget } from './recording.ts';
export type { Guarded } from './types.ts';
export { verb, Witnesses } from './witness.ts';
