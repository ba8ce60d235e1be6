// Connect, one query, disconnect: what programs without a connection pool do for every request.
import { fileURLToPath } from 'node:url';
import type { Figure } from './support/figures.ts';
import { benchMatrix, type MatrixOptions, perCell, type Samples } from './support/matrix.ts';
import type { Result } from './support/report.ts';

export function benchConnect(options: MatrixOptions): Promise<Result> {
  return benchMatrix(
    {
      name: 'connect',
      title: 'Connect, one query, disconnect',
      run: { test: fileURLToPath(new URL('./support/connect.lua', import.meta.url)) },
      per: 'transaction',
      figures,
      remarks: ['Rates, latencies and processor time are those of a connection with its one query.'],
    },
    options,
  );
}

function figures(samples: Samples): Figure[] {
  const others = ['direct', 'haproxy', 'router'] as const;
  return others.flatMap((other) =>
    perCell(samples, (cell) => ({
      name: `${cell.clients} at a time: rate, to that of ${other}`,
      unit: 'ratio',
      samples: samples.ratio('evenkeel', other, cell, samples.rate),
      aims: other === 'direct' ? [{ of: 'p50', atLeast: 1.5 }] : [],
    })),
  );
}
