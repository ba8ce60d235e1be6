// `evenkeel drill`: faults in a loop against a sandbox of its own, under the checked workload, with a verdict. Progress goes
// to standard error, the verdict to standard output. Exit status 0 only where it passed.
import { resolve } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import type { DrillFault, DrillResult } from '../demo/index.ts';
import { wholeNumber } from './values.ts';

interface DrillFlags {
  flavor: 'mariadb' | 'mysql';
  nodes: number;
  connections: number;
  faults: DrillFault[];
  rounds: number;
  seconds: number;
  json?: true;
}

const FAULTS: readonly DrillFault[] = ['switchover', 'kill', 'freeze'];

function faultList(text: string): DrillFault[] {
  return text.split(',').map((word) => {
    const fault = FAULTS.find((one) => one === word);
    if (fault === undefined) throw new InvalidArgumentError(`'${word}' is none of ${FAULTS.join(', ')}.`);
    return fault;
  });
}

function text(result: DrillResult): string {
  const { acknowledged, lost, duplicated, unexpected, wrongReads, clientErrors, unknown } = result;
  const kinds = Object.entries(result.errorsByKind).map(([kind, count]) => `${count} ${kind}`);
  return [
    result.verdict.toUpperCase(),
    `  ${acknowledged} writes confirmed: ${lost} lost, ${duplicated} applied twice, ${unexpected} that should not be there`,
    `  ${result.readsChecked} reads checked: ${wrongReads} wrong`,
    `  ${result.connections} connections: ${result.connectionsLost} lost`,
    `  ${clientErrors} client errors${kinds.length === 0 ? '' : `: ${kinds.join(', ')}`}`,
    `  ${unknown.executed + unknown.notExecuted} writes whose outcome no client was told`,
    ...result.faults.map(({ kind, node, stallMs, errors }) => `  ${kind} of ${node}: ${stallMs} ms, ${errors} errors`),
    ...(result.rebuilt === 0 ? [] : [`  ${result.rebuilt} former primaries were kept out and built anew`]),
    ...result.reasons.map((reason) => `  failed: ${reason}`),
  ].join('\n');
}

async function drill({ json, ...flags }: DrillFlags): Promise<void> {
  const { runDrill } = await import('../demo/index.ts');
  const result = await runDrill({
    ...flags,
    main: resolve(process.argv[1] ?? ''),
    progress: (line) => void process.stderr.write(`${line}\n`),
  });
  process.stdout.write(`${json ? JSON.stringify(result, null, 2) : text(result)}\n`);
  process.exitCode = result.verdict === 'pass' ? 0 : 1;
}

export function drillCommand(): Command {
  return new Command('drill')
    .description('faults in a loop against a sandbox of its own, under a checked workload, with a verdict')
    .addOption(new Option('--flavor <flavor>', 'of the servers').choices(['mariadb', 'mysql']).default('mariadb'))
    .addOption(new Option('--nodes <count>', 'servers').argParser(wholeNumber(2, 5)).default(3))
    .addOption(new Option('--connections <count>', 'clients').argParser(wholeNumber(1, 64)).default(16))
    .addOption(
      new Option('--faults <list>', `of ${FAULTS.join(', ')}, in this order`)
        .argParser(faultList)
        .default([...FAULTS], FAULTS.join(',')),
    )
    .addOption(new Option('--rounds <count>', 'times the list of faults').argParser(wholeNumber(1, 1000)).default(1))
    .addOption(new Option('--seconds <count>', 'between faults').argParser(wholeNumber(1, 3600)).default(3))
    .option('--json', 'the verdict as JSON, at the end')
    .addHelpText(
      'after',
      "\nIt runs against its own sandbox with semi-synchronous replication alone, never against a user's cluster.\n\n" +
        'Example:\n  evenkeel drill --faults kill,switchover --rounds 5 --json',
    )
    .action(drill);
}
