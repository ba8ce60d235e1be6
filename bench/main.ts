// The benchmarks' command line: `npm run bench -- failover --rounds 20`. Each prints its tables, or with --json one
// document, on standard output and its progress on standard error. Exit status 0 means that it was measured to the end,
// whether the aims were met or not; 1 that a round did not end; 2 wrong usage. See docs/benchmarks.md.
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import type { NodesOptions } from './nodes.ts';
import type { Fault } from './support/faults.ts';
import type { MatrixOptions } from './support/matrix.ts';
import { PEER_NAMES, type PeerName } from './support/peers.ts';
import { type CommonOptions, type Flavor, print, type Result } from './support/report.ts';
import type { Protocol } from './support/sysbench.ts';

interface Common {
  flavor: 'mysql' | 'mariadb' | 'both';
  rounds: number;
  json?: boolean | string;
}

interface UnderLoad extends Common {
  clients: number;
  think: number;
  workers: number;
  warm: number;
  settle: number;
}

interface SideBySide extends Common {
  seconds: number;
  clients: number[];
  modes: Protocol[];
  peers: PeerName[];
  routerThreads: number;
  profile?: string;
}

function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw new InvalidArgumentError(`It is not a whole number from ${min} to ${max}.`);
  };
}

function command(name: string, description: string, rounds: number): Command {
  return new Command(name)
    .exitOverride()
    .description(description)
    .addOption(new Option('--flavor <flavor>', 'of the servers').choices(['mysql', 'mariadb', 'both']).default('both'))
    .option('--rounds <n>', 'how often each is measured', wholeNumber(1, 1000), rounds)
    .option('--json [file]', 'one JSON document instead of tables, or into a file beside them');
}

function underLoad(name: string, description: string, rounds: number): Command {
  return command(name, description, rounds)
    .option('--clients <n>', 'connections that write and read', wholeNumber(1, 200), 32)
    .option('--think <ms>', "from an answer to the client's next statement", wholeNumber(0, 10_000), 5)
    .option('--workers <n>', "Evenkeel's data-plane processes", wholeNumber(1, 64), 2)
    .option('--warm <ms>', 'load before the event', wholeNumber(0, 600_000), 2000)
    .option('--settle <ms>', 'load after the event', wholeNumber(0, 600_000), 1500);
}

function sideBySide(
  name: string,
  description: string,
  defaults: { clients: number[]; peers: PeerName[]; modes: Protocol[] },
): Command {
  return command(name, description, 3)
    .option('--seconds <n>', 'each run', wholeNumber(1, 3600), 5)
    .option('--clients <list>', 'how many at a time', numbers, defaults.clients)
    .option('--peers <list>', 'who is measured', oneOf(PEER_NAMES), defaults.peers)
    .option('--modes <list>', 'statements as text, prepared or both', oneOf(['text', 'prepared']), defaults.modes)
    .option('--router-threads <n>', "MySQL Router's", wholeNumber(1, 64), 1);
}

function profiled(verb: Command): Command {
  return verb.option('--profile <dir>', "a profile of Evenkeel's processor time into this directory");
}

function common({ flavor, rounds }: Common): CommonOptions {
  const flavors: Flavor[] = flavor === 'both' ? ['mysql', 'mariadb'] : [flavor];
  return { flavors, rounds };
}

function loadOptions(options: UnderLoad) {
  const { clients, think: thinkMs, workers, warm: warmMs, settle: settleMs } = options;
  return { ...common(options), clients, thinkMs, workers, warmMs, settleMs };
}

function matrixOptions(options: SideBySide): MatrixOptions {
  const { seconds, clients, modes, peers, routerThreads, profile: profileDir } = options;
  return { ...common(options), seconds, clients, modes, peers, routerThreads, profileDir };
}

function finish(result: Result, json: boolean | string | undefined): void {
  print(result, json ?? false);
  if (result.results.some(({ failedRounds }) => failedRounds.length > 0)) process.exitCode = 1;
}

function pattern(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}

function numbers(text: string): number[] {
  return text.split(',').map(wholeNumber(1, 2000));
}

function oneOf<T extends string>(choices: readonly T[]): (text: string) => T[] {
  return (text) =>
    text.split(',').map((word) => {
      const found = choices.find((choice) => choice === word);
      if (found === undefined) throw new InvalidArgumentError(`Each is one of ${choices.join(', ')}.`);
      return found;
    });
}

