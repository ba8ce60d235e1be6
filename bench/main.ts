// The benchmarks' command line: `npm run bench -- failover --rounds 20`. Each prints its tables, or with --json one
// document, on standard output and its progress on standard error. Exit status 0 means that it was measured to the end,
// whether the aims were met or not; 1 that a round did not end; 2 wrong usage. See docs/benchmarks.md.
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { type CommonOptions, type Flavor, print, type Result } from './support/report.ts';

interface Common {
  flavor: 'mysql' | 'mariadb' | 'both';
  rounds: number;
  json?: boolean;
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
    .option('--json', 'one JSON document instead of tables');
}

function underLoad(name: string, description: string, rounds: number): Command {
  return command(name, description, rounds)
    .option('--clients <n>', 'connections that write and read', wholeNumber(1, 200), 32)
    .option('--think <ms>', "from an answer to the client's next statement", wholeNumber(0, 10_000), 5)
    .option('--workers <n>', "Evenkeel's data-plane processes", wholeNumber(1, 64), 2)
    .option('--warm <ms>', 'load before the event', wholeNumber(0, 600_000), 2000)
    .option('--settle <ms>', 'load after the event', wholeNumber(0, 600_000), 1500);
}

function sideBySide(name: string, description: string, rounds: number): Command {
  return command(name, description, rounds).option('--seconds <n>', 'each run', wholeNumber(1, 3600), 10);
}

function common({ flavor, rounds }: Common): CommonOptions {
  const flavors: Flavor[] = flavor === 'both' ? ['mysql', 'mariadb'] : [flavor];
  return { flavors, rounds };
}

function loadOptions(options: UnderLoad) {
  const { clients, think: thinkMs, workers, warm: warmMs, settle: settleMs } = options;
  return { ...common(options), clients, thinkMs, workers, warmMs, settleMs };
}

function finish(result: Result, json: boolean | undefined): void {
  print(result, json === true);
  if (result.results.some(({ failedRounds }) => failedRounds.length > 0)) process.exitCode = 1;
}

function numbers(text: string): number[] {
  return text.split(',').map(wholeNumber(1, 1000));
}

const program = new Command('bench').description('Side-by-side benchmarks of Evenkeel.').exitOverride();

program.addCommand(
  underLoad('failover', 'the primary is killed, or frozen, under a checked load', 20)
    .option('--freeze', 'SIGSTOP instead of kill -9')
    .action(async (options: UnderLoad & { freeze?: boolean }) => {
      const { benchFailover } = await import('./failover.ts');
      finish(await benchFailover({ ...loadOptions(options), freeze: options.freeze === true }), options.json);
    }),
);

program.addCommand(
  underLoad('switchover', 'planned switchovers in turn under a checked load', 20).action(async (options: UnderLoad) => {
    const { benchSwitchover } = await import('./switchover.ts');
    finish(await benchSwitchover(loadOptions(options)), options.json);
  }),
);

program.addCommand(
  sideBySide('latency', 'one client, point selects: direct, HAProxy, Evenkeel', 5)
    .addOption(new Option('--client <program>', 'that measures').choices(['sysbench', 'node']).default('sysbench'))
    .action(async (options: SideBySide & { client: 'sysbench' | 'node' }) => {
      const { benchLatency } = await import('./latency.ts');
      const { client, seconds } = options;
      finish(await benchLatency({ ...common(options), client, seconds }), options.json);
    }),
);

program.addCommand(
  sideBySide('throughput', 'many clients, point selects: direct, HAProxy, Evenkeel (a preview)', 3)
    .option('--clients <list>', 'how many at a time', numbers, [1, 16, 64, 256])
    .addOption(new Option('--protocol <protocol>', 'of the statements').choices(['text', 'prepared']).default('text'))
    .action(async (options: SideBySide & { clients: number[]; protocol: 'text' | 'prepared' }) => {
      const { benchThroughput } = await import('./throughput.ts');
      const { clients, protocol, seconds } = options;
      finish(await benchThroughput({ ...common(options), clients, protocol, seconds }), options.json);
    }),
);

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else {
    process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
