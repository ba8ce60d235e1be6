// Large things on their way through: one result of 1 GiB, and one LOAD DATA LOCAL of as much. The client is MariaDB's
// own, which takes the rows one by one and throws them away; the server makes up the result from a small table, and
// skips every line of the file, so that neither side's disk is measured.
import { rmSync, statfsSync } from 'node:fs';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findTool, type ToolProgram } from '../src/sandbox/index.ts';
import { type Figure, number, table } from './support/figures.ts';
import { judgeAll } from './support/matrix.ts';
import { peakDuring } from './support/memory.ts';
import { inTurn, type Peer, type PeerName, withPeers } from './support/peers.ts';
import { cpuMs, onExit, runToEnd } from './support/processes.ts';
import {
  attempt,
  type CommonOptions,
  eachFlavor,
  type Flavor,
  type FlavorResult,
  progress,
  type Result,
} from './support/report.ts';
import { median } from './support/stats.ts';
import type { Target } from './support/sysbench.ts';

export interface VolumeOptions extends CommonOptions {
  mib: number;
  rowBytes: number;
  peers: PeerName[];
}

type Direction = 'result' | 'load';

interface Sample {
  peer: PeerName;
  direction: Direction;
  round: number;
  seconds: number;
  mibPerSecond: number;
  cpuMsPerMib: number;
  residentBeforeMiB: number;
  residentPeakMiB: number;
}

const DIRECTIONS: readonly Direction[] = ['result', 'load'];
const DIGITS = 1000;
const WARM_MIB = 32;
const DEADLINE_MS = 300_000;

export async function benchVolume(options: VolumeOptions): Promise<Result> {
  const client = await findTool('mariadb', progress);
  const results = await eachFlavor(options.flavors, (flavor) => measureFlavor(client, flavor, options));
  const { rounds, mib, rowBytes } = options;
  return {
    benchmark: 'volume',
    title: 'One large result, one large LOAD DATA LOCAL',
    settings: { rounds, MiB: mib, 'bytes a row': rowBytes, 'Evenkeel workers': 1, 'HAProxy threads': 1 },
    results,
  };
}

async function measureFlavor(client: ToolProgram, flavor: Flavor, options: VolumeOptions): Promise<FlavorResult> {
  const { mib, rowBytes, peers: names } = options;
  return withPeers(flavor, { names }, async ({ all, direct, version }) =>
    withFile(mib, rowBytes, async (file, smallFile) => {
      await run(client, direct, prepareSql());
      const move = (peer: Peer, direction: Direction, sizeMiB: number): Promise<string> =>
        direction === 'result'
          ? run(client, peer.target, resultSql(sizeMiB, rowBytes))
          : run(client, peer.target, loadSql(sizeMiB === mib ? file : smallFile));
      for (const peer of all) for (const direction of DIRECTIONS) await move(peer, direction, WARM_MIB);
      const samples: Sample[] = [];
      const failed: FlavorResult['failedRounds'] = [];
      for (let round = 1; round <= options.rounds; round++) {
        for (const direction of DIRECTIONS) {
          for (const peer of inTurn(all, round)) {
            const name = `volume ${flavor}, ${direction}, ${round}/${options.rounds}, ${peer.name}`;
            const one = await attempt(name, async () => {
              const value = await measure(peer, direction, round, mib, () => move(peer, direction, mib));
              return { value, line: `${number(value.mibPerSecond)} MiB/s` };
            });
            if (one.ok) samples.push(one.value);
            else failed.push({ round, error: `${direction}, ${peer.name}: ${one.error}` });
          }
        }
      }
      return {
        flavor,
        version,
        failedRounds: failed,
        figures: judgeAll(figuresOf(samples), failed),
        rounds: samples,
        tables: [{ title: 'Medians of the rounds:', text: tableOf(samples) }],
      };
    }),
  );
}

async function measure(
  peer: Peer,
  direction: Direction,
  round: number,
  mib: number,
  move: () => Promise<unknown>,
): Promise<Sample> {
  const pid = peer.pids[0] ?? null;
  const cpuBefore = pid === null ? Number.NaN : cpuMs(pid);
  const begun = performance.now();
  const { beforeMiB, peakMiB } = await peakDuring(pid, move);
  const seconds = (performance.now() - begun) / 1000;
  return {
    peer: peer.name,
    direction,
    round,
    seconds,
    mibPerSecond: mib / seconds,
    cpuMsPerMib: pid === null ? Number.NaN : (cpuMs(pid) - cpuBefore) / mib,
    residentBeforeMiB: beforeMiB,
    residentPeakMiB: peakMiB,
  };
}

/** A thousand rows, of which a join of three makes as many as are wanted. */
function prepareSql(): string {
  const values = Array.from({ length: DIGITS }, (_, n) => `(${n})`).join(',');
  return [
    'CREATE TABLE digits (n INT PRIMARY KEY)',
    `INSERT INTO digits VALUES ${values}`,
    'CREATE TABLE imported (line LONGTEXT)',
  ].join('; ');
}

