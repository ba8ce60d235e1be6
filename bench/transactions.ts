// Transactions of reads and writes: a session keeps one server connection from BEGIN to COMMIT, so there is less to
// gain by sharing, and more to lose.
import type { Figure } from './support/figures.ts';
import { benchMatrix, type MatrixOptions, perCell, type Samples } from './support/matrix.ts';
import type { Result } from './support/report.ts';

/** Enough that a thousand clients rarely want the same row. */
const TABLE_ROWS = 100_000;

export function benchTransactions(options: MatrixOptions): Promise<Result> {
  return benchMatrix(
    {
      name: 'transactions',
      title: 'Transactions (sysbench oltp_read_write)',
      // Deadlocks are the test's own; sysbench begins such a transaction again.
      run: { test: 'oltp_read_write', tableRows: TABLE_ROWS, strict: false },
      per: 'query',
      figures,
      remarks: ['Latencies are those of whole transactions of 20 statements; processor time is that of a statement.'],
    },
    options,
  );
}

function figures(samples: Samples): Figure[] {
  const processor = perCell(samples, (cell) => ({
    name: `${cell.clients} ${cell.mode}: processor time a query, to HAProxy's`,
    unit: 'ratio',
    samples: samples.ratio('evenkeel', 'haproxy', cell, (s) => s.cpuUsPerQuery),
    aims: [{ of: 'p50', atMost: 1.1 }],
  }));
  const throughput = perCell(samples, (cell) => ({
    name: `${cell.clients} ${cell.mode}: throughput, to that of direct`,
    unit: 'ratio',
    samples: samples.ratio('evenkeel', 'direct', cell, samples.rate),
    aims: cell.clients === 256 ? [{ of: 'p50', atLeast: 1 }] : [],
  }));
  const rolledBack = perCell(samples, (cell) => ({
    name: `${cell.clients} ${cell.mode}: transactions rolled back by deadlocks`,
    unit: 'count',
    samples: samples.of('evenkeel', cell).map(({ rolledBack: count }) => count),
  }));
  return [...processor, ...throughput, ...rolledBack.filter((figure) => figure.samples.some((count) => count > 0))];
}
