// Point selects, the statement that a proxy makes dearest: what it costs in latency, throughput and processor time.
import type { Figure } from './support/figures.ts';
import { benchMatrix, type MatrixOptions, perCell, type Samples } from './support/matrix.ts';
import type { Result } from './support/report.ts';

export function benchPoints(options: MatrixOptions): Promise<Result> {
  return benchMatrix(
    {
      name: 'points',
      title: 'Point selects (sysbench oltp_point_select)',
      run: { test: 'oltp_point_select' },
      per: 'query',
      figures,
    },
    options,
  );
}

function figures(samples: Samples): Figure[] {
  const processor = perCell(samples, (cell) => ({
    name: `${cell.clients} ${cell.mode}: processor time a query, to HAProxy's`,
    unit: 'ratio',
    samples: samples.ratio('evenkeel', 'haproxy', cell, (s) => s.cpuUsPerQuery),
    aims: [{ of: 'p50', atMost: cell.clients >= 256 ? 0.65 : 1 }],
  }));
  const throughput = (['direct', 'haproxy', 'router'] as const).flatMap((other) =>
    perCell(samples, (cell) => ({
      name: `${cell.clients} ${cell.mode}: throughput, to that of ${other}`,
      unit: 'ratio',
      samples: samples.ratio('evenkeel', other, cell, samples.rate),
      aims: throughputAims(other, cell.clients),
    })),
  );
  const latency = (['p50Us', 'p99Us'] as const).flatMap((percentile) =>
    perCell(samples, (cell) => ({
      name: `${cell.clients} ${cell.mode}: latency added beyond HAProxy's, ${percentile.slice(0, 3)}`,
      unit: 'µs',
      samples: cell.clients === 1 ? samples.difference('evenkeel', 'haproxy', cell, (s) => s[percentile]) : [],
      aims: [{ of: 'p50', atMost: 0 }],
    })),
  );
  return [...processor, ...throughput, ...latency];
}

function throughputAims(other: 'direct' | 'haproxy' | 'router', clients: number): NonNullable<Figure['aims']> {
  if (other === 'direct') {
    if (clients >= 1000) return [{ of: 'p50', atLeast: 1.3 }];
    return clients >= 256 ? [{ of: 'p50', atLeast: 1.2 }] : [];
  }
  return clients === 256 ? [{ of: 'p50', atLeast: 1.8 }] : [];
}