function resultSql(mib: number, rowBytes: number): string {
  const rows = Math.ceil((mib * 2 ** 20) / rowBytes);
  const from = rows > DIGITS ? 'digits a, digits b, digits c' : 'digits';
  return `SELECT REPEAT('x', ${rowBytes}) FROM ${from} LIMIT ${rows}`;
}

/** No line begins so: the server reads and skips them all. */
function loadSql(file: string): string {
  return `LOAD DATA LOCAL INFILE '${file}' INTO TABLE imported CHARACTER SET binary LINES STARTING BY 'never'`;
}

function run(client: ToolProgram, target: Target, sql: string): Promise<string> {
  const { host, port, user, password, database } = target;
  const login = ['--no-defaults', `--host=${host}`, `--port=${port}`, `--user=${user}`, database];
  const options = [
    // HAProxy passes TLS on, Evenkeel ends it and begins it anew: that is the benchmark `tls`.
    '--skip-ssl',
    '--quick',
    '--batch',
    '--raw',
    '--skip-column-names',
    '--local-infile=1',
    `--execute=${sql}`,
  ];
  // Only errors come back: the rows go where they cost nothing.
  const argv = ['/bin/sh', '-c', 'exec "$@" > /dev/null', 'sh', ...client.argv0, ...login, ...options];
  return runToEnd(argv, { env: { ...client.env, MYSQL_PWD: password }, deadlineMs: DEADLINE_MS }).catch(
    (error: Error) => {
      const why = /^ERROR .*$/m.exec(error.message)?.[0];
      throw why === undefined ? error : new Error(why);
    },
  );
}

/** A file of lines, in memory where there is room, and a small one. */
async function withFile<T>(
  mib: number,
  rowBytes: number,
  work: (file: string, smallFile: string) => Promise<T>,
): Promise<T> {
  const dir = await mkdtemp(join(roomy('/dev/shm', mib) ? '/dev/shm' : tmpdir(), 'evenkeel-volume-'));
  const forget = onExit(() => rmSync(dir, { recursive: true, force: true }));
  try {
    const [file, smallFile] = [join(dir, 'lines'), join(dir, 'few')];
    await writeLines(file, mib, rowBytes);
    await writeLines(smallFile, WARM_MIB, rowBytes);
    return await work(file, smallFile);
  } finally {
    forget();
    await rm(dir, { recursive: true, force: true });
  }
}

function roomy(dir: string, mib: number): boolean {
  try {
    const { bavail, bsize } = statfsSync(dir);
    return bavail * bsize > 2 * mib * 2 ** 20;
  } catch {
    return false;
  }
}

async function writeLines(file: string, mib: number, rowBytes: number): Promise<void> {
  const line = `${'x'.repeat(Math.max(1, rowBytes - 1))}\n`;
  const block = Buffer.from(line.repeat(Math.ceil(2 ** 20 / line.length)));
  const handle = await open(file, 'w', 0o600);
  try {
    for (let left = mib * 2 ** 20; left > 0; left -= block.length)
      await handle.write(block, 0, Math.min(left, block.length));
  } finally {
    await handle.close();
  }
}

function figuresOf(samples: readonly Sample[]): Figure[] {
  const of = (peer: PeerName, direction: Direction): Sample[] =>
    samples.filter((sample) => sample.peer === peer && sample.direction === direction);
  const figures = DIRECTIONS.flatMap((direction): Figure[] => {
    const ratios = of('evenkeel', direction).flatMap((mine) => {
      const its = of('haproxy', direction).find(({ round }) => round === mine.round);
      return its === undefined ? [] : [mine.mibPerSecond / its.mibPerSecond];
    });
    const grown = of('evenkeel', direction).map((sample) => sample.residentPeakMiB - sample.residentBeforeMiB);
    return [
      {
        name: `${direction}: rate, to HAProxy's`,
        unit: 'ratio',
        samples: ratios,
        aims: [{ of: 'p50', atLeast: 0.9 }],
      },
      { name: `${direction}: the worker grew by`, unit: 'MiB', samples: grown, aims: [{ of: 'max', atMost: 32 }] },
    ];
  });
  return figures.filter((figure) => figure.samples.length > 0);
}

function tableOf(samples: readonly Sample[]): string {
  const rows = DIRECTIONS.flatMap((direction) =>
    [...new Set(samples.map(({ peer }) => peer))].map((peer) => {
      const here = samples.filter((sample) => sample.peer === peer && sample.direction === direction);
      const of = (read: (sample: Sample) => number): string =>
        here.some((sample) => Number.isFinite(read(sample))) ? number(median(here.map(read))) : '';
      return [
        `${direction}, ${peer}`,
        of((s) => s.mibPerSecond),
        of((s) => s.cpuMsPerMib),
        of((s) => s.residentBeforeMiB),
        of((s) => s.residentPeakMiB),
      ];
    }),
  );
  return table(['', 'MiB/s', 'CPU ms/MiB', 'RSS before', 'RSS peak'], rows);
}
