// The drill's result on wrong books: whatever is wrong makes it fail, and is counted under its own name.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type DrillResult, drillResult } from '../../src/demo/drill.ts';
import { audit, ClientBook, type ClientError, type Fault, Timeline } from '../../src/drill/index.ts';

const kill: Fault = { kind: 'kill', node: 'node1', atMs: 100, doneMs: 120 };

/** One client that was told that writes 1 and 2 are done. */
function result(over: { rows?: [number, number][]; errors?: ClientError[]; missing?: string[] }): DrillResult {
  const {
    rows = [
      [1, 1],
      [2, 1],
    ],
    errors = [],
    missing = [],
  } = over;
  const book = new ClientBook(0);
  for (const n of [book.next(), book.next()]) book.acknowledged(n);
  const timeline = new Timeline();
  timeline.record(100, 350, true);
  const run = { errors, furtherErrors: 0, timeline };
  const found = audit([book], new Map([[0, new Map(rows)]]));
  const state = { connected: 1, readsChecked: 2 };
  return drillResult(run, state, found, [kill], missing, 0, { connections: 1, flavor: 'mysql' });
}

function clientError(over: Partial<ClientError>): ClientError {
  return {
    client: 0,
    kind: 'write',
    sentMs: 99,
    answeredMs: 130,
    errno: 1213,
    message: 'wrong',
    verdict: null,
    ...over,
  };
}

test('right books pass, with the wait of the fault', () => {
  const { verdict, acknowledged, faults, longestStallMs } = result({});
  assert.deepEqual([verdict, acknowledged, longestStallMs, faults[0]?.stallMs], ['pass', 2, 250, 250]);
});

test('a lost write fails', () => {
  const { verdict, lost } = result({ rows: [[1, 1]] });
  assert.deepEqual([verdict, lost], ['fail', 1]);
});

test('a doubled write fails', () => {
  const { verdict, duplicated } = result({
    rows: [
      [1, 1],
      [2, 2],
    ],
  });
  assert.deepEqual([verdict, duplicated], ['fail', 1]);
});

test('a read that misses its own write fails and is counted apart', () => {
  const { verdict, wrongReads, clientErrors } = result({ errors: [clientError({ kind: 'answer', errno: null })] });
  assert.deepEqual([verdict, wrongReads, clientErrors], ['fail', 1, 1]);
});

test('errors are counted by kind and number, and an unknown outcome has no excuse', () => {
  const errors = [clientError({}), clientError({}), clientError({ errno: 9104, verdict: 'unknown' })];
  const { verdict, errorsByKind, clientErrors } = result({ errors });
  assert.deepEqual([verdict, clientErrors], ['fail', 3]);
  assert.deepEqual(errorsByKind, { 'write 1213': 2, 'write 9104': 1 });
});

test('a fault that was not survived fails, though the books are right', () => {
  assert.equal(result({ missing: ['no replica was promoted'] }).verdict, 'fail');
});
