// The frame of every side-by-side benchmark: the same piece of work by every peer in turn, several rounds, for each
// cell (so many clients, this kind of statement). Ratios are taken within a round, so that whatever else the machine
// did then hits both sides, and their median is told.
import { type Cost, CostWindow } from './cost.ts';
import { type Figure, type JudgedFigure, judge, number, rounded, table } from './figures.ts';
import { inTurn, PEER_NAMES, type Peer, type PeerName, type Peers, type PeersOptions, withPeers } from './peers.ts';
import {
  attempt,
  type CommonOptions,
  eachFlavor,
  type FailedRound,
  type Flavor,
  type FlavorResult,
  progress,
  type Result,
} from './report.ts';
import { median, percentile } from './stats.ts';
import { type Measured, type Protocol, type Run, Sysbench } from './sysbench.ts';

export interface Cell {
  mode: Protocol;
  clients: number;
}

export interface MatrixOptions extends CommonOptions {
  seconds: number;
  clients: number[];
  modes: Protocol[];
  peers: PeerName[];
  routerThreads: number;
  profileDir?: string | undefined;
}

/** What one peer did in one cell and round. */
export interface Sample extends Cell, Measured, Cost {
  peer: PeerName;
  round: number;
  /** Of the processes that queries pass through; NaN where there is none. */
  cpuUsPerQuery: number;
}

/** What makes one benchmark of this kind different from another. */
export interface MatrixWork {
  name: string;
  title: string;
  /** Names the test, and what of sysbench's options is not of the matrix. */
  run: Pick<Run, 'test' | 'tableRows' | 'strict'>;
  /** A query's share or a transaction's: what rates and processor time are told by. */
  per: 'query' | 'transaction';
  tls?: boolean;
  /** Servers of the cluster; one where nothing is said. */
  nodes?: number;
  /** The test is a script of ours that needs sysbench's table. */
  needsTable?: boolean;
  figures: (samples: Samples, flavor: Flavor) => Figure[];
  remarks?: string[];
}

const WARM_SECONDS = 2;
/** Before anything counts each of them has been at work for so long: proxies run for weeks, and code is compiled as it is used. */
const RUN_IN = { clients: 16, seconds: 10 };

export async function benchMatrix(work: MatrixWork, options: MatrixOptions): Promise<Result> {
  const sysbench = await Sysbench.find(progress);
  const results = await eachFlavor(options.flavors, (flavor) => measureFlavor(sysbench, flavor, work, options));
  const { rounds, seconds, routerThreads } = options;
  const threads = { 'Evenkeel workers': 1, 'HAProxy threads': 1, 'Router threads': routerThreads };
  return { benchmark: work.name, title: work.title, settings: { rounds, seconds, ...threads }, results };
}

async function measureFlavor(
  sysbench: Sysbench,
  flavor: Flavor,
  work: MatrixWork,
  options: MatrixOptions,
): Promise<FlavorResult> {
  const { peers: names, routerThreads, profileDir } = options;
  const setUp: PeersOptions = { names, routerThreads, profileDir, tls: work.tls === true, nodes: work.nodes ?? 1 };
  const { samples, failed, version } = await withPeers(flavor, setUp, async (peers) => {
    if (!work.run.test.endsWith('.lua') || work.needsTable === true)
      await sysbench.prepare(peers.direct, work.run.tableRows);
    return { ...(await measureCells(sysbench, flavor, work, options, peers)), version: peers.version };
  });
  const of = new Samples(samples, work.per);
  const remarks = [...(work.remarks ?? [])];
  if (profileDir !== undefined)
    remarks.push('Evenkeel was profiled, which makes it slower: these figures are no result.');
  return {
    flavor,
    version,
    failedRounds: failed,
    figures: judgeAll(work.figures(of, flavor), failed),
    rounds: samples,
    summary: of.summary(),
    tables: [{ title: 'Medians of the rounds; ratios (×) and differences (+) are within a round:', text: of.table() }],
    remarks,
  };
}

