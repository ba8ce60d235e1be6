// Finds the programs that a sandbox, a test or a benchmark runs: the user's own first (named by an environment
// variable, then on the PATH), else a bundle of packages in the cache, which is installed on first use.
// On Debian `mysqld` may be a link to mariadbd, so a program is what its `--version` says, not what its name says.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import type { Flavor } from '../messages/index.ts';
import { type Bundle, bundleProgram, bundleRoot, connectorPlugins } from './apt.ts';
import { SandboxError } from './errors.ts';

const run = promisify(execFile);

/** A database server that can be started. */
export interface ServerProgram {
  flavor: Flavor;
  /** The words that start it; its options follow, the first of which must be a `--defaults-file` or the like. */
  argv0: string[];
  /** e.g. `9.7.4` or `10.11.19`. */
  version: string;
  baseDir: string;
  pluginDir: string;
  /** Holds `english/errmsg.sys`, `charsets/` and MariaDB's system table scripts. */
  shareDir: string;
  source: 'environment' | 'path' | 'bundle';
  /** Where its bundle lies, as if it were `/`; null where it is the system's own. */
  root: string | null;
}

/** A client or a peer. */
export interface ToolProgram {
  argv0: string[];
  /** To be added to its environment. */
  env: Record<string, string>;
  /** Where its bundle lies, as if it were `/`; null where it is the system's own. */
  root: string | null;
}

export type ToolName = keyof typeof TOOLS;

type Progress = (line: string) => void;

const BUNDLES = {
  mysql: {
    name: 'mysql',
    debian: { suite: 'sid', packages: ['mysql-server-core', 'mysql-client-core', 'mysql-router'] },
    ubuntu: ['mysql-server-core-8.0', 'mysql-client-core-8.0', 'mysql-router'],
    instead: 'install MySQL 8.0.26 or later and name its mysqld in EVENKEEL_MYSQLD',
  },
  mariadb: {
    name: 'mariadb',
    // mariadb-server is there for its plug-ins only, ed25519 among them.
    debian: {
      suite: 'bookworm',
      packages: ['mariadb-server-core', 'mariadb-client-core', 'mariadb-server', 'mariadb-backup', 'galera-4'],
    },
    ubuntu: ['mariadb-server-core', 'mariadb-client-core', 'mariadb-server', 'mariadb-backup', 'galera-4'],
    instead: 'run `apt-get install mariadb-server`, or name a mariadbd 10.5 or later in EVENKEEL_MARIADBD',
  },
  haproxy: {
    name: 'haproxy',
    debian: { suite: 'bookworm', packages: ['haproxy'] },
    ubuntu: ['haproxy'],
    instead: 'run `apt-get install haproxy`',
  },
  sysbench: {
    name: 'sysbench',
    debian: { suite: 'bookworm', packages: ['sysbench'] },
    ubuntu: ['sysbench'],
    instead: 'run `apt-get install sysbench`',
  },
  'mariadb-test': {
    name: 'mariadb-test',
    debian: { suite: 'bookworm', packages: ['mariadb-test', 'mariadb-test-data'] },
    ubuntu: ['mariadb-test', 'mariadb-test-data'],
    instead: 'run `apt-get install mariadb-test`',
  },
} satisfies Record<string, Bundle>;

const TOOLS = {
  mysql: { bundle: 'mysql', path: 'usr/bin/mysql' },
  mysqldump: { bundle: 'mysql', path: 'usr/bin/mysqldump' },
  mysqlbinlog: { bundle: 'mysql', path: 'usr/bin/mysqlbinlog' },
  mysqlrouter: { bundle: 'mysql', path: 'usr/bin/mysqlrouter' },
  mariadb: { bundle: 'mariadb', path: 'usr/bin/mariadb' },
  'mariadb-dump': { bundle: 'mariadb', path: 'usr/bin/mariadb-dump' },
  'mariadb-backup': { bundle: 'mariadb', path: 'usr/bin/mariadb-backup' },
  haproxy: { bundle: 'haproxy', path: 'usr/sbin/haproxy' },
  sysbench: { bundle: 'sysbench', path: 'usr/bin/sysbench' },
  'mariadb-test': { bundle: 'mariadb-test', path: 'usr/bin/mariadb-test' },
} satisfies Record<string, { bundle: keyof typeof BUNDLES; path: string }>;

const SERVERS = {
  mysql: { variable: 'EVENKEEL_MYSQLD', names: ['mysqld'], path: 'usr/sbin/mysqld', oldest: '8.0.26' },
  mariadb: {
    variable: 'EVENKEEL_MARIADBD',
    names: ['mariadbd', 'mysqld'],
    path: 'usr/sbin/mariadbd',
    oldest: '10.5.0',
  },
} as const;

/** `$EVENKEEL_CACHE`, else `$XDG_CACHE_HOME/evenkeel`, else `~/.cache/evenkeel`. */
export function cacheDir(env: NodeJS.ProcessEnv = process.env): string {
  if (env['EVENKEEL_CACHE']) return resolve(env['EVENKEEL_CACHE']);
  return join(env['XDG_CACHE_HOME'] ? resolve(env['XDG_CACHE_HOME']) : join(homedir(), '.cache'), 'evenkeel');
}

