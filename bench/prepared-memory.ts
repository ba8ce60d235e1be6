// Does memory stay where it is under prepared statements? Many executions of a few statements by many clients, and the
// worker's resident memory at the quarter points. What is kept for a statement must not grow with its executions.
import { fileURLToPath } from 'node:url';
import { type Figure, number } from './support/figures.ts';
import { judgeAll } from './support/matrix.ts';
import { withPeers } from './support/peers.ts';
import { residentMiB } from './support/processes.ts';
import {
  type CommonOptions,
  eachFlavor,
  eachRound,
  type Flavor,
  type FlavorResult,
  progress,
  type Result,
} from './support/report.ts';
import { Sysbench } from './support/sysbench.ts';

export interface PreparedMemoryOptions extends CommonOptions {
  clients: number;
  executions: number;
}

interface Round {
  /** When all clients had prepared everything, when all was warm, then after each quarter. */
  residentMiB: number[];
  queriesPerSecond: number;
}

/** The script's own default. */
const STATEMENTS = 24;
const SCRIPT = fileURLToPath(new URL('./support/statements.lua', import.meta.url));
const DEADLINE_MS = 1_800_000;
/** Executions before any count: a heap that has something to do takes its size once. */
const WARM = 1_000_000;
/** What a garbage-collected heap moves by from one look to the next. */
const FLAT_MIB = 16;

export async function benchPreparedMemory(options: PreparedMemoryOptions): Promise<Result> {
  const sysbench = await Sysbench.find(progress);
  const results = await eachFlavor(options.flavors, (flavor) => measureFlavor(sysbench, flavor, options));
  const { rounds, clients, executions } = options;
  return {
    benchmark: 'prepared-memory',
    title: 'Memory under prepared statements',
    settings: { rounds, clients, statements: STATEMENTS, executions, 'Evenkeel workers': 1 },
    results,
  };
}

async function measureFlavor(
  sysbench: Sysbench,
  flavor: Flavor,
  options: PreparedMemoryOptions,
): Promise<FlavorResult> {
  const { rounds, clients, executions } = options;
  let version = 'unknown';
  const { done, failed } = await eachRound(rounds, `prepared-memory ${flavor}`, async () =>
    withPeers(flavor, { names: ['evenkeel'] }, async ({ all: [peer], direct, version: it }) => {
      const pid = peer?.pids[0];
      if (peer === undefined || pid === undefined) throw new Error('there is no Evenkeel');
      version = it;
      await sysbench.prepare(direct);
      const seen: number[] = [];
      const { queriesPerSecond } = await sysbench.measure(peer.target, {
        test: SCRIPT,
        protocol: 'prepared',
        clients,
        seconds: null,
        events: WARM + executions,
        deadlineMs: DEADLINE_MS,
        onBegin: () => seen.push(residentMiB(pid)),
        onProgress: (events) => {
          // The last quarter's is taken at the end.
          while (seen.length < 5 && events >= WARM + (executions * (seen.length - 1)) / 4) {
            seen.push(residentMiB(pid));
            progress(`prepared-memory ${flavor}: ${number(seen.at(-1) ?? Number.NaN)} MiB after ${Math.round(events)}`);
          }
        },
      });
      while (seen.length < 6) seen.push(residentMiB(pid));
      const value: Round = { residentMiB: seen, queriesPerSecond };
      return { value, line: `${seen.map(number).join(', ')} MiB` };
    }),
  );
  return { flavor, version, failedRounds: failed, figures: judgeAll(figuresOf(done), failed), rounds: done };
}

function figuresOf(rounds: readonly Round[]): Figure[] {
  const at = (look: number): number[] => rounds.map((round) => round.residentMiB[look] ?? Number.NaN);
  const [first, last] = [at(1), at(5)];
  const grown = last.map((mib, i) => mib - (first[i] ?? Number.NaN));
  return [
    { name: 'when all is prepared', unit: 'MiB', samples: at(0) },
    { name: `after ${number(WARM)} executions, when it is warm`, unit: 'MiB', samples: at(1) },
    ...['one quarter', 'half', 'three quarters', 'all'].map(
      (name, i): Figure => ({ name: `then after ${name}`, unit: 'MiB', samples: at(i + 2) }),
    ),
    {
      name: 'growth since it was warm',
      unit: 'MiB',
      samples: grown,
      aims: [{ of: 'max', atMost: FLAT_MIB }],
    },
    { name: 'executions', unit: 'q/s', samples: rounds.map((round) => round.queriesPerSecond) },
  ];
}
