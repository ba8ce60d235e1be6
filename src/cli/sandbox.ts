// `evenkeel sandbox up|down|status`: a local cluster of real servers to try things on.
// The result goes to standard output (the JSON of design.md section 3 with --json), progress to standard error.
import { Command, Option } from 'commander';
import {
  SandboxError,
  type SandboxInfo,
  type SandboxOptions,
  type SandboxStatus,
  sandboxStatus,
  startSandbox,
  stopSandbox,
} from '../sandbox/index.ts';

const DEFAULT_DIR = './.evenkeel/sandbox';

interface UpFlags {
  flavor?: string;
  replication?: string;
  nodes?: string;
  dir: string;
  json?: boolean;
}

type DirFlags = Pick<UpFlags, 'dir' | 'json'>;

/** The verb, to be added to the program. Sets `process.exitCode`: 0 done, 1 failed, 2 wrong usage. */
export function sandboxCommand(): Command {
  const command = new Command('sandbox').description('a local cluster of real MySQL or MariaDB servers');
  const dir = (): Option => new Option('--dir <dir>', 'everything lives here').default(DEFAULT_DIR);
  const json = (): Option => new Option('--json', 'print JSON');

  command
    .command('up')
    .description('make a cluster, or start the nodes of an existing one that are down')
    .addOption(new Option('--flavor <flavor>', 'mariadb or mysql (default: mariadb)'))
    .addOption(
      new Option(
        '--replication <kind>',
        'async, semisync, group (mysql) or galera (mariadb) (default: semisync; async for one node)',
      ),
    )
    .addOption(new Option('--nodes <n>', '1 to 5 (default: 3)'))
    .addOption(dir())
    .addOption(json())
    .action((flags: UpFlags) => guarded(() => up(flags)));

  command
    .command('down')
    .description('end its servers and remove its directory')
    .addOption(dir())
    .addOption(json())
    .action((flags: DirFlags) =>
      guarded(async () => {
        await stopSandbox(flags.dir);
        print(flags.json === true, { dir: flags.dir, removed: true }, `removed the sandbox in ${flags.dir}`);
      }),
    );

  command
    .command('status')
    .description('which nodes run, and who is primary')
    .addOption(dir())
    .addOption(json())
    .action((flags: DirFlags) =>
      guarded(async () => {
        const status = await sandboxStatus(flags.dir);
        print(flags.json === true, status, describe(status));
      }),
    );

  return command;
}

async function up(flags: UpFlags): Promise<void> {
  const existing = await sandboxStatus(flags.dir).catch((error: unknown) => {
    // A new directory; anything that is wrong with it is told by startSandbox.
    if (error instanceof SandboxError) return null;
    throw error;
  });
  const nodes = flags.nodes === undefined ? (existing?.nodes.length ?? 3) : Number(flags.nodes);
  // startSandbox checks the words; until then they are only claimed to be right.
  const implied = flags.replication === 'group' ? 'mysql' : 'mariadb';
  const flavor = (flags.flavor ?? existing?.flavor ?? implied) as SandboxOptions['flavor'];
  const usual = nodes === 1 ? 'async' : 'semisync';
  const replication = (flags.replication ?? existing?.replication ?? usual) as SandboxOptions['replication'];
  const progress = (line: string): void => void process.stderr.write(`${line}\n`);
  // Interrupted while it is being made, the cluster would be of no use; the next `up` or `down` removes it.
  const info = await startSandbox({ flavor, replication, nodes, dir: flags.dir, progress });
  print(flags.json === true, info, describe(info));
}

async function guarded(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof SandboxError)) throw error;
    process.stderr.write(`evenkeel sandbox: ${error.message}\n`);
    process.exitCode = error.reason === 'usage' ? 2 : 1;
  }
}

function print(json: boolean, value: object, text: string): void {
  process.stdout.write(`${json ? JSON.stringify(value, null, 2) : text}\n`);
}

function describe(sandbox: SandboxInfo | SandboxStatus): string {
  const rows = sandbox.nodes.map((node) => [
    node.name,
    `${node.host}:${node.port}`,
    node.pid === null ? '-' : String(node.pid),
    node.role ?? ('state' in node ? node.state : '-'),
  ]);
  const table = [['node', 'address', 'pid', 'role'], ...rows];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
  const lines = table.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  const { admin, app } = sandbox;
  const seed = sandbox.nodes.find((node) => node.role === 'primary') ?? sandbox.nodes.find((node) => node.pid !== null);
  const first = seed ?? sandbox.nodes[0];
  return [
    `${sandbox.flavor}, ${sandbox.replication}, in ${sandbox.dir}`,
    '',
    ...lines,
    '',
    `application account   ${app.user} / ${app.password}, database ${app.database}`,
    `proxy it with         evenkeel start mysql://${admin.user}:${admin.password}@${first?.host}:${first?.port}`,
    `remove it with        evenkeel sandbox down --dir ${sandbox.dir}`,
  ].join('\n');
}
