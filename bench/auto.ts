// What `route: auto` gains with two replicas, and what it costs that a session sees its own writes: endpoints of one Evenkeel
// in front of a primary and two replicas. `evenkeel` is the one with `route: primary`.
import { fileURLToPath } from 'node:url';
import type { Figure } from './support/figures.ts';
import { benchMatrix, type MatrixOptions, perCell, type Samples } from './support/matrix.ts';
import type { PeerName } from './support/peers.ts';
import type { Result } from './support/report.ts';

const OWN_WRITES = fileURLToPath(new URL('support/own-writes.lua', import.meta.url));
const REMARKS = [
  '`evenkeel` is the endpoint with `route: primary`, `auto` that with `route: auto`, `uncausal` that with `causal: none`, too.',
  'The three servers, Evenkeel and the clients share the machine: with few cores more servers are no more power.',
];

/** `ownWrites`: each client writes a row and reads it; else point selects. */
export function benchAuto(options: MatrixOptions, ownWrites: boolean): Promise<Result> {
  return benchMatrix(
    {
      name: ownWrites ? 'auto-own-writes' : 'auto',
      title: ownWrites ? 'A write and a read of it through route: auto' : 'Point selects through route: auto',
      run: { test: ownWrites ? OWN_WRITES : 'oltp_point_select' },
      needsTable: true,
      nodes: 3,
      per: ownWrites ? 'transaction' : 'query',
      figures: (samples) => (ownWrites ? causal(samples) : split(samples)),
      remarks: REMARKS,
    },
    options,
  );
}

function ratios(samples: Samples, of: PeerName, to: PeerName, aims: NonNullable<Figure['aims']>): Figure[] {
  const throughput = perCell(samples, (cell) => ({
    name: `${cell.clients} ${cell.mode}: throughput of ${of}, to that of ${to}`,
    unit: 'ratio',
    samples: samples.ratio(of, to, cell, samples.rate),
    aims,
  }));
  const processor = perCell(samples, (cell) => ({
    name: `${cell.clients} ${cell.mode}: processor time of ${of}, to that of ${to}`,
    unit: 'ratio',
    samples: samples.ratio(of, to, cell, (s) => s.cpuUsPerQuery),
  }));
  return [...throughput, ...processor];
}

function split(samples: Samples): Figure[] {
  const cost = perCell(samples, (cell) => ({
    name: `${cell.clients} ${cell.mode}: processor time of auto beyond that of evenkeel, a query`,
    unit: 'µs',
    samples: samples.difference('auto', 'evenkeel', cell, (s) => s.cpuUsPerQuery),
    aims: [{ of: 'p50', atMost: 2 }],
  }));
  return [...ratios(samples, 'auto', 'evenkeel', [{ of: 'p50', atLeast: 1.5 }]), ...cost];
}

function causal(samples: Samples): Figure[] {
  const latency = perCell(samples, (cell) => ({
    name: `${cell.clients} ${cell.mode}: latency of auto beyond that of uncausal, p50`,
    unit: 'µs',
    samples: samples.difference('auto', 'uncausal', cell, (s) => s.p50Us),
  }));
  return [...ratios(samples, 'auto', 'uncausal', []), ...ratios(samples, 'auto', 'evenkeel', []), ...latency];
}
