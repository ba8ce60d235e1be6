// Who waits for a server connection: in order within a group, the groups taking turns.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FairQueue } from '../../src/gateway/fair-queue.ts';

function filled(): FairQueue<string> {
  const queue = new FairQueue<string>();
  for (const item of ['a1', 'a2', 'a3', 'b1', 'b2', 'c1']) queue.push(item[0] as string, item);
  return queue;
}

function taken(queue: FairQueue<string>, wanted: (item: string) => boolean = () => true): string[] {
  const all: string[] = [];
  for (let item = queue.take(wanted); item !== null; item = queue.take(wanted)) all.push(item);
  return all;
}

test('groups take turns, each in its own order', () => {
  assert.deepEqual(taken(filled()), ['a1', 'b1', 'c1', 'a2', 'b2', 'a3']);
});

test('a group whose first cannot go yet does not hold up the others', () => {
  const queue = filled();
  assert.deepEqual(
    taken(queue, (item) => !item.startsWith('a')),
    ['b1', 'c1', 'b2'],
  );
  assert.equal(queue.size, 3);
});

test('one that leaves is gone, and the numbers agree', () => {
  const queue = filled();
  assert.equal(queue.remove('a', 'a2'), true);
  assert.equal(queue.remove('a', 'a2'), false);
  assert.deepEqual(queue.drain(), ['a1', 'a3', 'b1', 'b2', 'c1']);
  assert.equal(queue.size, 0);
});