async function measureCells(
  sysbench: Sysbench,
  flavor: Flavor,
  work: MatrixWork,
  options: MatrixOptions,
  peers: Peers,
): Promise<{ samples: Sample[]; failed: FailedRound[] }> {
  const measure = async (peer: Peer, { mode: protocol, clients }: Cell, seconds: number) => {
    const window = new CostWindow(peer);
    const value = await sysbench.measure(peer.target, {
      ...work.run,
      protocol,
      clients,
      seconds,
      onBegin: () => window.begin(),
      onEnd: () => window.end(),
    });
    return { value, cost: window.cost() };
  };
  const cells = options.clients.flatMap((clients) => options.modes.map((mode): Cell => ({ mode, clients })));
  const samples: Sample[] = [];
  const failed: FailedRound[] = [];
  for (const mode of options.modes) {
    progress(`${work.name} ${flavor}, ${mode}: ${RUN_IN.seconds} s of work for each`);
    for (const peer of peers.all) {
      await measure(peer, { mode, clients: RUN_IN.clients }, RUN_IN.seconds).catch(() => {});
    }
  }
  for (const cell of cells) {
    const what = `${work.name} ${flavor}, ${cell.clients} clients, ${cell.mode}`;
    progress(`${what}: warming up`);
    for (const peer of peers.all) {
      // One that cannot do it says so in its rounds.
      await measure(peer, cell, Math.min(WARM_SECONDS, options.seconds)).catch(() => {});
    }
    for (let round = 1; round <= options.rounds; round++) {
      for (const peer of inTurn(peers.all, round)) {
        const one = await attempt(`${what}, ${round}/${options.rounds}, ${peer.name}`, async () => {
          const { value, cost } = await measure(peer, cell, options.seconds);
          const rate = work.per === 'query' ? value.queriesPerSecond : value.transactionsPerSecond;
          const cpuUsPerQuery = peer.pids.length === 0 ? Number.NaN : (cost.cpuMsPerSecond * 1000) / rate;
          const sample: Sample = { peer: peer.name, round, ...cell, ...value, ...cost, cpuUsPerQuery };
          return { value: sample, line: `${number(rate)} a second, ${number(cpuUsPerQuery)} µs` };
        });
        if (one.ok) samples.push(one.value);
        else failed.push({ round, error: `${cell.clients} clients, ${cell.mode}, ${peer.name}: ${one.error}` });
      }
    }
  }
  return { samples, failed };
}

/** A figure is missed by the rounds that it lacks itself, not by those of another cell. */
export function judgeAll(figures: readonly Figure[], failed: readonly FailedRound[]): JudgedFigure[] {
  const expected = Math.max(0, ...figures.map(({ samples }) => samples.length));
  return figures.map((figure) => judge(figure, failed.length === 0 ? 0 : expected - figure.samples.length));
}

type Read = (sample: Sample) => number;

/** All samples of one flavor, and what can be asked of them. */
export class Samples {
  readonly #all: readonly Sample[];
  readonly #per: MatrixWork['per'];

  constructor(all: readonly Sample[], per: MatrixWork['per']) {
    this.#all = all;
    this.#per = per;
  }

