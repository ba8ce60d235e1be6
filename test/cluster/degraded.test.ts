// A primary that commits far slower than it used to: what is one, and what is not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type CommitPace, newPace, paceAfter } from '../../src/cluster/degraded.ts';

/** Writes of `latencyMs` each, one every `everyMs`, for `forMs`. */
function go(pace: CommitPace, from: number, latencyMs: number, forMs: number, everyMs = 500): [CommitPace, number] {
  let after = pace;
  let now = from;
  for (; now < from + forMs; now += everyMs) after = paceAfter(after, latencyMs, now, SUSTAINED_MS);
  return [after, now];
}

const SUSTAINED_MS = 30_000;

const learned = () => go(newPace, 0, 4, 120_000);

test('commits that take many times as long as they used to, for long, are told with both times', () => {
  const [usual, at] = learned();
  const [soon] = go(usual, at, 300, 0.6 * SUSTAINED_MS);
  assert.equal(soon.degraded, null);
  const [late] = go(usual, at, 300, SUSTAINED_MS + 10_000);
  assert.equal(Math.round(late.degraded?.usualMs ?? 0), 4);
  assert.equal(late.degraded?.latencyMs, 300);
});

test('what was slow does not become what is usual, and it is over when commits are fast again', () => {
  const [usual, at] = learned();
  const [hour, then] = go(usual, at, 300, 3_600_000);
  assert.notEqual(hour.degraded, null);
  assert.equal(Math.round(hour.usualMs ?? 0), 4);
  assert.equal(go(hour, then, 4, SUSTAINED_MS)[0].degraded, null);
});

test('a burst, single slow commits, and slowness that is ten times nothing are not degraded', () => {
  const [usual, at] = learned();
  const [burst, then] = go(usual, at, 300, 10_000);
  assert.equal(go(burst, then, 4, 60_000)[0].degraded, null);
  let mixed = usual;
  for (let i = 0; i < 400; i++) mixed = paceAfter(mixed, i % 2 === 0 ? 300 : 4, at + i * 500, SUSTAINED_MS);
  assert.equal(mixed.degraded, null);
  assert.equal(go(usual, at, 200, 300_000)[0].degraded, null);
});

test('a primary that was always slow is as it is', () => {
  const [slow, at] = go(newPace, 0, 300, 600_000);
  assert.equal(go(slow, at, 400, 600_000)[0].degraded, null);
});

test('an idle primary is judged by fewer writes over a longer time, and what is kept is bounded', () => {
  const [usual, at] = go(newPace, 0, 4, 1_200_000, 5_000);
  assert.equal(go(usual, at, 300, 30_000, 5_000)[0].degraded, null);
  assert.notEqual(go(usual, at, 300, 60_000, 5_000)[0].degraded, null);
  assert.ok(go(usual, at, 300, 60_000, 10)[0].recent.length <= 600);
});
