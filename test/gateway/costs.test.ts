// What a statement's shape is expected to take: the least seen lately, held to an eighth of its mean.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Costs, slotOf } from '../../src/gateway/costs.ts';

function seen(...times: number[]): number {
  const costs = new Costs();
  for (const us of times) costs.observe(7, us);
  return costs.expectedUs(7);
}

test('a shape that was never seen has no cost, also where another one was', () => {
  const costs = new Costs();
  costs.observe(8, 100);
  assert.equal(costs.expectedUs(7), -1);
});

test('the least time counts, not the waiting on top of it', () => {
  assert.equal(seen(100), 100);
  assert.ok(seen(100, 300, 300) < 105);
  assert.equal(seen(300, 100), 100);
});

test('a least time is forgotten when it is not seen again', () => {
  assert.equal(seen(100, ...Array.from({ length: 200 }, () => 300)), 300);
});

test('a shape that varies widely costs an eighth of its mean', () => {
  assert.equal(seen(8000, 1), (8000 - 7999 * 0.1) / 8);
});

test('every digest has a place in the table', () => {
  for (const digest of [0, 1, -1, 0x7fffffff, -0x80000000, 0xffffffff]) {
    const slot = slotOf(digest);
    assert.ok(slot >= 0 && slot < 8192, `${digest} has place ${slot}`);
  }
});
