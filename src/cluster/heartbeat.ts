// Whether the primary can commit: judged from a small write of our own and, while that write is overdue, from what
// the server says it waits for. Pure. The idea: a server that answers reads may still be of no use to anybody (its
// disk is full or stalled, or it waits for a replica that will never answer), but one slow commit may also be the
// shadow of somebody's large transaction or of a backup's lock. So an overdue write alone is no verdict: its cause is.
import type { AnalysisName } from './analyses.ts';
import { type CommitPace, type Degraded, newPace, paceAfter } from './degraded.ts';

/** Begins our write, so that a fence ends it where it ends everybody's. */
export const HEARTBEAT_MARK = '/* evenkeel heartbeat */';

export interface HeartbeatSettings {
  /** How long a write may take before it is asked what it waits for. */
  deadlineMs: number;
  /** For how long commits must have been far slower than they used to be. */
  degradedAfterMs: number;
}

/** What the server says of our overdue write, asked over another connection. */
export interface WaitFacts {
  /** What our session waits for, or the one that it stands behind, in the server's words; null where it was not found. */
  state: string | null;
  /** The server's own words for a full disk, of the last minutes; null where it has none. */
  diskFull: string | null;
  /** Counters of what was written and synced, as one text: equal twice means that nothing moves. */
  io: string;
}

export type HeartbeatEvent =
  | { type: 'sent' }
  | { type: 'committed'; latencyMs: number }
  /** The server answered with an error. */
  | { type: 'refused'; errno: number; error: string }
  /** Our connection broke, or could not be made: nothing that this file could judge. */
  | { type: 'lost'; error: string }
  | { type: 'looked'; wait: WaitFacts }
  | { type: 'tick' };

/** Analyses of a primary that answers and cannot commit. */
export type StuckAnalysis = Extract<
  AnalysisName,
  'primary-disk-full' | 'primary-stalled' | 'primary-waits-for-replicas' | 'primary-locked' | 'primary-commits-late'
>;

export type CommitHealth =
  /** Nothing is written, or nothing is known yet. */
  | { state: 'unknown'; why: string }
  /** `degraded`: far slower than it used to be, for long. */
  | { state: 'ok'; latencyMs: number; degraded?: Degraded }
  | { state: 'stuck'; analysis: StuckAnalysis; since: number; reason: string };

export interface HeartbeatState {
  /** When the write that is under way was sent. */
  readonly sentAt: number | null;
  readonly looks: readonly { at: number; wait: WaitFacts }[];
  /** Errors in a row that say that the disk is full. */
  readonly fullErrors: { count: number; since: number; text: string } | null;
  readonly pace: CommitPace;
  readonly health: CommitHealth;
}

export const newHeartbeat: HeartbeatState = {
  sentAt: null,
  looks: [],
  fullErrors: null,
  pace: newPace,
  health: { state: 'unknown', why: 'nothing was written yet' },
};

/** Disk full, table full, error writing a file, error of the storage engine with the system's error 28. */
const FULL_ERRNOS = new Set([1021, 1114]);
const NO_SPACE = /no space left|disk (?:is )?full|\b(?:errno|error):? 28\b/i;
const SEMI_SYNC = /semi-?sync ack/i;
/** States of any session that explain why others do not commit. */
export const COMMIT_CAUSES = new RegExp(`${SEMI_SYNC.source}|waiting for someone to free space`, 'i');
/** A table or global lock, a backup's, a flush: somebody holds it, and it is not ours to break. */
const LOCKED = /waiting for .*\b(?:lock|flush)\b/i;
/** MariaDB names it; MySQL says so in its error log only. */
const FREE_SPACE = /waiting for someone to free space/i;

