// `evenkeel drill`: faults in a loop against a sandbox of its own, under the checked load, with a verdict. Progress goes to
// standard error, the verdict to standard output. Exit status 0 only where it passed.
import { resolve } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import type { DrillResult, LoopOptions } from '../demo/index.ts';
import type { FaultKind } from '../drill/index.ts';
import { type ApiOptions, addApiOptions } from './api-client.ts';
import { type ClusterFlags, drillCluster } from './drill-cluster.ts';
import { UsageError } from './failure.ts';
import { durationMs, wholeNumber } from './values.ts';

interface DrillFlags extends ApiOptions, ClusterFlags {
  flavor?: 'mariadb' | 'mysql';
  nodes?: number;
  connections: number;
  faults?: FaultKind[][];
  rounds?: number;
  for?: string;
  seconds: number;
  seed?: number;
  json?: true;
}

const KINDS: readonly FaultKind[] = ['switchover', 'kill', 'kill-in-commit', 'freeze', 'cut', 'worker'];
/** Those that take the primary down. */
const DOWN: readonly FaultKind[] = ['kill', 'kill-in-commit', 'freeze'];
const DAY_MS = 86_400_000;
const MAX_ROUNDS = 10_000;
const MAX_TOGETHER = 3;

function faultList(text: string): FaultKind[][] {
  return text.split(',').map((words) => {
    const kinds = words.split('+').map((word) => {
      const kind = KINDS.find((one) => one === word);
      if (kind === undefined) throw new InvalidArgumentError(`'${word}' is none of ${KINDS.join(', ')}.`);
      return kind;
    });
    if (kinds.length > MAX_TOGETHER || new Set(kinds).size < kinds.length) {
      throw new InvalidArgumentError(`'${words}': at most ${MAX_TOGETHER} strike together, each once.`);
    }
    if (kinds.filter((kind) => DOWN.includes(kind)).length > 1) {
      throw new InvalidArgumentError(`'${words}': a primary goes down once.`);
    }
    return kinds;
  });
}

function histogram(stalls: Record<string, number>): string {
  const classes = Object.entries(stalls).map(([upTo, count]) =>
    upTo === 'more' ? `${count} longer` : `${count} up to ${upTo} ms`,
  );
  return classes.join(', ');
}

function text(result: DrillResult): string {
  const { acknowledged, lost, duplicated, unexpected, clientErrors, unknown, faults } = result;
  const kinds = Object.entries(result.errorsByKind).map(([kind, count]) => `${count} ${kind}`);
  const some = (count: number, line: string): string[] => (count === 0 ? [] : [`  ${count} ${line}`]);
  return [
    result.verdict.toUpperCase(),
    `  ${acknowledged} writes confirmed, ${result.transactions} of them transactions: ${lost} lost, ${duplicated} applied twice, ${unexpected} that should not be there`,
    `  ${result.imbalance} accounts or transfers that do not agree, ${result.outOfOrder} entries of lists out of order`,
    `  ${result.readsChecked} reads checked: ${result.wrongReads} wrong`,
    `  ${clientErrors} errors that no client should have seen${kinds.length === 0 ? '' : ` (all errors: ${kinds.join(', ')})`}`,
    ...some(
      result.replaysDiffered,
      'transactions given up with 1213, since their replay would have shown something else',
    ),
    ...some(result.deadlocks, "deadlocks of the server's own"),
    ...some(result.lostWithWorker, 'connections lost with a killed process of Evenkeel'),
    ...some(unknown.executed + unknown.notExecuted, 'writes whose outcome no client was told'),
    ...some(result.rebuilt, 'former primaries kept out with what nobody was told of, and built anew'),
    `  statements waited: ${histogram(result.stalls)}`,
    ...faults.map(({ kind, node, stallMs, errors }) => `  ${kind} (${node}): at most ${stallMs} ms, ${errors} errors`),
    ...result.reasons.map((reason) => `  failed: ${reason}`),
  ].join('\n');
}