/** The server of a flavor, installed into the cache where the machine has none. Throws SandboxError `no-server`. */
export async function findServer(flavor: Flavor, progress: Progress = () => {}): Promise<ServerProgram> {
  const { variable, names, path, oldest } = SERVERS[flavor];
  const named = process.env[variable];
  if (named) {
    if (!existsSync(named)) throw new SandboxError('no-server', `${variable} names ${named}, which does not exist`);
    const about = await identify([named]);
    if (about === null || about.flavor !== flavor) {
      throw new SandboxError('no-server', `${variable} names ${named}, which is not a ${flavor} server`);
    }
    if (olderThan(about.version, oldest)) {
      throw new SandboxError('no-server', `${variable} names a server ${about.version}; ${oldest} or later is needed`);
    }
    return described(flavor, [named], about.version, 'environment');
  }
  for (const candidate of onPath(names)) {
    const about = await identify([candidate]);
    if (about?.flavor === flavor && !olderThan(about.version, oldest)) {
      return described(flavor, [candidate], about.version, 'path');
    }
  }
  const root = await bundleRoot(BUNDLES[flavor], cacheDir(), progress);
  const argv0 = await bundleProgram(root, path);
  const about = await identify(argv0);
  if (about?.flavor !== flavor) {
    throw new SandboxError('no-server', `the ${flavor} server in ${root} does not run; remove it and try again`);
  }
  const baseDir = join(root, 'usr');
  const share = join(baseDir, 'share/mysql');
  const shareDir = existsSync(share) ? share : join(baseDir, 'share/mariadb');
  const pluginDir = join(baseDir, 'lib/mysql/plugin');
  return { flavor, argv0, version: about.version, baseDir, pluginDir, shareDir, source: 'bundle', root };
}

/** A client or a peer, from the PATH or from its bundle. Throws SandboxError `no-server`. */
export async function findTool(name: ToolName, progress: Progress = () => {}): Promise<ToolProgram> {
  const { bundle, path } = TOOLS[name];
  for (const candidate of onPath([name])) {
    // `mysql` on the PATH may be MariaDB's client, which does not speak MySQL 9's default authentication.
    if (bundle === 'mysql' && /MariaDB/i.test(await versionText([candidate]))) continue;
    return { argv0: [candidate], env: {}, root: null };
  }
  const root = await bundleRoot(BUNDLES[bundle], cacheDir(), progress);
  // The test scripts of sysbench load each other from where the package would have been installed.
  const env: Record<string, string> = name === 'sysbench' ? { LUA_PATH: `${root}/usr/share/sysbench/?.lua;;` } : {};
  if (bundle === 'mariadb' || bundle === 'sysbench') env['MARIADB_PLUGIN_DIR'] = connectorPlugins(root);
  return { argv0: await bundleProgram(root, path), env, root };
}

function onPath(names: readonly string[]): string[] {
  // Servers live in sbin, which an ordinary user's PATH lacks on Debian.
  const dirs = [
    ...(process.env['PATH'] ?? '').split(delimiter),
    '/usr/local/sbin',
    '/usr/sbin',
    '/usr/local/mysql/bin',
  ];
  const files = names.flatMap((name) => dirs.filter((dir) => dir !== '').map((dir) => join(dir, name)));
  return [...new Set(files)].filter((file) => existsSync(file));
}

async function versionText(argv0: string[]): Promise<string> {
  const [program = '', ...args] = argv0;
  return (await run(program, [...args, '--version'], { timeout: 20_000 }).catch(() => ({ stdout: '' }))).stdout;
}

async function identify(argv0: string[]): Promise<{ flavor: Flavor; version: string } | null> {
  const text = await versionText(argv0);
  const version = /Ver (\d+\.\d+\.\d+)/.exec(text)?.[1];
  return version === undefined ? null : { flavor: /MariaDB/i.test(text) ? 'mariadb' : 'mysql', version };
}

/** True where version `a` comes before `b`; both are three numbers with dots. */
export function olderThan(a: string, b: string): boolean {
  const [left, right] = [a, b].map((version) => version.split('.').map(Number));
  for (const [i, wanted] of (right ?? []).entries()) {
    const have = left?.[i] ?? 0;
    if (have !== wanted) return have < wanted;
  }
  return false;
}

/** A server that is not ours knows where its own files are. */
async function described(
  flavor: Flavor,
  argv0: string[],
  version: string,
  source: 'environment' | 'path',
): Promise<ServerProgram> {
  const [program = '', ...args] = argv0;
  const options = [
    ...args,
    '--no-defaults',
    '--verbose',
    '--help',
    ...(process.getuid?.() === 0 ? ['--user=root'] : []),
  ];
  const { stdout } = await run(program, options, { maxBuffer: 1 << 24 }).catch((error: unknown) => {
    throw new SandboxError('no-server', `${program} --verbose --help failed: ${String(error)}`);
  });
  const variable = (name: string): string | undefined => new RegExp(`^${name} +(/\\S*)`, 'm').exec(stdout)?.[1];
  const baseDir = variable('basedir') ?? '/usr';
  const pluginDir = variable('plugin-dir') ?? join(baseDir, 'lib/mysql/plugin');
  const charsets = variable('character-sets-dir');
  const shareDir = variable('lc-messages-dir') ?? (charsets ? join(charsets, '..') : join(baseDir, 'share/mysql'));
  return { flavor, argv0, version, baseDir, pluginDir, shareDir, source, root: null };
}
