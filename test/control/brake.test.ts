// Failovers that follow each other: what makes the next one wait, what stops them, and what lets them go on.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  Ages,
  brakeOf,
  brakeWindowMs,
  degradedBrake,
  demotedBy,
  lastFailoverFailed,
  stoppedBy,
} from '../../src/control/brake.ts';
import { ENDED_EARLY, FORSAKEN, NOT_FENCED, type RecoveryRecord, UNFINISHED } from '../../src/recovery/index.ts';

const settings = { minIntervalMs: 60_000, maxFailures: 3 };
const NOW = 1_795_000_000_000;

function failover(agoMs: number, over: Partial<RecoveryRecord> = {}): RecoveryRecord {
  return {
    id: `r${agoMs}`,
    kind: 'failover',
    cluster: 'shop',
    from: 'a:1',
    to: 'b:1',
    epoch: 1,
    outcome: 'done',
    analysis: 'primary-dead',
    reason: 'why',
    startedAt: new Date(NOW - agoMs).toISOString(),
    durationMs: 0,
    longestStallMs: 0,
    clientErrors: 0,
    steps: [],
    ...over,
  };
}

const failed = (agoMs: number, reason = 'a step failed') => failover(agoMs, { outcome: 'failed', reason });
const word = (agoMs: number) => failover(agoMs, { analysis: undefined, kind: 'switchover' });
const state = (history: RecoveryRecord[], answers = false) => {
  const ages = new Ages({ nowMs: () => 0, wallMs: () => NOW });
  return brakeOf(history, answers, settings, (record) => ages.of(record)).state;
};

test('a dead primary is not made to wait, one that answers is, for the least time', () => {
  assert.equal(state([]), 'free');
  assert.equal(state([failover(59_000)]), 'free');
  assert.equal(state([failover(59_000)], true), 'waits');
  assert.equal(state([failover(60_000)], true), 'free');
});

test('after as many failures in a row as are allowed it stops, for dead primaries, too', () => {
  assert.equal(state([failed(1), failed(2)]), 'free');
  assert.equal(state([failed(1), failed(2), failed(3)]), 'stopped');
  assert.equal(state([failed(1), failed(2), failover(3), failed(4)]), 'free');
  assert.equal(state([failed(1), failed(2), failed(brakeWindowMs + 1)]), 'free');
});

test('a clock that is set back or forward makes no recovery of this process younger or older', () => {
  const clock = { now: 1_000, wall: NOW };
  const ages = new Ages({ nowMs: () => clock.now, wallMs: () => clock.wall });
  const before = failover(5_000, { id: 'before' });
  const during = failover(0, { id: 'during' });
  ages.ended(during);
  assert.deepEqual([ages.of(before), ages.of(during)], [5_000, 0]);
  clock.now += 2_000;
  clock.wall -= 3_600_000;
  assert.deepEqual([ages.of(before), ages.of(during)], [2_000, 2_000]);
  clock.wall += 7_200_000;
  assert.equal(ages.of(during), 2_000);
});

test('a degraded primary is not left soon after the primary moved, or was to move', () => {
  const of = (...history: RecoveryRecord[]) => {
    const ages = new Ages({ nowMs: () => 0, wallMs: () => NOW });
    return degradedBrake(history, (record) => ages.of(record)).state;
  };
  assert.equal(of(), 'free');
  assert.equal(of(failed(60_000)), 'waits');
  assert.equal(of(failover(60_000, { kind: 'rejoin' }), failover(599_000, { kind: 'follow' })), 'waits');
  assert.equal(of(failover(600_000, { kind: 'switchover' })), 'free');
});

test('who was primary and is not is known by the history', () => {
  const back = failover(1, { from: 'b:1', to: 'a:1' });
  assert.deepEqual(demotedBy([failover(2)]), ['a:1']);
  assert.deepEqual(demotedBy([back, failover(2)]), ['b:1']);
  assert.deepEqual(demotedBy([failed(1)]), []);
});

test('a failover that came to nothing, or a switchover that came to no end, may have left something behind', () => {
  const switchover = (reason: string) => failover(1, { kind: 'switchover', outcome: 'failed', reason });
  assert.equal(lastFailoverFailed([failed(1)]), true);
  assert.equal(lastFailoverFailed([failover(1), failed(2)]), false);
  assert.equal(lastFailoverFailed([switchover(UNFINISHED), failover(2)]), true);
  assert.equal(lastFailoverFailed([switchover(FORSAKEN), failover(2)]), true);
  assert.equal(lastFailoverFailed([failover(1, { reason: ENDED_EARLY })]), true);
  assert.equal(lastFailoverFailed([switchover('refused: no'), failover(2)]), false);
});

test('whose receiver a failover stopped and did not start again is known by the steps of the history', () => {
  const steps = (...names: [string, string][]) =>
    names.map(([name, detail]) => ({ name, startedMs: 0, durationMs: 0, detail }));
  const stop = (at: number, node: string) => failover(at, { steps: steps([`apply-received ${node}`, 'ok']) });
  const start = (at: number, detail: string) => failover(at, { steps: steps(['follow b:1', detail]) });
  assert.deepEqual(stoppedBy([stop(1, 'b:1')]), ['b:1']);
  assert.deepEqual(stoppedBy([start(1, 'follows a:1'), stop(2, 'b:1')]), []);
  assert.deepEqual(stoppedBy([start(1, 'failed: timeout'), stop(2, 'b:1')]), ['b:1']);
  assert.deepEqual(stoppedBy([stop(1, 'b:1'), start(2, 'follows a:1')]), ['b:1']);
  const both = failover(1, { steps: steps(['apply-received b:1', 'ok'], ['follow b:1', 'follows a:1']) });
  assert.deepEqual(stoppedBy([both]), []);
});

test('refusals are no failures: they touched nothing, and stand until something changes', () => {
  assert.equal(state([1, 2, 3, 4].map((at) => failed(at, 'refused: nobody can be promoted'))), 'free');
});

test("an operator's failover or switchover is the word to go on", () => {
  assert.equal(state([word(1), failed(2), failed(3), failed(4)]), 'free');
  assert.equal(state([word(1), failover(2)], true), 'free');
  assert.equal(state([failed(1), word(2), failed(3), failed(4)]), 'free');
  const refused = failover(1, { analysis: undefined, outcome: 'failed', reason: 'refused: no' });
  assert.equal(state([refused, failed(2), failed(3), failed(4)]), 'stopped');
});

test('an old primary that could not be fenced stops it at once where the policy is to refuse', () => {
  assert.equal(state([failed(brakeWindowMs * 2, `${NOT_FENCED}a:1 could not be reached`)]), 'stopped');
  assert.equal(state([word(1), failed(2, `${NOT_FENCED}a:1 could not be reached`)]), 'free');
});
