// What one client pays for a proxy: point selects one after the other, directly, through HAProxy and through Evenkeel,
// in turn within every round on the same server, so that whatever else the machine does hits all three.
import { type Figure, judge, number, table } from './support/figures.ts';
import { measureFromNode } from './support/node-client.ts';
import { type Cost, costOf, inTurn, type Peer, type PeerName, type Peers, withPeers } from './support/peers.ts';
import {
  type CommonOptions,
  eachFlavor,
  eachRound,
  type Flavor,
  type FlavorResult,
  progress,
  type Result,
} from './support/report.ts';
import { median } from './support/stats.ts';
import type { Measured, Protocol } from './support/sysbench.ts';

export interface LatencyOptions extends CommonOptions {
  seconds: number;
  client: 'sysbench' | 'node';
}

interface Run extends Measured, Cost {
  peer: PeerName;
  protocol: Protocol;
}

type Round = Run[];

const PROTOCOLS: readonly Protocol[] = ['text', 'prepared'];
const PEERS: readonly PeerName[] = ['direct', 'haproxy', 'evenkeel'];
const WARM_SECONDS = 1;

export async function benchLatency(options: LatencyOptions): Promise<Result> {
  const results = await eachFlavor(options.flavors, (flavor) => measureFlavor(flavor, options));
  const { rounds, seconds, client } = options;
  return {
    benchmark: 'latency',
    title: 'Added latency: one client, point selects',
    settings: { clients: 1, rounds, seconds, client, 'Evenkeel workers': 1, 'HAProxy threads': 1 },
    results,
  };
}

async function measureFlavor(flavor: Flavor, options: LatencyOptions): Promise<FlavorResult> {
  return withPeers(flavor, async (peers) => {
    progress(`latency ${flavor}: warming up`);
    for (const protocol of PROTOCOLS) {
      for (const peer of peers.all)
        await measure(peers, peer, protocol, Math.min(WARM_SECONDS, options.seconds), options);
    }
    const { done, failed } = await eachRound(options.rounds, `latency ${flavor}`, async (round) => {
      const value: Round = [];
      for (const protocol of PROTOCOLS) {
        for (const peer of inTurn(peers.all, round)) {
          value.push(await measure(peers, peer, protocol, options.seconds, options));
        }
      }
      return { value, line: describe(value) };
    });
    return {
      flavor,
      version: peers.version,
      failedRounds: failed,
      figures: figuresOf(done).map((figure) => judge(figure, failed.length)),
      rounds: done,
      tables: [
        { title: 'Medians of the rounds; “added” is against the direct run of the same round:', text: tableOf(done) },
      ],
      remarks: [
        'The issue names no number to reach here: HAProxy in TCP mode, which looks at nothing, is the measure.',
      ],
    };
  });
}

async function measure(
  peers: Peers,
  peer: Peer,
  protocol: Protocol,
  seconds: number,
  options: LatencyOptions,
): Promise<Run> {
  const { value, cost } = await costOf(peer, () =>
    options.client === 'node'
      ? measureFromNode(peer.target, protocol, 1, seconds)
      : peers.sysbench.measure(peer.target, protocol, 1, seconds),
  );
  return { peer: peer.name, protocol, ...value, ...cost };
}

function runsOf(rounds: readonly Round[], peer: PeerName, protocol: Protocol): Run[] {
  return rounds.flatMap((round) => round.filter((run) => run.peer === peer && run.protocol === protocol));
}

type Latency = 'meanUs' | 'p50Us' | 'p95Us' | 'p99Us';

/** Against the direct run of the same round. */
function added(rounds: readonly Round[], peer: PeerName, protocol: Protocol, latency: Latency): number[] {
  const direct = runsOf(rounds, 'direct', protocol);
  return runsOf(rounds, peer, protocol).map((run, i) => run[latency] - (direct[i]?.[latency] ?? Number.NaN));
}

function figuresOf(rounds: readonly Round[]): Figure[] {
  return PROTOCOLS.flatMap((protocol): Figure[] => {
    const ratios = (latency: Latency): number[] => {
      const haproxy = added(rounds, 'haproxy', protocol, latency);
      return added(rounds, 'evenkeel', protocol, latency).map((more, i) => more / (haproxy[i] ?? Number.NaN));
    };
    const perPeer = (['haproxy', 'evenkeel'] as const).flatMap((peer): Figure[] => [
      { name: `${protocol}: added by ${peer}, mean`, unit: 'µs', samples: added(rounds, peer, protocol, 'meanUs') },
      { name: `${protocol}: added by ${peer}, p50`, unit: 'µs', samples: added(rounds, peer, protocol, 'p50Us') },
      { name: `${protocol}: added by ${peer}, p99`, unit: 'µs', samples: added(rounds, peer, protocol, 'p99Us') },
    ]);
    const times = `${protocol}: evenkeel's part to haproxy's`;
    return [
      ...perPeer,
      { name: `${times}, mean`, unit: 'ratio', samples: ratios('meanUs') },
      { name: `${times}, p50`, unit: 'ratio', samples: ratios('p50Us') },
    ];
  });
}

function tableOf(rounds: readonly Round[]): string {
  const rows = PROTOCOLS.flatMap((protocol) =>
    PEERS.map((peer) => {
      const runs = runsOf(rounds, peer, protocol);
      const of = (read: (run: Run) => number): string => number(median(runs.map(read)));
      const more = (latency: Latency): string =>
        peer === 'direct' ? '' : number(median(added(rounds, peer, protocol, latency)));
      const proxied = (text: string): string => (peer === 'direct' ? '' : text);
      return [
        `${protocol}, ${peer}`,
        of((run) => run.queriesPerSecond),
        of((run) => run.p50Us),
        of((run) => run.p95Us),
        of((run) => run.p99Us),
        more('meanUs'),
        more('p50Us'),
        more('p95Us'),
        more('p99Us'),
        proxied(of((run) => (run.cpuMs * 1000) / Math.max(1, run.queries))),
        proxied(of((run) => run.residentMiB)),
        peer === 'evenkeel' ? of((run) => run.controlResidentMiB) : '',
      ];
    }),
  );
  const head = ['', 'q/s', 'p50 µs', 'p95 µs', 'p99 µs', 'added mean', 'added p50', 'added p95', 'added p99'];
  return table([...head, 'CPU µs/q', 'RSS MiB', 'control RSS'], rows);
}

function describe(round: Round): string {
  return PROTOCOLS.map((protocol) => {
    const means = PEERS.map(
      (peer) => `${peer} ${number(median(runsOf([round], peer, protocol).map((run) => run.meanUs)))}`,
    );
    return `${protocol}: ${means.join(', ')} µs`;
  }).join('; ');
}
