// A preview of what comes with multiplexing: many clients with point selects, directly, through HAProxy and through
// Evenkeel with one worker. Until statements of many clients share server connections, it only shows where things are.
import { number, table } from './support/figures.ts';
import { type Cost, costOf, inTurn, type PeerName, withPeers } from './support/peers.ts';
import {
  attempt,
  type CommonOptions,
  eachFlavor,
  type Flavor,
  type FlavorResult,
  type Result,
} from './support/report.ts';
import { median } from './support/stats.ts';
import type { Measured, Protocol } from './support/sysbench.ts';

export interface ThroughputOptions extends CommonOptions {
  seconds: number;
  clients: number[];
  protocol: Protocol;
}

interface Run extends Measured, Cost {
  peer: PeerName;
  clients: number;
}

const PEERS: readonly PeerName[] = ['direct', 'haproxy', 'evenkeel'];

export async function benchThroughput(options: ThroughputOptions): Promise<Result> {
  const results = await eachFlavor(options.flavors, (flavor) => measureFlavor(flavor, options));
  const { rounds, seconds, clients, protocol } = options;
  return {
    benchmark: 'throughput',
    title: 'Throughput: many clients, point selects (a preview: multiplexing is not there yet)',
    settings: { rounds, seconds, clients: clients.join('/'), protocol, 'Evenkeel workers': 1 },
    results,
  };
}

async function measureFlavor(flavor: Flavor, options: ThroughputOptions): Promise<FlavorResult> {
  return withPeers(flavor, async ({ all, sysbench, version }) => {
    const done: Run[] = [];
    const failed: FlavorResult['failedRounds'] = [];
    for (const clients of options.clients) {
      // One peer's failure must not hide the others: each is a round of its own.
      for (let round = 1; round <= options.rounds; round++) {
        for (const peer of inTurn(all, round)) {
          const name = `throughput ${flavor}, ${clients} clients ${round}/${options.rounds}, ${peer.name}`;
          const one = await attempt(name, async () => {
            const { value, cost } = await costOf(peer, () =>
              sysbench.measure(peer.target, options.protocol, clients, options.seconds),
            );
            const run: Run = { peer: peer.name, clients, ...value, ...cost };
            return { value: run, line: `${number(run.queriesPerSecond)} q/s` };
          });
          if (one.ok) done.push(one.value);
          else failed.push({ round, error: `${clients} clients, ${peer.name}: ${one.error}` });
        }
      }
    }
    const tables = [{ title: 'Medians of the rounds:', text: tableOf(done, options.clients) }];
    return { flavor, version, failedRounds: failed, figures: [], rounds: done, tables };
  });
}

function tableOf(runs: readonly Run[], clients: readonly number[]): string {
  const rows = clients.flatMap((count) =>
    PEERS.map((peer) => {
      const here = runs.filter((run) => run.peer === peer && run.clients === count);
      const of = (read: (run: Run) => number): string => number(median(here.map(read)));
      const proxied = (text: string): string => (peer === 'direct' ? '' : text);
      return [
        `${count} clients, ${peer}`,
        of((run) => run.queriesPerSecond),
        of((run) => run.p50Us),
        of((run) => run.p99Us),
        proxied(of((run) => (run.cpuMs * 1000) / Math.max(1, run.queries))),
        proxied(of((run) => run.cpuMs / run.seconds / 10)),
        proxied(of((run) => run.residentMiB)),
      ];
    }),
  );
  return table(['', 'q/s', 'p50 µs', 'p99 µs', 'CPU µs/q', 'CPU %', 'RSS MiB'], rows);
}
