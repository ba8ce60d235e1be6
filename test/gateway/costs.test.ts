// What a statement's shape is expected to take: the least seen lately; where it varies, an eighth of its mean, as far as
// that is not the load's doing.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Costs, slotOf } from '../../src/gateway/costs.ts';

/** Sees them a millisecond apart. */
function seen(...times: number[]): number {
  const costs = new Costs();
  times.forEach((us, at) => costs.observe(7, us, at));
  return costs.expectedUs(7);
}

function times(count: number, us: number): number[] {
  return Array.from({ length: count }, () => us);
}

test('a shape that was never seen has no cost, also where another one was', () => {
  const costs = new Costs();
  costs.observe(8, 100, 0);
  assert.equal(costs.expectedUs(7), -1);
});

test('the least time counts, not the waiting on top of it', () => {
  assert.equal(seen(100), 100);
  assert.ok(seen(100, 300, 300) < 105);
  assert.equal(seen(300, 100), 100);
});

test('a least time doubles within ten seconds in which it is not seen again', () => {
  const costs = new Costs();
  costs.observe(7, 100, 0);
  costs.observe(7, 300, 10_000);
  assert.equal(costs.expectedUs(7), 200);
  costs.observe(7, 300, 30_000);
  assert.equal(costs.expectedUs(7), 300);
});

test('a shape that varies widely costs an eighth of its mean', () => {
  const expected = seen(8000, 1);
  assert.ok(expected > 880 && expected <= (8000 - 7999 * 0.1) / 8, `${expected}`);
});

test('what makes all statements slow makes none dear: they may share as before', () => {
  const calm = seen(...times(1000, 100));
  const loaded = seen(100, ...times(1000, 20_000));
  assert.ok(calm <= 100.1, `${calm}`);
  assert.ok(loaded < 250, `${loaded}`);
});

test('a few slow ones of a shape make it dear, and are no load', () => {
  const mixed = Array.from({ length: 1000 }, (_, at) => (at % 10 === 9 ? 100_000 : 100));
  assert.ok(seen(...mixed) > 500, `${seen(...mixed)}`);
});

test('every digest has a place in the table', () => {
  for (const digest of [0, 1, -1, 0x7fffffff, -0x80000000, 0xffffffff]) {
    const slot = slotOf(digest);
    assert.ok(slot >= 0 && slot < 8192, `${digest} has place ${slot}`);
  }
});
