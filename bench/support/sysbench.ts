// sysbench as the measured client: a connection a thread, each sending its next statement when it has the last one's
// answer. Percentiles come from its histogram, whose buckets are 1.8 % wide. Logins come before the measured time and
// are no part of a proxy's cost.
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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
  /** With TLS, and the client's certificate from this data directory of a server; null without TLS. */
  tlsFrom: string | null;
}

export type Protocol = 'text' | 'prepared';

/** What one client program measured in one run. */
export interface Measured {
  queries: number;
  /** What sysbench calls events: a transaction, or a connection, or the query itself. Latencies are theirs. */
  transactions: number;
  seconds: number;
  queriesPerSecond: number;
  transactionsPerSecond: number;
  meanUs: number;
  p50Us: number;
  p95Us: number;
  p99Us: number;
  maxUs: number;
  /** Transactions that the server rolled back (deadlocks), and that were begun again. */
  rolledBack: number;
}

export interface Run {
  /** A test of sysbench's own, or the path of a script. */
  test: string;
  protocol: Protocol;
  clients: number;
  /** Null where `events` end the run. */
  seconds: number | null;
  events?: number;
  tableRows?: number;
  /** Fails where the server rolled a transaction back. */
  strict?: boolean;
  deadlineMs?: number;
  /** All clients are logged in: the measured time begins. */
  onBegin?: () => void;
  /** It is over, or nearly so. */
  onEnd?: () => void;
  /** Events so far, about once a second, where it was asked for. */
  onProgress?: (events: number) => void;
}

const TABLE_ROWS = 10_000;
/** For connecting and for what sysbench does around the measured time. */
const EXTRA_MS = 90_000;

export class Sysbench {
  readonly #tool: ToolProgram;

  private constructor(tool: ToolProgram) {
    this.#tool = tool;
  }

  static async find(progress: (line: string) => void): Promise<Sysbench> {
    return new Sysbench(await findTool('sysbench', progress));
  }

  /** Makes and fills `sbtest1`. */
  async prepare(target: Target, rows = TABLE_ROWS): Promise<void> {
    const words = ['--threads=1', '--tables=1', `--table-size=${rows}`, 'prepare'];
    await this.#call({ ...target, tlsFrom: null }, 'oltp_point_select', words, EXTRA_MS);
  }

  async measure(target: Target, run: Run): Promise<Measured> {
    const { protocol, clients, seconds, events = 0, tableRows = TABLE_ROWS, onProgress } = run;
    const words = [
      `--threads=${clients}`,
      `--time=${seconds ?? 0}`,
      `--events=${events}`,
      '--histogram=on',
      '--rand-type=uniform',
      // A whole statement as text, or prepared once and then executed.
      `--db-ps-mode=${protocol === 'text' ? 'disable' : 'auto'}`,
      // The script of `connect` and of `prepared-memory` have no tables of this kind.
      ...(run.test.endsWith('.lua') ? [] : ['--tables=1', `--table-size=${tableRows}`]),
      ...(onProgress === undefined ? [] : ['--report-interval=1']),
      'run',
    ];
    const deadlineMs = run.deadlineMs ?? (seconds ?? 0) * 1000 + EXTRA_MS;
    const watch = new Watch(run);
    try {
      const output = await this.#call(target, run.test, words, deadlineMs, (soFar) => watch.look(soFar));
      return parseSysbench(output, run.strict !== false);
    } finally {
      watch.stop();
    }
  }

