// The verdict on a drill, with its evidence. A client may get 1213 for a transaction that it then gives up: the server's own
// deadlocks, and replays that would have shown something else; they are counted apart. A client whose proxy worker was
// killed loses its connection, and nothing else; that is counted apart, too. Any other error fails the drill. Pure.
import type { Audit } from './book.ts';
import type { Conserved } from './conserve.ts';
import { Histogram } from './histogram.ts';
import type { Expected, Period } from './period.ts';
import type { Timeline } from './timeline.ts';
import type { ClientError } from './verdict.ts';

/**
 * `switchover`: by the command. `kill`: `kill -9` of the primary. `kill-in-commit`: the same when commits
 * wait for an acknowledgement that is on its way. `freeze`: SIGSTOP until another is promoted. `cut`: all
 * clients' connections to the primary are ended, and it lives on. `worker`: `kill -9` of a process of Evenkeel's.
 */
export type FaultKind = 'switchover' | 'kill' | 'kill-in-commit' | 'freeze' | 'cut' | 'worker';

export interface DrillFault {
  /** More than one where they struck together. */
  kinds: readonly FaultKind[];
  /** The primary then. */
  node: string;
  /** In ms since the load's start. */
  atMs: number;
  /** When its effect was over. */
  doneMs: number;
}

export interface DrillFaultReport {
  /** `kill`, `kill+worker`. */
  kind: string;
  node: string;
  /** In ms since the load's start. */
  at: number;
  /** The longest that a client waited for an answer, from the fault to the next one. */
  stallMs: number;
  /** Errors that no client should have seen. */
  errors: number;
  replaysDiffered: number;
  lostWithWorker: number;
  /** Waits from this fault to the next one: upper bound in ms → statements. */
  stalls: Record<string, number>;
}

export interface DrillEvidence {
  audit: Audit & Conserved;
  errors: readonly ClientError[];
  faults: readonly DrillFault[];
  timeline: Timeline;
  /** The one before the first fault first, then one a fault. */
  periods: readonly Period[];
  /** What did not happen that should have, in sentences. */
  missing: readonly string[];
}

export interface DrillReport {
  verdict: 'pass' | 'fail';
  /** Why it failed, in sentences; none where it passed. */
  reasons: string[];
  /** Errors that no client should have seen. */
  clientErrors: number;
  /** All errors, by kind and error number, e.g. `write 9104`. */
  errorsByKind: Record<string, number>;
  longestStallMs: number;
  /** Writes and transactions that were confirmed to their clients. */
  acknowledged: number;
  /** Confirmed, or said to be executed, and not there. */
  lost: number;
  duplicated: number;
  /** There although the client was told `not executed`, or although nobody sent it. */
  unexpected: number;
  /** Accounts and transfers that do not agree at the end. */
  imbalance: number;
  /** Entries of lists that are not where their writer put them. */
  outOfOrder: number;
  /** Reads that missed what had been confirmed, went back in time, found a wrong total or another session's settings. */
  wrongReads: number;
  /** Transactions that ended with 1213 since their replay would have shown something else. */
  replaysDiffered: number;
  /** The server's own 1213. */
  deadlocks: number;
  /** Connections that were lost with a killed process of Evenkeel's. */
  lostWithWorker: number;
  /** Writes whose client was not told the outcome, by what became of them. */
  unknown: { executed: number; notExecuted: number };
  /** Waits of all statements: upper bound in ms → statements. */
  stalls: Record<string, number>;
  faults: DrillFaultReport[];
}

/** A socket of a killed process is closed by the kernel, and its client hears of it a moment later. */
const GRACE_MS = 1000;

/** Lost with a killed worker; any other error is wrong. */
function isExcused(error: ClientError, faults: readonly DrillFault[]): boolean {
  if (error.kind !== 'connection') return false;
  return faults.some(
    ({ kinds, atMs, doneMs }) =>
      kinds.includes('worker') && error.answeredMs >= atMs && error.answeredMs <= doneMs + GRACE_MS,
  );
}

/** How many errors there are already that no client should have seen. */
export function wrongErrors(errors: readonly ClientError[], faults: readonly DrillFault[]): number {
  return errors.filter((error) => !isExcused(error, faults)).length;
}

export function drillReport(evidence: DrillEvidence): DrillReport {
  const { audit, errors, faults, timeline, periods, missing } = evidence;
  const judged = errors.map((error) => ({ error, excused: isExcused(error, faults) }));
  const wrong = judged.filter(({ excused }) => !excused).map(({ error }) => error);
  const expected = (as: Expected): number => periods.reduce((sum, period) => sum + period.expected[as], 0);
  const reasons: string[] = [];
  const blame = (times: number, what: string): void => {
    if (times > 0) reasons.push(`${times} ${what}`);
  };
  blame(audit.lost, 'confirmed writes are not there');
  blame(audit.duplicated, 'writes are there more than once');
  blame(audit.unexpected, 'writes are there that should not be');
  blame(audit.imbalance, 'accounts or transfers do not agree');
  blame(audit.outOfOrder, 'entries of lists are not where their writer put them');
  blame(wrong.length, `errors that no client should have seen${first(wrong)}`);
  if (audit.acknowledged === 0) reasons.push('no write was confirmed at all');
  reasons.push(...missing);
  const all = new Histogram();
  for (const { waits } of periods) all.add(waits);
  return {
    verdict: reasons.length === 0 ? 'pass' : 'fail',
    reasons: [...reasons, ...audit.examples],
    clientErrors: wrong.length,
    errorsByKind: byKind(errors, {
      'deadlock 1213': expected('deadlock'),
      'replay-differed 1213': expected('replay-differed'),
    }),
    longestStallMs: tenths(timeline.longestMs(0)),
    acknowledged: audit.acknowledged,
    lost: audit.lost,
    duplicated: audit.duplicated,
    unexpected: audit.unexpected,
    imbalance: audit.imbalance,
    outOfOrder: audit.outOfOrder,
    wrongReads: wrong.filter(({ kind }) => kind === 'answer').length,
    replaysDiffered: expected('replay-differed'),
    deadlocks: expected('deadlock'),
    lostWithWorker: errors.length - wrong.length,
    unknown: audit.unknown,
    stalls: all.toJSON(),
    faults: faults.map((fault, at) => {
      const untilMs = faults[at + 1]?.atMs ?? Number.POSITIVE_INFINITY;
      const since = judged.filter(({ error }) => error.answeredMs >= fault.atMs && error.answeredMs < untilMs);
      const lostWithWorker = since.filter(({ excused }) => excused).length;
      const period = periods[at + 1];
      return {
        kind: fault.kinds.join('+'),
        node: fault.node,
        at: Math.round(fault.atMs),
        stallMs: tenths(timeline.longestMs(fault.atMs, untilMs)),
        errors: since.length - lostWithWorker,
        replaysDiffered: period?.expected['replay-differed'] ?? 0,
        lostWithWorker,
        stalls: (period?.waits ?? new Histogram()).toJSON(),
      };
    }),
  };
}

function byKind(errors: readonly ClientError[], expected: Record<string, number>): Record<string, number> {
  const counts = Object.fromEntries(Object.entries(expected).filter(([, times]) => times > 0));
  for (const { kind, errno } of errors) {
    const name = errno === null ? kind : `${kind} ${errno}`;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

function first([error]: readonly ClientError[]): string {
  return error === undefined ? '' : `; the first: client ${error.client}, ${error.kind}: ${error.message}`;
}

function tenths(ms: number): number {
  return Math.round(ms * 10) / 10;
}
