// What keeps automatic failovers from following each other without end: a least time between two where the primary
// answers (a judgement, which may be wrong twice), and a stop after several that failed. Pure, and made from the
// history alone, so that a restart forgets nothing. An operator's failover or switchover is the word to go on.
import type { AnalysisName } from '../cluster/index.ts';
import type { NodeAddress } from '../messages/index.ts';
import { ENDED_EARLY, FORSAKEN, NOT_FENCED, OBSERVED, type RecoveryRecord, UNFINISHED } from '../recovery/index.ts';
import type { Clock } from './ports.ts';

export interface BrakeSettings {
  minIntervalMs: number;
  maxFailures: number;
}

export type Brake =
  | { state: 'free' }
  /** `analysis`: what it waits for; absent where the last recovery was a moment ago. */
  | { state: 'waits'; reason: string; analysis?: AnalysisName }
  /** Until an operator orders a failover or a switchover. */
  | { state: 'stopped'; reason: string };

/** Failures older than this do not count. */
export const brakeWindowMs = 600_000;
/** More than are looked at. */
const MAX_AGES = 200;

/**
 * `history` newest first. `answers`: the primary is there, and a failover would be a judgement; one that is dead is
 * not made to wait for the time to pass. `ageMs`: how long ago a recovery ended.
 */
export function brakeOf(
  history: readonly RecoveryRecord[],
  answers: boolean,
  settings: BrakeSettings,
  ageMs: (record: RecoveryRecord) => number,
): Brake {
  const since = history.findIndex(isWord);
  const failovers = (since < 0 ? history : history.slice(0, since)).filter(isAutomatic);
  const recent = failovers.filter((record) => ageMs(record) < brakeWindowMs);
  const unfenced = failovers[0]?.reason.startsWith(NOT_FENCED) === true ? failovers[0] : undefined;
  if (unfenced !== undefined) return { state: 'stopped', reason: unfenced.reason };
  const firstDone = recent.findIndex(({ outcome }) => outcome === 'done');
  const failed = (firstDone < 0 ? recent : recent.slice(0, firstDone)).filter(isFailure);
  if (failed.length >= settings.maxFailures) {
    const reason = `${failed.length} failovers failed in a row, the last one: ${failed[0]?.reason ?? ''}`;
    return { state: 'stopped', reason };
  }
  const last = failovers.find(({ outcome }) => outcome === 'done');
  if (!answers || last === undefined) return { state: 'free' };
  if (ageMs(last) >= settings.minIntervalMs) return { state: 'free' };
  return { state: 'waits', reason: `the last failover is less than ${settings.minIntervalMs / 1000} s ago` };
}

/** How long ago recoveries ended, whatever is done to the machine's clock. */
export class Ages {
  readonly #clock: Pick<Clock, 'nowMs' | 'wallMs'>;
  readonly #beganMs: number;
  readonly #endedMs = new Map<string, number>();

  constructor(clock: Pick<Clock, 'nowMs' | 'wallMs'>) {
    this.#clock = clock;
    this.#beganMs = clock.nowMs();
  }

  ended(record: RecoveryRecord): void {
    this.#endedMs.set(record.id, this.#clock.nowMs());
    const [oldest] = this.#endedMs.keys();
    if (this.#endedMs.size > MAX_AGES && oldest !== undefined) this.#endedMs.delete(oldest);
  }

  /** Of one that ended before this process began the clock tells; but at least as long ago as that. */
  of({ durationMs, id, startedAt }: RecoveryRecord): number {
    const now = this.#clock.nowMs();
    const endedMs = this.#endedMs.get(id);
    if (endedMs !== undefined) return now - endedMs;
    return Math.max(this.#clock.wallMs() - Date.parse(startedAt) - durationMs, now - this.#beganMs);
  }
}

/** Between a planned switchover away from a degraded primary and anything that moved, or tried to move, the primary. */
const degradedPauseMs = 600_000;

/** Whether a degraded primary may be left: a judgement, so not soon after anything else. `history` newest first. */
export function degradedBrake(history: readonly RecoveryRecord[], ageMs: (record: RecoveryRecord) => number): Brake {
  const last = history.find(({ kind }) => kind === 'failover' || kind === 'switchover' || kind === 'follow');
  if (last === undefined || ageMs(last) >= degradedPauseMs) return { state: 'free' };
  return { state: 'waits', reason: 'the primary moved, or was to move, less than ten minutes ago' };
}

/**
 * Whether the newest failover came to nothing, or it or a switchover to no end: what was stopped, or made read-only, may be
 * so still.
 */
export function lastFailoverFailed(history: readonly RecoveryRecord[]): boolean {
  const last = history.find(({ kind, reason }) => {
    if (kind === 'switchover') return reason === UNFINISHED || reason === ENDED_EARLY || reason === FORSAKEN;
    return kind === 'failover' && !reason.startsWith(OBSERVED);
  });
  return last !== undefined && (last.outcome !== 'done' || last.reason === ENDED_EARLY);
}

/** Nodes whose receivers failovers stopped and did not start again, as far as their records tell. */
export function stoppedBy(history: readonly RecoveryRecord[]): NodeAddress[] {
  const last = new Map<NodeAddress, boolean>();
  for (const { steps } of history) {
    for (const { detail, name } of steps.toReversed()) {
      const [what, node] = name.split(' ');
      if (node === undefined || last.has(node)) continue;
      if (what === 'apply-received') last.set(node, true);
      else if (what === 'follow' && detail.startsWith('follows')) last.set(node, false);
    }
  }
  return [...last].filter(([, stopped]) => stopped).map(([node]) => node);
}

/** Nodes that were primary and are not, newest word first: they may come back as if nothing had happened. */
export function demotedBy(history: readonly RecoveryRecord[]): NodeAddress[] {
  const word = new Map<NodeAddress, boolean>();
  for (const { from, to } of history.filter(hasMoved)) {
    if (to !== null && !word.has(to)) word.set(to, false);
    if (from !== null && !word.has(from)) word.set(from, true);
  }
  return [...word].filter(([, demoted]) => demoted).map(([node]) => node);
}

/** The nodes between which the primary moved; none where it did not. */
export function movedBy(record: RecoveryRecord): NodeAddress[] {
  return hasMoved(record) ? [record.from, record.to].filter((node) => node !== null) : [];
}

function hasMoved({ kind, outcome }: RecoveryRecord): boolean {
  return outcome === 'done' && (kind === 'failover' || kind === 'switchover' || kind === 'follow');
}

/** An operator's order that came about. */
function isWord({ analysis, kind, outcome }: RecoveryRecord): boolean {
  return analysis === undefined && outcome === 'done' && (kind === 'failover' || kind === 'switchover');
}

function isAutomatic({ analysis, kind }: RecoveryRecord): boolean {
  return kind === 'failover' && analysis !== undefined;
}

/** A refusal has touched nothing; it is repeated as long as it stands. */
function isFailure({ outcome, reason }: RecoveryRecord): boolean {
  return outcome !== 'done' && !reason.startsWith('refused: ') && !reason.startsWith(OBSERVED);
}
