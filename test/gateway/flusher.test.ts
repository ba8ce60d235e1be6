// What is written during one turn of the event loop goes out at its end.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Flusher } from '../../src/gateway/flusher.ts';

test('targets are flushed once, in order, at the end of the turn and not before', async () => {
  const flusher = new Flusher();
  const flushed: string[] = [];
  for (const name of ['a', 'b']) flusher.add({ flush: () => flushed.push(name) });
  await Promise.resolve();
  assert.deepEqual(flushed, []);
  await nextTurn();
  await nextTurn();
  assert.deepEqual(flushed, ['a', 'b']);
});

test('what is added while others are flushed goes out in the next turn', async () => {
  const flusher = new Flusher();
  const flushed: string[] = [];
  const late = { flush: () => flushed.push('late') };
  flusher.add({
    flush: () => {
      flushed.push('first');
      flusher.add(late);
    },
  });
  await nextTurn();
  await nextTurn();
  await nextTurn();
  assert.deepEqual(flushed, ['first', 'late']);
});