  cells(): Cell[] {
    const seen = new Map<string, Cell>();
    for (const { mode, clients } of this.#all) seen.set(`${mode} ${clients}`, { mode, clients });
    return [...seen.values()];
  }

  peers(): PeerName[] {
    return [...new Set(this.#all.map(({ peer }) => peer))];
  }

  readonly rate: Read = (sample) => (this.#per === 'query' ? sample.queriesPerSecond : sample.transactionsPerSecond);

  of(peer: PeerName, cell: Cell): Sample[] {
    return this.#all.filter((each) => each.peer === peer && each.mode === cell.mode && each.clients === cell.clients);
  }

  /** One number a round in which both were measured. */
  against(peer: PeerName, other: PeerName, cell: Cell, compare: (mine: Sample, its: Sample) => number): number[] {
    const others = new Map(this.of(other, cell).map((sample) => [sample.round, sample]));
    return this.of(peer, cell).flatMap((mine) => {
      const its = others.get(mine.round);
      return its === undefined ? [] : [compare(mine, its)];
    });
  }

  ratio(peer: PeerName, other: PeerName, cell: Cell, read: Read): number[] {
    return this.against(peer, other, cell, (mine, its) => read(mine) / read(its));
  }

  difference(peer: PeerName, other: PeerName, cell: Cell, read: Read): number[] {
    return this.against(peer, other, cell, (mine, its) => read(mine) - read(its));
  }

  table(): string {
    const rate = this.#per === 'query' ? 'q/s' : 'a second';
    const head = ['', rate, 'min–max', '× direct', '× haproxy', 'p50 µs', 'p95 µs', 'p99 µs', '+p50', '+p99'];
    const rows = this.cells().flatMap((cell) => this.#order().flatMap((peer) => this.#row(peer, cell)));
    return table([...head, 'CPU µs', '× haproxy', 'RSS MiB', 'control RSS'], rows);
  }

  /** For the JSON document: of each cell and peer, the medians and the spread. */
  summary(): unknown[] {
    const reads: Record<string, Read> = {
      queriesPerSecond: (s) => s.queriesPerSecond,
      transactionsPerSecond: (s) => s.transactionsPerSecond,
      p50Us: (s) => s.p50Us,
      p95Us: (s) => s.p95Us,
      p99Us: (s) => s.p99Us,
      cpuUsPerQuery: (s) => s.cpuUsPerQuery,
      residentMiB: (s) => s.residentMiB,
    };
    return this.cells().flatMap((cell) =>
      this.#order().map((peer) => {
        const here = this.of(peer, cell);
        const numbers = Object.entries(reads).map(([name, read]) => [name, spread(here.map(read))]);
        return { ...cell, peer, rounds: here.length, ...Object.fromEntries(numbers) };
      }),
    );
  }

  #order(): PeerName[] {
    return PEER_NAMES.filter((peer) => this.peers().includes(peer));
  }

  #row(peer: PeerName, cell: Cell): string[][] {
    const here = this.of(peer, cell);
    if (here.length === 0) return [[`${cell.clients} ${cell.mode}, ${peer}`, '–']];
    const of = (read: Read): string => number(median(here.map(read)));
    const known = (text: string): string => (text === '–' ? '' : text);
    const ratio = (other: PeerName, read: Read): string =>
      peer === other ? '' : known(number(median(this.ratio(peer, other, cell, read))));
    const added = (read: Read): string =>
      peer === 'direct' ? '' : known(number(median(this.difference(peer, 'direct', cell, read))));
    const proxied = (read: Read): string => (peer === 'direct' ? '' : of(read));
    const rates = here.map(this.rate);
    return [
      [
        `${cell.clients} ${cell.mode}, ${peer}`,
        of(this.rate),
        `${number(Math.min(...rates))}–${number(Math.max(...rates))}`,
        ratio('direct', this.rate),
        ratio('haproxy', this.rate),
        of((s) => s.p50Us),
        of((s) => s.p95Us),
        of((s) => s.p99Us),
        added((s) => s.p50Us),
        added((s) => s.p99Us),
        proxied((s) => s.cpuUsPerQuery),
        peer === 'direct' ? '' : ratio('haproxy', (s) => s.cpuUsPerQuery),
        proxied((s) => s.residentMiB),
        peer === 'evenkeel' ? of((s) => s.controlResidentMiB) : '',
      ],
    ];
  }
}

function spread(values: readonly number[]): { median: number; min: number; max: number } | null {
  const known = values.filter(Number.isFinite);
  if (known.length === 0) return null;
  const at = (percent: number): number => rounded(percentile(known, percent));
  return { median: at(50), min: rounded(Math.min(...known)), max: at(100) };
}

/** A figure for each cell in which both were measured. `aim` says what is wanted there, if anything. */
export function perCell(
  samples: Samples,
  figure: (cell: Cell) => Omit<Figure, 'samples'> & { samples: number[] },
): Figure[] {
  return samples
    .cells()
    .map(figure)
    .filter((each) => each.samples.length > 0);
}
