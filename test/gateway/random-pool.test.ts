// Random bytes in portions: none is given out twice, also where a portion does not fit into what is left.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RandomPool } from '../../src/gateway/random-pool.ts';

test('portions are of the length that was asked for, differ, and stay as they are', () => {
  const pool = new RandomPool();
  const taken = Array.from({ length: 2000 }, (_, n) => pool.take(20 + (n % 13)));
  const texts = taken.map((bytes) => bytes.toString('hex'));
  assert.ok(taken.every((bytes, n) => bytes.length === 20 + (n % 13)));
  assert.equal(new Set(texts).size, texts.length);
  assert.deepEqual(
    taken.map((bytes) => bytes.toString('hex')),
    texts,
  );
  assert.ok(taken.every((bytes) => bytes.some((byte) => byte !== 0)));
});
