// One initialised, empty data directory per server program, kept in the cache: initialising takes seconds,
// copying takes none. It has the system tables and root@localhost, and neither identity nor history.
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { constants, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { publish } from './apt.ts';
import { SandboxError } from './errors.ts';
import { programOptions } from './options.ts';
import { cacheDir, type ServerProgram } from './servers.ts';

const run = promisify(execFile);

/** Makes `dataDir` an initialised data directory with an identity of its own. */
export async function newDataDir(template: string, dataDir: string): Promise<void> {
  await cp(template, dataDir, { recursive: true, mode: constants.COPYFILE_FICLONE });
}

/** The path of the initialised data directory for this program; makes it when it is not there yet. */
export async function templateOf(program: ServerProgram, progress: (line: string) => void): Promise<string> {
  const options = programOptions(program);
  const key = createHash('sha256')
    .update(JSON.stringify([program.argv0, program.version, options]))
    .digest('hex');
  const templates = join(cacheDir(), 'templates');
  const final = join(templates, `${program.flavor}-${program.version}-${key.slice(0, 12)}`);
  if (existsSync(join(final, 'complete'))) return join(final, 'data');
  await mkdir(templates, { recursive: true, mode: 0o700 });
  const work = await mkdtemp(join(templates, '.partial-'));
  try {
    progress(`initialising a ${program.flavor} ${program.version} data directory (once)`);
    await (program.flavor === 'mysql' ? initialiseMysql : initialiseMariadb)(program, options, work);
    await writeFile(join(work, 'complete'), '');
    await publish(work, final);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return join(final, 'data');
}

async function initialiseMysql(program: ServerProgram, options: string[], work: string): Promise<void> {
  const [command = '', ...args] = program.argv0;
  const data = join(work, 'data');
  const log = join(work, 'init.log');
  const settings = [...options, `datadir=${data}`, `tmpdir=${work}`, `log_error=${log}`, 'skip_log_bin'].map(
    (line) => `--${line}`,
  );
  try {
    await run(command, [...args, '--no-defaults', '--initialize-insecure', ...settings]);
  } catch (error) {
    throw await failed(program, log, error);
  }
  // Otherwise all nodes would have the same server_uuid.
  await rm(join(data, 'auto.cnf'), { force: true });
}

/** What mariadb-install-db does, without that script's guesses about where its files are. */
async function initialiseMariadb(program: ServerProgram, options: string[], work: string): Promise<void> {
  const [command = '', ...args] = program.argv0;
  const data = join(work, 'data');
  const log = join(work, 'init.log');
  await mkdir(data);
  const scripts = ['mysql_system_tables', 'mysql_performance_tables', 'mysql_system_tables_data'];
  const parts = ['CREATE DATABASE IF NOT EXISTS mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n'];
  for (const name of [...scripts, 'maria_add_gis_sp_bootstrap', 'mysql_sys_schema']) {
    // The script names of MariaDB 11 and later begin with the product's name.
    const names = [name, name.replace(/^mysql_/, 'mariadb_')].map((stem) => join(program.shareDir, `${stem}.sql`));
    const file = names.find((path) => existsSync(path));
    if (file !== undefined) parts.push(await readFile(file, 'utf8'));
    else if (scripts.includes(name)) throw new SandboxError('no-server', `${names[0]} is missing from this MariaDB`);
  }
  const settings = [
    ...options,
    `datadir=${data}`,
    `tmpdir=${work}`,
    `log_error=${log}`,
    'max_allowed_packet=8M',
    'log_warnings=0',
  ];
  const flags = ['--no-defaults', '--bootstrap', ...settings.map((line) => `--${line}`)];
  const child = spawn(command, [...args, ...flags], { stdio: ['pipe', 'ignore', 'ignore'] });
  const closed = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  // A server that gives up early closes the pipe; its exit status and its log say why.
  child.stdin.on('error', () => {});
  child.stdin.end(parts.join('\n'));
  if ((await closed) !== 0) throw await failed(program, log, null);
}

async function failed(program: ServerProgram, log: string, cause: unknown): Promise<SandboxError> {
  const tail = (await readFile(log, 'utf8').catch(() => '')).trim().split('\n').slice(-8).join('\n');
  const why = tail === '' && cause instanceof Error ? cause.message : tail;
  return new SandboxError('start-failed', `${program.argv0.at(-1)} could not initialise a data directory:\n${why}`);
}