  async #call(
    target: Target,
    test: string,
    words: string[],
    deadlineMs: number,
    onOutput: (output: string) => void = () => {},
  ): Promise<string> {
    const { host, port, user, password, database, tlsFrom } = target;
    const server = [`--mysql-host=${host}`, `--mysql-port=${port}`, `--mysql-user=${user}`];
    const login = [`--mysql-password=${password}`, `--mysql-db=${database}`];
    const tls = `--mysql-ssl=${tlsFrom === null ? 'off' : 'on'}`;
    const argv = [...this.#tool.argv0, test, '--db-driver=mysql', ...server, ...login, tls, ...words];
    const options = { env: this.#tool.env, deadlineMs, onOutput };
    const run =
      tlsFrom === null
        ? runToEnd(argv, options)
        : withCertificates(tlsFrom, (cwd) => runToEnd(argv, { ...options, cwd }));
    return run.catch((error: Error) => {
      // Every thread complains; the first one says why.
      const why = /^FATAL: (?!`)(.*)$/m.exec(error.message)?.[1] ?? error.message;
      throw new Error(`sysbench: ${why.replaceAll(password, '***')}`);
    });
  }
}

/** sysbench takes its certificates from the current directory, under names of its own. */
async function withCertificates<T>(dataDir: string, work: (cwd: string) => Promise<T>): Promise<T> {
  const cwd = await mkdtemp(join(tmpdir(), 'evenkeel-sysbench-'));
  try {
    await copyFile(join(dataDir, 'ca.pem'), join(cwd, 'cacert.pem'));
    for (const name of ['client-key.pem', 'client-cert.pem']) await copyFile(join(dataDir, name), join(cwd, name));
    return await work(cwd);
  } finally {
    await rm(cwd, { recursive: true, force: true });
  }
}

/** Tells from what sysbench prints when the measured time begins, and how far it is. */
class Watch {
  readonly #run: Run;
  #begun = false;
  #timer: NodeJS.Timeout | undefined;
  #lines = 0;
  #events = 0;

  constructor(run: Run) {
    this.#run = run;
  }

  look(output: string): void {
    const { seconds, onBegin, onEnd, onProgress } = this.#run;
    if (!this.#begun && output.includes('Threads started!')) {
      this.#begun = true;
      onBegin?.();
      // What it prints at the end comes after its clients' logouts.
      if (seconds !== null && onEnd !== undefined) this.#timer = setTimeout(onEnd, seconds * 1000 - 50);
    }
    if (onProgress === undefined) return;
    const lines = [...output.matchAll(/^\[ \d+s \] thds: \d+ tps: ([\d.]+) .*$/gm)];
    for (const line of lines.slice(this.#lines)) this.#events += Number(line[1]);
    if (lines.length > this.#lines) onProgress(this.#events);
    this.#lines = lines.length;
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}

/** Reads what `sysbench … --histogram=on run` prints. Throws where a number is missing or a query failed. */
export function parseSysbench(output: string, strict = true): Measured {
  const read = (what: string, pattern: RegExp): number => {
    const text = pattern.exec(output)?.[1];
    if (text === undefined) throw new Error(`sysbench told no ${what}:\n${output.slice(-1000)}`);
    return Number(text);
  };
  const queries = read('queries', /^\s*queries:\s+(\d+)/m);
  const rolledBack = read('errors', /^\s*ignored errors:\s+(\d+)/m);
  const reconnects = read('reconnects', /^\s*reconnects:\s+(\d+)/m);
  if (reconnects > 0 || (strict && rolledBack > 0))
    throw new Error(`${rolledBack + reconnects} of sysbench's queries failed`);
  const transactions = read('events', /^\s*total number of events:\s+(\d+)/m);
  const seconds = read('time', /^\s*total time:\s+([\d.]+)s/m);
  const buckets = [...output.matchAll(/^\s*([\d.]+) \|\**\s+(\d+)\s*$/gm)].map(
    ([, value, count]): Bucket => ({ value: Number(value) * 1000, count: Number(count) }),
  );
  return {
    queries,
    transactions,
    seconds,
    queriesPerSecond: queries / seconds,
    transactionsPerSecond: transactions / seconds,
    // Its own mean has two digits after the point, in milliseconds: too coarse. The sum of all latencies is exact.
    meanUs: (read('sum of latencies', /^\s*sum:\s+([\d.]+)/m) * 1000) / Math.max(1, transactions),
    p50Us: bucketPercentile(buckets, 50),
    p95Us: bucketPercentile(buckets, 95),
    p99Us: bucketPercentile(buckets, 99),
    maxUs: read('maximum', /^\s*max:\s+([\d.]+)/m) * 1000,
    rolledBack,
  };
}