const program = new Command('bench').description('Side-by-side benchmarks of Evenkeel.').exitOverride();

program.addCommand(
  underLoad('failover', 'the primary is lost under a checked load', 20)
    .addOption(
      new Option('--fault <fault>', 'what happens to the primary')
        .choices(['kill', 'freeze', 'cut', 'stall', 'full'])
        .default('kill'),
    )
    .addOption(
      new Option('--replication <kind>', 'of the cluster; group is MySQL only, galera MariaDB only')
        .choices(['semisync', 'group', 'galera'])
        .default('semisync'),
    )
    .action(async (options: UnderLoad & { fault: Fault; replication: 'semisync' | 'group' | 'galera' }) => {
      const { benchFailover } = await import('./failover.ts');
      const { fault, replication } = options;
      finish(await benchFailover({ ...loadOptions(options), fault, replication }), options.json);
    }),
);

program.addCommand(
  underLoad('switchover', 'planned switchovers in turn under a checked load', 20).action(async (options: UnderLoad) => {
    const { benchSwitchover } = await import('./switchover.ts');
    finish(await benchSwitchover(loadOptions(options)), options.json);
  }),
);

program.addCommand(
  new Command('nodes')
    .exitOverride()
    .description('one control process that watches many clusters: its processor time, and when it finds a death')
    .option('--rounds <n>', 'how often it is measured', wholeNumber(1, 1000), 1)
    .option('--clusters <n>', 'stand-ins form so many', wholeNumber(1, 1000), 300)
    .option('--nodes <n>', 'stand-ins', wholeNumber(2, 5000), 1000)
    .option('--seconds <n>', 'that its processor time is taken of', wholeNumber(1, 3600), 15)
    .option('--deaths <n>', 'primaries that die, one after the other', wholeNumber(1, 1000), 10)
    .option('--json [file]', 'one JSON document instead of tables, or into a file beside them')
    .action(async (options: NodesOptions & { json?: boolean | string }) => {
      const { benchNodes } = await import('./nodes.ts');
      finish(await benchNodes(options), options.json);
    }),
);

const everybody: PeerName[] = PEER_NAMES.filter((name) => !['bare', 'report', 'auto', 'uncausal'].includes(name));
const both: Protocol[] = ['text', 'prepared'];

program.addCommand(
  profiled(
    sideBySide('points', 'point selects: direct, HAProxy, MySQL Router, Evenkeel', {
      clients: [1, 16, 64, 256, 1000],
      peers: everybody,
      modes: both,
    }),
  ).action(async (options: SideBySide) => {
    const { benchPoints } = await import('./points.ts');
    finish(await benchPoints(matrixOptions(options)), options.json);
  }),
);

program.addCommand(
  profiled(
    sideBySide('transactions', 'transactions of reads and writes, the same side by side', {
      clients: [1, 16, 64, 256, 1000],
      peers: everybody,
      modes: both,
    }),
  ).action(async (options: SideBySide) => {
    const { benchTransactions } = await import('./transactions.ts');
    finish(await benchTransactions(matrixOptions(options)), options.json);
  }),
);

program.addCommand(
  profiled(
    sideBySide('in-flight', 'what `inFlight: exactly-once` costs: transactions, and single writes', {
      clients: [1, 16, 64],
      peers: ['direct', 'evenkeel', 'report'],
      modes: ['text'],
    }).option('--writes', 'autocommit writes instead of transactions'),
  ).action(async (options: SideBySide & { writes?: boolean }) => {
    const { benchInFlight } = await import('./in-flight.ts');
    finish(await benchInFlight(matrixOptions(options), options.writes === true), options.json);
  }),
);

program.addCommand(
  command(
    'recording',
    'what it costs to record a transaction, a statement: processor time, without a server',
    5,
  ).action(async (options: Common) => {
    const { benchRecording } = await import('./recording.ts');
    finish(await benchRecording(common(options)), options.json);
  }),
);

program.addCommand(
  command(
    'split',
    'what it costs to choose a server for a statement of `route: auto`: processor time, without a server',
    5,
  ).action(async (options: Common) => {
    const { benchSplit } = await import('./split.ts');
    finish(await benchSplit(common(options)), options.json);
  }),
);

