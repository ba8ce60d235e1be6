// `evenkeel demo`: a sandbox, the proxy, a workload and a killed primary on one screen. With --json the telling goes to
// standard error, so that standard output is the object alone. Exit status 1 where the verdict is `fail`.
import { access, constants } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { Command, Option } from 'commander';
import { UsageError } from './failure.ts';
import { wholeNumber } from './values.ts';

interface DemoFlags {
  flavor: 'mariadb' | 'mysql';
  connections: number;
  svg?: string;
  json?: true;
}

async function demo({ flavor, connections, svg, json }: DemoFlags): Promise<void> {
  // Half a minute later would be too late to find out.
  if (svg !== undefined) {
    await access(dirname(resolve(svg)), constants.W_OK).catch(() => {
      throw new UsageError(`--svg: cannot write into ${dirname(resolve(svg))}`);
    });
  }
  const { runDemo } = await import('../demo/index.ts');
  const result = await runDemo({
    flavor,
    connections,
    svg: svg === undefined ? null : resolve(svg),
    main: resolve(process.argv[1] ?? ''),
    sink: json ? process.stderr : process.stdout,
    env: process.env,
  });
  if (json) process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
  process.exitCode = result.verdict === 'pass' ? 0 : 1;
}

export function demoCommand(): Command {
  return new Command('demo')
    .description('sandbox, proxy, a running workload and a killed primary, and what the client saw')
    .addOption(new Option('--flavor <flavor>', 'of the servers').choices(['mariadb', 'mysql']).default('mariadb'))
    .addOption(new Option('--connections <count>', 'clients').argParser(wholeNumber(1, 64)).default(32))
    .option('--svg <file>', 'write the picture over time into this file')
    .option('--json', 'the verdict as JSON, at the end')
    .addHelpText('after', '\nExamples:\n  evenkeel demo\n  evenkeel demo --flavor mysql --svg demo.svg')
    .action(demo);
}
