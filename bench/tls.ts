// Point selects with TLS on both sides: between client and proxy, and between proxy and server. HAProxy in TCP mode
// would pass the client's TLS on without taking part; MySQL Router is the peer that does the same work. MySQL only:
// the sandbox's MariaDB has no certificate.
import type { Figure } from './support/figures.ts';
import { benchMatrix, type MatrixOptions, perCell, type Samples } from './support/matrix.ts';
import type { Result } from './support/report.ts';

export function benchTls(options: MatrixOptions): Promise<Result> {
  return benchMatrix(
    {
      name: 'tls',
      title: 'Point selects, TLS from client to proxy and from proxy to server',
      run: { test: 'oltp_point_select' },
      per: 'query',
      tls: true,
      figures,
    },
    options,
  );
}

function figures(samples: Samples): Figure[] {
  const processor = perCell(samples, (cell) => ({
    name: `${cell.clients} ${cell.mode}: processor time a query, to MySQL Router's`,
    unit: 'ratio',
    samples: samples.ratio('evenkeel', 'router', cell, (s) => s.cpuUsPerQuery),
    aims: [{ of: 'p50', atMost: 0.7 }],
  }));
  const throughput = (['direct', 'router'] as const).flatMap((other) =>
    perCell(samples, (cell) => ({
      name: `${cell.clients} ${cell.mode}: throughput, to that of ${other}`,
      unit: 'ratio',
      samples: samples.ratio('evenkeel', other, cell, samples.rate),
    })),
  );
  return [...processor, ...throughput];
}
