// The arithmetic of the benchmarks: what is printed as a percentile was measured, what was not measured meets no aim,
// and sysbench's own report is read as it is printed.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { figureTable, judge, number, table } from '../../bench/support/figures.ts';
import { bucketPercentile, percentile } from '../../bench/support/stats.ts';
import { parseSysbench } from '../../bench/support/sysbench.ts';

test('a percentile is a value that was measured', () => {
  const samples = [40, 10, 30, 20];
  assert.equal(percentile(samples, 50), 20);
  assert.equal(percentile(samples, 75), 30);
  assert.equal(percentile(samples, 76), 40);
  assert.equal(percentile(samples, 100), 40);
  assert.deepEqual(samples, [40, 10, 30, 20]);
  assert.ok(Number.isNaN(percentile([], 50)));
});

test('a histogram has the percentiles of what is in it', () => {
  const buckets = [
    { value: 1, count: 50 },
    { value: 2, count: 49 },
    { value: 9, count: 1 },
  ];
  assert.equal(bucketPercentile(buckets, 50), 1);
  assert.equal(bucketPercentile(buckets, 51), 2);
  assert.equal(bucketPercentile(buckets, 99), 2);
  assert.equal(bucketPercentile(buckets, 99.1), 9);
  assert.ok(Number.isNaN(bucketPercentile([], 50)));
});

test('an aim is met at its bound and missed above it, each by its own statistic', () => {
  const aims = [
    { of: 'p50', atMost: 20 },
    { of: 'max', atMost: 39 },
  ] as const;
  const figure = judge({ name: 'stall', unit: 'ms', samples: [10, 20, 30, 40], aims: [...aims] }, 0);
  assert.deepEqual(
    figure.aims.map(({ measured, verdict }) => [measured, verdict]),
    [
      [20, 'met'],
      [40, 'missed'],
    ],
  );
});

test('an aim that names a least is met at it and missed below', () => {
  const verdict = (samples: number[]): string | undefined =>
    judge({ name: 'times', unit: 'ratio', samples, aims: [{ of: 'p50', atLeast: 1.2 }] }, 0).aims[0]?.verdict;
  assert.equal(verdict([1.2]), 'met');
  assert.equal(verdict([1.19]), 'missed');
  assert.equal(verdict([Number.NaN]), 'missed');
});

test('an aim is missed where a round did not end, or nothing was measured', () => {
  const figure = { name: 'lost', unit: 'count', aims: [{ of: 'total', atMost: 0 }] } as const;
  const verdict = (samples: number[], failed: number): string | undefined =>
    judge({ ...figure, aims: [...figure.aims], samples }, failed).aims[0]?.verdict;
  assert.equal(verdict([0, 0], 0), 'met');
  assert.equal(verdict([0, 0], 1), 'missed');
  assert.equal(verdict([], 0), 'missed');
  assert.equal(verdict([0, Number.NaN], 0), 'missed');
});

test('a table is Markdown, with numbers to the right and a dash for what is not known', () => {
  const none = judge({ name: 'none', unit: 'ms', samples: [] }, 1);
  const lines = figureTable([none, judge({ name: 'some', unit: 'count', samples: [1, 2] }, 0)]).split('\n');
  assert.equal(lines[2], '| none, ms |   – |   – |   – |       |     |     |');
  assert.equal(lines[3], '| some     |   1 |   2 |   2 |     3 |     |     |');
  assert.equal(table(['a'], [['x']]), '| a   |\n|-----|\n| x   |');
  assert.equal(number(Number.NaN), '–');
});

const REPORT = `
Latency histogram (values are in milliseconds)
       value  ------------- distribution ------------- count
       0.100 |***********************                  60
       0.125 |***********                              30
       0.250 |****                                     9
       1.500 |                                         1

SQL statistics:
    queries performed:
        read:                            100
        total:                           100
    transactions:                        100    (50.00 per sec.)
    queries:                             100    (50.00 per sec.)
    ignored errors:                      0      (0.00 per sec.)
    reconnects:                          0      (0.00 per sec.)

General statistics:
    total time:                          2.0000s
    total number of events:              100

Latency (ms):
         min:                                    0.09
         avg:                                    0.14
         max:                                    1.51
         95th percentile:                        0.25
         sum:                                   14.20
`;

test("sysbench's report is read to the microsecond", () => {
  assert.deepEqual(parseSysbench(REPORT), {
    queries: 100,
    transactions: 100,
    seconds: 2,
    queriesPerSecond: 50,
    transactionsPerSecond: 50,
    meanUs: 142,
    p50Us: 100,
    p95Us: 250,
    p99Us: 250,
    maxUs: 1510,
    rolledBack: 0,
  });
});

test('a sysbench run with failed queries, or half a report, is no measurement', () => {
  assert.throws(
    () => parseSysbench(REPORT.replace('ignored errors:                      0', 'ignored errors: 3')),
    /3 of/,
  );
  const deadlocks = REPORT.replace('ignored errors:                      0', 'ignored errors: 3');
  assert.equal(parseSysbench(deadlocks, false).rolledBack, 3);
  assert.throws(() => parseSysbench(REPORT.slice(0, 700)), /sysbench told no/);
  assert.throws(() => parseSysbench(''), /sysbench told no queries/);
});