/** One step. `now` is monotonic, ms. */
export function beat(
  state: HeartbeatState,
  event: HeartbeatEvent,
  settings: HeartbeatSettings,
  now: number,
): HeartbeatState {
  switch (event.type) {
    case 'sent':
      return { ...state, sentAt: now, looks: [] };
    case 'committed':
      return committed(state, event.latencyMs, settings, now);
    case 'refused':
      return refused(state, event, now);
    case 'lost':
      // A connection that was ended while it hung is no sign of health, nor of more than was known.
      return { ...state, sentAt: null, looks: [], health: unlessStuck(state.health, event.error) };
    case 'looked':
      if (state.sentAt === null) return state;
      return judged({ ...state, looks: [...state.looks.slice(-3), { at: now, wait: event.wait }] }, settings, now);
    case 'tick':
      return judged(state, settings, now);
    default:
      throw new Error(`unknown heartbeat event: ${JSON.stringify(event satisfies never)}`);
  }
}

function committed(
  { pace: before }: HeartbeatState,
  latencyMs: number,
  { degradedAfterMs }: HeartbeatSettings,
  now: number,
): HeartbeatState {
  const pace = paceAfter(before, latencyMs, now, degradedAfterMs);
  const { degraded } = pace;
  return { ...newHeartbeat, pace, health: { state: 'ok', latencyMs, ...(degraded === null ? {} : { degraded }) } };
}

function unlessStuck(health: CommitHealth, why: string): CommitHealth {
  return health.state === 'stuck' ? health : { state: 'unknown', why };
}

function refused(
  state: HeartbeatState,
  { errno, error }: Extract<HeartbeatEvent, { type: 'refused' }>,
  now: number,
): HeartbeatState {
  const full = FULL_ERRNOS.has(errno) || NO_SPACE.test(error);
  const { pace } = state;
  if (!full) return { ...newHeartbeat, pace, health: { state: 'unknown', why: error } };
  const { count, since } = state.fullErrors ?? { count: 0, since: now };
  const fullErrors = { count: count + 1, since, text: error };
  // One refused write may be a limit of one file; the second one is the disk.
  const health: CommitHealth =
    fullErrors.count >= 2
      ? { state: 'stuck', analysis: 'primary-disk-full', since, reason: `writes are refused: ${error}` }
      : unlessStuck(state.health, error);
  return { ...newHeartbeat, pace, fullErrors, health };
}

function judged(state: HeartbeatState, settings: HeartbeatSettings, now: number): HeartbeatState {
  const { sentAt, looks } = state;
  const last = looks.at(-1);
  if (sentAt === null || last === undefined || now - sentAt < settings.deadlineMs) return state;
  const seconds = `${((now - sentAt) / 1000).toFixed(1)} s`;
  const stuck = (analysis: StuckAnalysis, reason: string): HeartbeatState => ({
    ...state,
    health: { state: 'stuck', analysis, since: sentAt, reason: `a commit has not ended for ${seconds}: ${reason}` },
  });
  const { wait } = last;
  const where = wait.state ?? '';
  if (SEMI_SYNC.test(where)) return stuck('primary-waits-for-replicas', 'no replica acknowledges it');
  if (FREE_SPACE.test(where)) return stuck('primary-disk-full', where);
  if (wait.diskFull !== null) return stuck('primary-disk-full', wait.diskFull);
  if (LOCKED.test(where)) return stuck('primary-locked', where);
  const earlier = looks.find(({ at }) => last.at - at >= settings.deadlineMs / 4);
  // One look cannot tell whether anything moves.
  if (earlier === undefined) return state;
  if (earlier.wait.io === wait.io) {
    return stuck(
      'primary-stalled',
      `nothing is written or synced (${where === '' ? 'the server does not say' : where})`,
    );
  }
  return stuck('primary-commits-late', `it writes, but this commit has to wait (${where})`);
}

/** Whether another node would do better: not where a lock or somebody's large transaction is in the way. */
export function isActionable(health: CommitHealth): boolean {
  return health.state === 'stuck' && health.analysis !== 'primary-locked' && health.analysis !== 'primary-commits-late';
}
