// Rates and waits in slices of time.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Timeline } from '../../src/drill/index.ts';

test('a statement counts in the slice of its answer', () => {
  const timeline = new Timeline();
  timeline.record(10, 20, true);
  timeline.record(90, 110, true);
  timeline.record(120, 130, false);
  assert.deepEqual(
    timeline.slices.map(({ answered, errors }) => [answered, errors]),
    [
      [1, 0],
      [1, 1],
    ],
  );
});

test('a wait shows in every slice that it spans, rising to its length', () => {
  const timeline = new Timeline();
  timeline.record(0, 5, true);
  timeline.record(150, 160, true);
  timeline.record(250, 310, true);
  timeline.record(50, 320, true);
  assert.deepEqual(
    timeline.slices.map(({ waitMs }) => waitMs),
    [50, 150, 250, 270],
  );
  assert.equal(timeline.slices[3]?.longestMs, 270);
  assert.equal(timeline.slices[1]?.longestMs, 10);
});

test('the longest wait is that of statements answered in the time asked for', () => {
  const timeline = new Timeline();
  timeline.record(0, 90, true);
  timeline.record(200, 210, true);
  timeline.record(100, 640, true);
  assert.equal(timeline.longestMs(0), 540);
  assert.equal(timeline.longestMs(0, 500), 90);
  assert.equal(timeline.longestMs(200, 300), 10);
  assert.equal(timeline.longestMs(10_000), 0);
});

test('the rate is a second’s', () => {
  const timeline = new Timeline();
  for (let at = 0; at < 1000; at += 10) timeline.record(at, at + 1, true);
  assert.equal(timeline.ratePerSecond(0, 1000), 100);
  assert.equal(timeline.ratePerSecond(0, 0), 0);
});

test('an hour and more fits: slices become longer and lose nothing', () => {
  const timeline = new Timeline();
  const seconds = 3 * 3600;
  for (let second = 0; second < seconds; second += 1)
    timeline.record(second * 1000, second * 1000 + 7, second % 10 > 0);
  assert.ok(timeline.slices.length <= 6000);
  assert.ok(timeline.sliceMs > 100);
  const count = (key: 'answered' | 'errors') => timeline.slices.reduce((sum, slice) => sum + slice[key], 0);
  assert.equal(count('answered') + count('errors'), seconds);
  assert.equal(timeline.longestMs(0), 7);
});