async function drill({ json, rounds, seed = Date.now() % 1_000_000, ...flags }: DrillFlags): Promise<void> {
  const forMs = flags.for === undefined ? null : await durationMs('--for', flags.for, { min: 1000, max: DAY_MS });
  const loop = {
    connections: flags.connections,
    rounds: rounds ?? (forMs === null ? 1 : MAX_ROUNDS),
    forMs,
    seconds: flags.seconds,
    seed,
    progress: (line: string) => void process.stderr.write(`${line}\n`),
  };
  const result =
    flags.cluster === undefined
      ? await drillSandbox(flags, loop)
      : await drillCluster(flags.cluster, flags, { ...loop, faults: flags.faults ?? [['switchover']] });
  process.stdout.write(`${json ? JSON.stringify(result, null, 2) : text(result)}\n`);
  process.exitCode = result.verdict === 'pass' ? 0 : 1;
}

async function drillSandbox(flags: DrillFlags, loop: Omit<LoopOptions, 'faults'>): Promise<DrillResult> {
  const ofClusters = ['endpoint', 'user', 'schema', 'iMeanIt', 'api', 'config', 'tokenFile'] as const;
  if (ofClusters.some((name) => flags[name] !== undefined)) {
    throw new UsageError(
      'these options are for a cluster of yours, which --cluster names; without it, a sandbox is made',
    );
  }
  const { runDrill } = await import('../demo/index.ts');
  const { flavor = 'mariadb', nodes = 3, faults = KINDS.map((kind) => [kind]) } = flags;
  return runDrill({ ...loop, flavor, nodes, faults, main: resolve(process.argv[1] ?? '') });
}

const HELP = `
Faults: switchover      the command, under load
        kill            kill -9 of the primary, which is started again
        kill-in-commit  the same while commits wait for an acknowledgement that is on its way
        freeze          SIGSTOP of the primary until another is promoted
        cut             all clients' connections to the primary are ended, and it lives on
        worker          kill -9 of one of Evenkeel's processes: its clients lose their connections, and nothing else
        kill+worker     together

It runs against its own sandbox with semi-synchronous replication, or, with --cluster and --i-mean-it, against a cluster of
yours behind a running Evenkeel: in a schema that it makes and drops, and with switchovers alone. The account needs all
privileges on that schema; its password is in EVENKEEL_DRILL_PASSWORD.

Examples:
  evenkeel drill --flavor mysql --faults kill,switchover --rounds 5 --json
  evenkeel drill --for 10m --faults switchover,kill,freeze,cut,worker,kill+worker,switchover+kill --seed 7
  EVENKEEL_DRILL_PASSWORD=secret evenkeel drill --cluster shop --user drill --rounds 3 --i-mean-it`;

export function drillCommand(): Command {
  const command = new Command('drill')
    .description('faults in a loop against a sandbox of its own, under a checked load, with a verdict')
    .addOption(new Option('--flavor <flavor>', 'of the servers (default: mariadb)').choices(['mariadb', 'mysql']))
    .addOption(new Option('--nodes <count>', 'servers (default: 3)').argParser(wholeNumber(2, 5)))
    .addOption(new Option('--connections <count>', 'clients').argParser(wholeNumber(1, 256)).default(16))
    .addOption(
      new Option(
        '--faults <list>',
        `what strikes: the first round in this order, later ones in any (default: ${KINDS.join(',')})`,
      ).argParser(faultList),
    )
    .addOption(
      new Option('--rounds <count>', 'times the list of faults (default: 1; with --for, no limit)').argParser(
        wholeNumber(1, MAX_ROUNDS),
      ),
    )
    .option('--for <duration>', 'no new fault after this, e.g. 10m')
    .addOption(new Option('--seconds <count>', 'between faults').argParser(wholeNumber(0, 3600)).default(3))
    .addOption(
      new Option('--seed <number>', 'of the dice (default: another each time)').argParser(wholeNumber(0, 2 ** 31)),
    )
    .addOption(
      new Option('--cluster <name>', 'a cluster of yours, instead of a sandbox').conflicts(['flavor', 'nodes']),
    )
    .option('--i-mean-it', 'that the cluster is switched over under load')
    .option(
      '--endpoint <name>',
      "where the clients connect to (default: the cluster's first that routes to the primary)",
    )
    .option('--user <name>', "the clients' account")
    .option('--schema <name>', 'made for the drill, and dropped at its end (default: evenkeel_drill)')
    .option('--json', 'the verdict as JSON, at the end');
  return addApiOptions(command).addHelpText('after', HELP).action(drill);
}