program.addCommand(
  profiled(
    sideBySide('auto', 'what `route: auto` gains with two replicas, and what reading own writes costs', {
      clients: [1, 16, 256],
      peers: ['evenkeel', 'auto', 'uncausal'],
      modes: ['text'],
    }).option('--own-writes', 'each client writes a row and reads it, in place of point selects'),
  ).action(async (options: SideBySide & { ownWrites?: boolean }) => {
    const { benchAuto } = await import('./auto.ts');
    finish(await benchAuto(matrixOptions(options), options.ownWrites === true), options.json);
  }),
);

program.addCommand(
  profiled(
    sideBySide('connect', 'connect, one query, disconnect, the same side by side', {
      clients: [1, 16],
      peers: everybody,
      modes: ['text'],
    }),
  ).action(async (options: SideBySide) => {
    const { benchConnect } = await import('./connect.ts');
    finish(await benchConnect(matrixOptions(options)), options.json);
  }),
);

program.addCommand(
  profiled(
    sideBySide('tls', 'point selects with TLS on both sides: direct, MySQL Router, Evenkeel (MySQL only)', {
      clients: [1, 16],
      peers: ['direct', 'router', 'evenkeel'],
      modes: ['text'],
    }),
  ).action(async (options: SideBySide) => {
    const { benchTls } = await import('./tls.ts');
    finish(await benchTls({ ...matrixOptions(options), flavors: ['mysql'] }), options.json);
  }),
);

program.addCommand(
  command('volume', 'one large result and one large LOAD DATA LOCAL: direct, HAProxy, Evenkeel', 3)
    .option('--mib <n>', 'of each', wholeNumber(1, 65_536), 1024)
    .option('--row-bytes <n>', 'of a row, and of a line', wholeNumber(2, 4_194_304), 1024)
    .option('--peers <list>', 'who is measured', oneOf(PEER_NAMES), ['direct', 'haproxy', 'evenkeel'])
    .action(async (options: Common & { mib: number; rowBytes: number; peers: PeerName[] }) => {
      const { benchVolume } = await import('./volume.ts');
      const { mib, rowBytes, peers } = options;
      finish(await benchVolume({ ...common(options), mib, rowBytes, peers }), options.json);
    }),
);

program.addCommand(
  command('idle', 'clients that are logged in and do nothing: time and memory', 3)
    .option('--clients <n>', 'logged in at the end', wholeNumber(1, 60_000), 10_000)
    .action(async (options: Common & { clients: number }) => {
      const { benchIdle } = await import('./idle.ts');
      finish(await benchIdle({ ...common(options), clients: options.clients }), options.json);
    }),
);

program.addCommand(
  command('prepared-memory', 'many executions of a few prepared statements: memory at the quarter points', 1)
    .option('--clients <n>', 'connections, each with 24 statements', wholeNumber(1, 2000), 200)
    .option('--executions <n>', 'in all', wholeNumber(4, 100_000_000), 1_000_000)
    .action(async (options: Common & { clients: number; executions: number }) => {
      const { benchPreparedMemory } = await import('./prepared-memory.ts');
      const { clients, executions } = options;
      finish(await benchPreparedMemory({ ...common(options), clients, executions }), options.json);
    }),
);

program.addCommand(
  new Command('mysqltest')
    .description("MariaDB's own test suite through Evenkeel, compared with a server itself: no benchmark")
    .option('--suite <name>', 'of those in the package', 'main')
    .option('--only <pattern>', "tests' names, a regular expression", pattern, /./)
    .option('--arguments <words>', "more of mysqltest's own, e.g. '--ps-protocol'", '')
    .addOption(
      new Option('--in-flight <mode>', "Evenkeel's").choices(['exactly-once', 'report']).default('exactly-once'),
    )
    .option('--keep <dir>', 'what both said in the tests that differ, for diff')
    .action(async (options: Mysqltest) => {
      const { compareSuite, keep } = await import('./mysqltest.ts');
      const { suite, only, inFlight } = options;
      const extra = options.arguments.split(/\s+/).filter((word) => word !== '');
      const result = await compareSuite({ suite, only, extra, inFlight });
      if (options.keep !== undefined) keep(result, options.keep);
      const differing = result.differing.map(({ name }) => name);
      process.stdout.write(`${JSON.stringify({ suite, tests: result.tests, differing }, null, 2)}\n`);
    }),
);

interface Mysqltest {
  suite: string;
  only: RegExp;
  arguments: string;
  inFlight: 'exactly-once' | 'report';
  keep?: string;
}

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else {
    process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
