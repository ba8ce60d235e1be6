// One seed gives one sequence; histograms count every wait once.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Dice, Histogram } from '../../src/drill/index.ts';

test('the same seed gives the same order, another one another', () => {
  const items = Array.from({ length: 20 }, (_, at) => at);
  const order = (seed: number): number[] => new Dice(seed).shuffled(items);
  assert.deepEqual(order(1), order(1));
  assert.notDeepEqual(order(1), order(2));
  assert.deepEqual(
    order(1).sort((a, b) => a - b),
    items,
  );
});

test('a wait is counted in the class that just holds it, and histograms add up', () => {
  const one = new Histogram();
  for (const ms of [0, 10, 10.1, 30_000, 30_001]) one.record(ms);
  const both = new Histogram();
  both.add(one);
  both.add(one);
  assert.deepEqual(one.toJSON(), { 10: 2, 20: 1, 30000: 1, more: 1 });
  assert.deepEqual(both.toJSON(), { 10: 4, 20: 2, 30000: 2, more: 2 });
});
