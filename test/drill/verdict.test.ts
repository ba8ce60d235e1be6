// What passes and what fails: the doubt that is owned up to is excused, nothing else is.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Audit, type ClientError, type Fault, judge, Timeline, verdictOf } from '../../src/drill/index.ts';
import type { InFlightMode } from '../../src/messages/index.ts';

const clean: Audit = {
  acknowledged: 100,
  lost: 0,
  duplicated: 0,
  unexpected: 0,
  unknown: { executed: 0, notExecuted: 0 },
  examples: [],
};

const kill: Fault = { kind: 'kill', node: 'node1', atMs: 1000, doneMs: 1020 };
const switchover: Fault = { kind: 'switchover', node: 'node2', atMs: 500, doneMs: 600 };

const unknownError: ClientError = {
  client: 3,
  kind: 'write',
  sentMs: 995,
  answeredMs: 1050,
  errno: 9104,
  message: 'the server was lost before it answered (Evenkeel: outcome-unknown; unknown)',
  verdict: 'unknown',
};

function judged(over: {
  audit?: Partial<Audit>;
  errors?: ClientError[];
  furtherErrors?: number;
  faults?: Fault[];
  inFlight?: InFlightMode;
}) {
  const timeline = new Timeline();
  timeline.record(900, 904, true);
  timeline.record(1005, 1150, true);
  const { errors = [], furtherErrors = 0, faults = [switchover, kill], inFlight = 'report' } = over;
  return judge({ audit: { ...clean, ...over.audit }, errors, furtherErrors, faults, timeline, inFlight });
}

test('a run without errors passes and tells the wait of each fault', () => {
  const { verdict, reasons, clientErrors, unknown, longestStallMs, faults } = judged({});
  assert.deepEqual(
    { verdict, reasons, clientErrors, unknown },
    { verdict: 'pass', reasons: [], clientErrors: 0, unknown: 0 },
  );
  assert.equal(longestStallMs, 145);
  assert.deepEqual(
    faults.map(({ kind, stallMs }) => [kind, stallMs]),
    [
      ['switchover', 4],
      ['kill', 145],
    ],
  );
});

for (const wrong of ['lost', 'duplicated', 'unexpected'] as const) {
  test(`one row that is ${wrong} fails the run`, () => {
    const { verdict, reasons } = judged({ audit: { [wrong]: 1 } });
    assert.equal(verdict, 'fail');
    assert.equal(reasons.length, 1);
  });
}

test('a run in which nothing was written proves nothing', () => {
  assert.equal(judged({ audit: { acknowledged: 0 } }).verdict, 'fail');
});

test('a write in flight at the kill that is answered as unknown is counted apart', () => {
  const { verdict, clientErrors, unknown, faults } = judged({ errors: [unknownError] });
  assert.deepEqual([verdict, clientErrors, unknown], ['pass', 0, 1]);
  assert.deepEqual(
    faults.map((fault) => [fault.errors, fault.unknown]),
    [
      [0, 0],
      [0, 1],
    ],
  );
});

const inexcusable: [string, Partial<ClientError>][] = [
  ['carries no verdict', { verdict: null, message: 'Server has gone away' }],
  ['is about a read', { kind: 'read' }],
  ['is a lost connection', { kind: 'connection', verdict: null }],
  ['is a wrong answer', { kind: 'answer', verdict: null }],
  ['is about a statement that was sent long after the kill', { sentMs: 1500, answeredMs: 1501 }],
  ['came before the kill', { sentMs: 700, answeredMs: 710 }],
  ['says that it was not executed, which clients were promised not to see', { verdict: 'not executed' }],
];

for (const [what, over] of inexcusable) {
  test(`an error fails the run where it ${what}`, () => {
    const { verdict, clientErrors, unknown, reasons } = judged({ errors: [{ ...unknownError, ...over }] });
    assert.deepEqual([verdict, clientErrors, unknown], ['fail', 1, 0]);
    assert.match(reasons[0] ?? '', /client 3/);
  });
}

test('an unknown outcome has no excuse where writes are promised to be executed exactly once', () => {
  const { verdict, clientErrors, unknown, faults } = judged({ errors: [unknownError], inFlight: 'exactly-once' });
  assert.deepEqual([verdict, clientErrors, unknown, faults[1]?.errors], ['fail', 1, 0, 1]);
});

test('an unknown outcome has no excuse where nothing was killed', () => {
  assert.equal(judged({ errors: [unknownError], faults: [switchover] }).verdict, 'fail');
});

test('errors that were too many to keep count', () => {
  const { verdict, clientErrors } = judged({ furtherErrors: 5 });
  assert.deepEqual([verdict, clientErrors], ['fail', 5]);
});

test('the verdict is read from the text of an error, and only from Evenkeel’s own', () => {
  assert.equal(verdictOf(unknownError.message), 'unknown');
  assert.equal(verdictOf('waited too long (Evenkeel: hold-timeout; not executed)'), 'not executed');
  assert.equal(verdictOf('Too many connections (Evenkeel: client-limit)'), null);
  assert.equal(verdictOf('The MySQL server is running with the --read-only option; unknown'), null);
});
