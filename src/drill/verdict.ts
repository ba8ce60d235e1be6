// The verdict on a run: what went wrong for its clients, and what of it is the doubt that an endpoint with `inFlight:
// report` owns up to: a write that was on its way when its primary was killed is answered with an error that says `unknown`.
// With `exactly-once` there is no such excuse. Pure.
import type { InFlightMode } from '../messages/index.ts';
import type { Audit } from './book.ts';
import type { Timeline } from './timeline.ts';

export type Verdict = 'not executed' | 'executed' | 'unknown';

/** One error that a client of the workload got. Times are in ms since the workload's start. */
export interface ClientError {
  client: number;
  /** `connection`: the connection was lost. `answer`: the answer came and was wrong. `stuck`: no answer ever came. */
  kind: 'write' | 'read' | 'connection' | 'answer' | 'stuck';
  sentMs: number;
  answeredMs: number;
  errno: number | null;
  message: string;
  /** The verdict that the error itself carries. */
  verdict: Verdict | null;
}

export interface Fault {
  kind: 'switchover' | 'kill';
  /** The node that it struck. */
  node: string;
  atMs: number;
  /** When it had struck and its effect could be seen: a statement that was sent before may have been on its way. */
  doneMs: number;
}

/** One of `faults` in `demo --json`; `at` is in ms since the workload's start. */
export interface FaultReport {
  kind: Fault['kind'];
  node: string;
  at: number;
  /** The longest that a client waited for an answer, from the fault to the next one. */
  stallMs: number;
  /** Errors that no client should have seen. */
  errors: number;
  /** Writes that were on their way when the server was killed, answered with an error that says `unknown`. */
  unknown: number;
}

export interface Judgement {
  verdict: 'pass' | 'fail';
  /** Why it failed, in sentences; none where it passed. */
  reasons: string[];
  /** Errors that no client should have seen. */
  clientErrors: number;
  /** Errors that owned up to a doubt: see `FaultReport.unknown`. */
  unknown: number;
  longestStallMs: number;
  faults: FaultReport[];
}

export interface Evidence {
  audit: Audit;
  errors: readonly ClientError[];
  /** Errors beyond those in `errors`, which is bounded. */
  furtherErrors: number;
  faults: readonly Fault[];
  timeline: Timeline;
  /** The endpoint's. */
  inFlight: InFlightMode;
}

/** From the moment that a death is known until no worker sends anything more to the dead. */
const GRACE_MS = 50;

/** The verdict that an error of Evenkeel carries in its text; null where it has none. */
export function verdictOf(message: string): Verdict | null {
  const found = /\(Evenkeel: [a-z-]+; (not executed|executed|unknown)\)/.exec(message)?.[1];
  return (found as Verdict | undefined) ?? null;
}

/** Was it on its way when a server was killed, and does its error say so? */
function ownsUp(error: ClientError, faults: readonly Fault[]): boolean {
  if (error.kind !== 'write' || error.verdict !== 'unknown') return false;
  return faults.some(
    ({ kind, atMs, doneMs }) => kind === 'kill' && error.answeredMs >= atMs && error.sentMs <= doneMs + GRACE_MS,
  );
}

export function judge({ audit, errors, furtherErrors, faults, timeline, inFlight }: Evidence): Judgement {
  const excused = inFlight === 'report' ? faults : [];
  const wrong = errors.filter((error) => !ownsUp(error, excused));
  const clientErrors = wrong.length + furtherErrors;
  const reasons: string[] = [];
  const blame = (count: number, what: string): void => {
    if (count > 0) reasons.push(`${count} ${what}`);
  };
  blame(audit.lost, 'acknowledged writes are not there');
  blame(audit.duplicated, 'writes are there more than once');
  blame(audit.unexpected, 'writes are there that should not be');
  blame(clientErrors, `errors that no client should have seen${first(wrong)}`);
  if (audit.acknowledged === 0) reasons.push('no write was acknowledged at all');
  return {
    verdict: reasons.length === 0 ? 'pass' : 'fail',
    reasons,
    clientErrors,
    unknown: errors.length - wrong.length,
    longestStallMs: tenths(timeline.longestMs(0)),
    faults: faults.map((fault, index) => report(fault, faults[index + 1]?.atMs, errors, excused, timeline)),
  };
}

function first(errors: readonly ClientError[]): string {
  const [error] = errors;
  return error === undefined ? '' : `; the first: client ${error.client}, ${error.kind}: ${error.message}`;
}

function report(
  fault: Fault,
  untilMs: number | undefined,
  errors: readonly ClientError[],
  excused: readonly Fault[],
  timeline: Timeline,
): FaultReport {
  const { kind, node, atMs } = fault;
  const since = errors.filter(
    ({ answeredMs }) => answeredMs >= atMs && answeredMs < (untilMs ?? Number.POSITIVE_INFINITY),
  );
  const unknown = since.filter((error) => ownsUp(error, excused)).length;
  return {
    kind,
    node,
    at: Math.round(atMs),
    stallMs: tenths(timeline.longestMs(atMs, untilMs)),
    errors: since.length - unknown,
    unknown,
  };
}

function tenths(ms: number): number {
  return Math.round(ms * 10) / 10;
}
