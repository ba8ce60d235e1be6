// sysbench as the measured client: point selects, a connection a thread, each sending its next statement when it has
// the last one's answer. Percentiles come from its histogram, whose buckets are 1.8 % wide.
import { findTool, type ToolProgram } from '../../src/sandbox/index.ts';
import { runToEnd } from './processes.ts';
import { type Bucket, bucketPercentile } from './stats.ts';

/** Where a measured client connects. */
export interface Target {
  host: string;
  port: number;
  user: string;
  password: string;
  database: string;
}

export type Protocol = 'text' | 'prepared';

/** What one client program measured in one run. */
export interface Measured {
  queries: number;
  seconds: number;
  queriesPerSecond: number;
  meanUs: number;
  p50Us: number;
  p95Us: number;
  p99Us: number;
  maxUs: number;
}

const TABLE_ROWS = 10_000;
/** For connecting and for what sysbench does around the measured time. */
const EXTRA_MS = 60_000;

export class Sysbench {
  readonly #tool: ToolProgram;

  private constructor(tool: ToolProgram) {
    this.#tool = tool;
  }

  static async find(progress: (line: string) => void): Promise<Sysbench> {
    return new Sysbench(await findTool('sysbench', progress));
  }

  /** Makes and fills `sbtest1`. */
  async prepare(target: Target): Promise<void> {
    await this.#call(target, ['--threads=1', 'prepare'], EXTRA_MS);
  }

  async measure(target: Target, protocol: Protocol, clients: number, seconds: number): Promise<Measured> {
    const words = [
      `--threads=${clients}`,
      `--time=${seconds}`,
      '--histogram=on',
      '--rand-type=uniform',
      // A whole statement as text, or prepared once and then executed.
      `--db-ps-mode=${protocol === 'text' ? 'disable' : 'auto'}`,
      'run',
    ];
    return parseSysbench(await this.#call(target, words, seconds * 1000 + EXTRA_MS));
  }

  #call(target: Target, words: string[], deadlineMs: number): Promise<string> {
    const { host, port, user, password, database } = target;
    const server = [`--mysql-host=${host}`, `--mysql-port=${port}`, `--mysql-user=${user}`];
    const login = [`--mysql-password=${password}`, `--mysql-db=${database}`, '--mysql-ssl=off'];
    const table = ['--tables=1', `--table-size=${TABLE_ROWS}`];
    const argv = [
      ...this.#tool.argv0,
      'oltp_point_select',
      '--db-driver=mysql',
      ...server,
      ...login,
      ...table,
      ...words,
    ];
    return runToEnd(argv, this.#tool.env, deadlineMs).catch((error: Error) => {
      // Every thread complains; the first one says why.
      const why = /^FATAL: (?!`)(.*)$/m.exec(error.message)?.[1] ?? error.message;
      throw new Error(`sysbench: ${why.replaceAll(password, '***')}`);
    });
  }
}

/** Reads what `sysbench … --histogram=on run` prints. Throws where a number is missing or a query failed. */
export function parseSysbench(output: string): Measured {
  const read = (what: string, pattern: RegExp): number => {
    const text = pattern.exec(output)?.[1];
    if (text === undefined) throw new Error(`sysbench told no ${what}:\n${output.slice(-1000)}`);
    return Number(text);
  };
  const queries = read('queries', /^\s*queries:\s+(\d+)/m);
  const failed = read('errors', /^\s*ignored errors:\s+(\d+)/m) + read('reconnects', /^\s*reconnects:\s+(\d+)/m);
  if (failed > 0) throw new Error(`${failed} of sysbench's queries failed`);
  const seconds = read('time', /^\s*total time:\s+([\d.]+)s/m);
  const buckets = [...output.matchAll(/^\s*([\d.]+) \|\**\s+(\d+)\s*$/gm)].map(
    ([, value, count]): Bucket => ({ value: Number(value) * 1000, count: Number(count) }),
  );
  return {
    queries,
    seconds,
    queriesPerSecond: queries / seconds,
    // Its own mean has two digits after the point, in milliseconds: too coarse. The sum of all latencies is exact.
    meanUs: (read('sum of latencies', /^\s*sum:\s+([\d.]+)/m) * 1000) / Math.max(1, queries),
    p50Us: bucketPercentile(buckets, 50),
    p95Us: bucketPercentile(buckets, 95),
    p99Us: bucketPercentile(buckets, 99),
    maxUs: read('maximum', /^\s*max:\s+([\d.]+)/m) * 1000,
  };
}
