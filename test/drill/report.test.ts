// The drill's verdict on wrong evidence: whatever is wrong makes it fail, and is counted under its own name; what a client
// must expect is counted apart and does not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  audit,
  ClientBook,
  type ClientError,
  conserved,
  type DrillFault,
  type DrillReport,
  drillReport,
  type Holdings,
  Period,
  Timeline,
} from '../../src/drill/index.ts';

const kill: DrillFault = { kinds: ['kill'], node: 'node1', atMs: 100, doneMs: 400 };
const worker: DrillFault = { kinds: ['kill', 'worker'], node: 'node1', atMs: 100, doneMs: 400 };

/** One client that was told that transfer 1 and append 2 are done. */
function holdings(): Holdings {
  return {
    book: new Map([
      [
        0,
        new Map([
          [1, 1],
          [2, 1],
        ]),
      ],
    ]),
    accounts: [
      { id: 0, balance: 95 },
      { id: 1, balance: 105 },
    ],
    transfers: [{ client: 0, n: 1, source: 0, target: 1, amount: 5 }],
    lists: [{ id: 0, length: 1, entries: [{ position: 1, client: 0, n: 2 }] }],
  };
}

interface Over {
  spoil?: (there: Holdings) => unknown;
  errors?: ClientError[];
  missing?: string[];
  faults?: DrillFault[];
  acknowledge?: boolean;
  expected?: Partial<Period['expected']>;
}

function report({
  spoil,
  errors = [],
  missing = [],
  faults = [kill],
  acknowledge = true,
  expected = {},
}: Over): DrillReport {
  const book = new ClientBook(0);
  for (const n of [book.next(), book.next()]) if (acknowledge) book.acknowledged(n);
  const there = holdings();
  spoil?.(there);
  const timeline = new Timeline();
  timeline.record(100, 350, true);
  const period = new Period();
  period.waits.record(250);
  Object.assign(period.expected, expected);
  const told = audit([book], there.book);
  const kept = conserved(there, 100);
  const all = { ...told, ...kept, examples: [...told.examples, ...kept.examples] };
  return drillReport({ audit: all, errors, faults, timeline, periods: [new Period(), period], missing });
}

function loadError(over: Partial<ClientError>): ClientError {
  const usual = { client: 0, sentMs: 99, answeredMs: 130, errno: null, message: 'wrong', verdict: null };
  return { kind: 'write', ...usual, ...over };
}

test('right books pass, with the waits of the fault', () => {
  const { verdict, reasons, acknowledged, longestStallMs, faults } = report({});
  assert.deepEqual([verdict, reasons, acknowledged, longestStallMs], ['pass', [], 2, 250]);
  assert.deepEqual([faults[0]?.stallMs, faults[0]?.stalls], [250, { 500: 1 }]);
});

const SPOILT: [string, keyof DrillReport, (there: Holdings) => void][] = [
  ['a confirmed transaction that is gone', 'lost', ({ book }) => book.get(0)?.delete(2)],
  ['a write that is there twice', 'duplicated', ({ book }) => book.get(0)?.set(1, 2)],
  ['a write that nobody sent', 'unexpected', ({ book }) => book.get(0)?.set(3, 1)],
  [
    'an account that does not hold what its transfers make',
    'imbalance',
    ({ accounts: [one] }) => Object.assign(one ?? {}, { balance: 100 }),
  ],
  ['a transfer that is there twice', 'imbalance', ({ transfers }) => transfers.push(...transfers)],
  ['two entries at one position', 'outOfOrder', ({ lists }) => lists[0]?.entries.push(...lists[0].entries)],
  [
    'a list that lacks an entry at its end',
    'outOfOrder',
    ({ lists }) => {
      for (const list of lists) list.length += 1;
    },
  ],
  [
    'an entry without its line in the book',
    'outOfOrder',
    ({ lists }) => {
      lists[0]?.entries.push({ position: 2, client: 7, n: 1 });
      for (const list of lists) list.length += 1;
    },
  ],
];

for (const [what, key, spoil] of SPOILT) {
  test(`${what} fails, as ${key}`, () => {
    const told = report({ spoil });
    assert.equal(told.verdict, 'fail');
    assert.ok(Number(told[key]) > 0, JSON.stringify(told));
  });
}

test('entries that stand in another order than their writer sent them fail', () => {
  const { verdict, outOfOrder } = report({
    spoil: ({ book, lists, transfers }) => {
      transfers.length = 0;
      book.get(0)?.set(1, 1);
      const [list] = lists;
      if (list === undefined) return;
      list.entries = [
        { position: 1, client: 0, n: 2 },
        { position: 2, client: 0, n: 1 },
      ];
      list.length = 2;
    },
  });
  assert.deepEqual([verdict, outOfOrder], ['fail', 1]);
});

test('errors are counted by kind and number, and an unknown outcome has no excuse', () => {
  const errors = [loadError({ errno: 9104, verdict: 'unknown' }), loadError({ kind: 'answer' })];
  const { verdict, clientErrors, errorsByKind, wrongReads, faults } = report({ errors });
  assert.deepEqual([verdict, clientErrors, wrongReads, faults[0]?.errors], ['fail', 2, 1, 2]);
  assert.deepEqual(errorsByKind, { 'write 9104': 1, answer: 1 });
});

test('what a client gives up with 1213 is counted apart', () => {
  const { verdict, replaysDiffered, deadlocks, clientErrors, errorsByKind, faults } = report({
    expected: { 'replay-differed': 2, deadlock: 5000 },
  });
  assert.deepEqual([verdict, replaysDiffered, deadlocks, clientErrors], ['pass', 2, 5000, 0]);
  assert.deepEqual(errorsByKind, { 'deadlock 1213': 5000, 'replay-differed 1213': 2 });
  assert.deepEqual([faults[0]?.replaysDiffered, faults[0]?.errors], [2, 0]);
});

test('a lost connection is counted apart while a worker is killed, and fails otherwise, before and long after as well', () => {
  const error = loadError({ kind: 'connection' });
  assert.deepEqual(
    [report({ errors: [error], faults: [worker] }).verdict, report({ errors: [error] }).verdict],
    ['pass', 'fail'],
  );
  for (const answeredMs of [99, 5000]) {
    const late = report({ errors: [{ ...error, answeredMs }], faults: [worker] });
    assert.deepEqual([late.verdict, late.lostWithWorker], ['fail', 0]);
  }
});

test('a fault that was not survived fails, and so does a load to which nothing was confirmed', () => {
  assert.equal(report({ missing: ['no replica was promoted'] }).verdict, 'fail');
  assert.equal(report({ acknowledge: false }).verdict, 'fail');
});
