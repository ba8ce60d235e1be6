// What it costs to keep writes in flight through the loss of a primary: two endpoints of one Evenkeel, which differ in
// `inFlight` alone, under transactions of reads and writes, or under single writes, which get a round trip more.
import type { Figure } from './support/figures.ts';
import { benchMatrix, type MatrixOptions, perCell, type Samples } from './support/matrix.ts';
import type { Result } from './support/report.ts';

const TABLE_ROWS = 100_000;

export function benchInFlight(options: MatrixOptions, writes: boolean): Promise<Result> {
  return benchMatrix(
    {
      name: writes ? 'in-flight-writes' : 'in-flight',
      title: `The cost of exactly-once (sysbench ${writes ? 'oltp_update_index' : 'oltp_read_write'})`,
      run: { test: writes ? 'oltp_update_index' : 'oltp_read_write', tableRows: TABLE_ROWS, strict: false },
      per: 'transaction',
      figures: (samples, flavor) => figures(samples, writes ? null : flavor === 'mysql' ? 0.95 : 0.9),
      remarks: ['`evenkeel` is the endpoint with `inFlight: exactly-once`, `report` that with `inFlight: report`.'],
    },
    options,
  );
}

/** `atLeast`: what is to be left of the throughput. */
function figures(samples: Samples, atLeast: number | null): Figure[] {
  const throughput = perCell(samples, (cell) => ({
    name: `${cell.clients} ${cell.mode}: throughput, to that of report`,
    unit: 'ratio',
    samples: samples.ratio('evenkeel', 'report', cell, samples.rate),
    aims: atLeast === null ? [] : [{ of: 'p50', atLeast }],
  }));
  const processor = perCell(samples, (cell) => ({
    name: `${cell.clients} ${cell.mode}: processor time a transaction, to that of report`,
    unit: 'ratio',
    samples: samples.ratio('evenkeel', 'report', cell, (s) => s.cpuUsPerQuery),
  }));
  return [...throughput, ...processor];
}
