// Brings server packages onto a machine without root: a private apt configuration downloads a suite's
// packages with everything they need, and dpkg-deb unpacks them into a directory of ours. Programs then run
// with that directory's own loader, so neither the system's packages nor its libraries matter or change.
// The mirror's address always comes from the machine's own apt configuration.
import { execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, readlink, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { promisify } from 'node:util';
import { SandboxError } from './errors.ts';

const run = promisify(execFile);

/** A set of packages that is installed together. Its name is its directory's name in the cache. */
export interface Bundle {
  name: string;
  /** On Debian the packages are taken from this suite, whatever the machine's own release is. */
  debian: { suite: string; packages: string[] };
  /** On Ubuntu they come from the machine's own release; null where it has none. */
  ubuntu: string[] | null;
  /** What a user can do instead, for the error message. */
  instead: string;
}

/** How apt names the mirror, the release and the keys of this machine. */
interface Source {
  mirror: string;
  suite: string;
  components: string;
  packages: string[];
  keyring: string | null;
}

/** Changes when the layout of an unpacked bundle changes, so that old ones are not mistaken for new ones. */
const LAYOUT = 1;

/** The directory with the bundle's files as if it were `/`; downloads it when it is not there yet. */
export async function bundleRoot(bundle: Bundle, cacheDir: string, progress: (line: string) => void): Promise<string> {
  const final = join(cacheDir, 'servers', `${bundle.name}-${process.arch}-${LAYOUT}`);
  const root = join(final, 'root');
  if (existsSync(join(final, 'complete'))) return root;
  const source = await findSource(bundle);
  await mkdir(join(cacheDir, 'servers'), { recursive: true });
  const work = await mkdtemp(join(cacheDir, 'servers', '.partial-'));
  try {
    const begun = Date.now();
    progress(`installing ${bundle.name}: downloading from the ${source.suite} suite (no root needed, once)`);
    await download(bundle, source, work);
    progress(`installing ${bundle.name}: unpacking`);
    await unpack(work);
    await writeFile(join(work, 'complete'), '');
    await publish(work, final);
    progress(`installed ${bundle.name} in ${((Date.now() - begun) / 1000).toFixed(1)} s into ${final}`);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return root;
}

/** Renames a finished directory into place; where another process was first, its equal work stands. */
export async function publish(work: string, final: string): Promise<void> {
  try {
    await rename(work, final);
  } catch (error) {
    if (!existsSync(join(final, 'complete'))) throw error;
  }
}

async function findSource(bundle: Bundle): Promise<Source> {
  const release = await readFile('/etc/os-release', 'utf8').catch(() => '');
  const id = /^ID="?([a-z]+)"?$/m.exec(release)?.[1] ?? 'unknown';
  if (process.platform !== 'linux' || (id !== 'debian' && id !== 'ubuntu')) {
    throw new SandboxError(
      'no-server',
      `cannot install ${bundle.name} on ${process.platform}/${id}: ${bundle.instead}`,
    );
  }
  if (!['x64', 'arm64'].includes(process.arch)) {
    throw new SandboxError('no-server', `cannot install ${bundle.name} on ${process.arch}: ${bundle.instead}`);
  }
  const mirror = await findMirror(id);
  if (mirror === null) {
    throw new SandboxError(
      'no-server',
      `cannot install ${bundle.name}: apt is missing or knows no ${id} mirror; ${bundle.instead}`,
    );
  }
  if (id === 'debian') {
    const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';
    return { mirror, ...bundle.debian, components: 'main', keyring: existsSync(keyring) ? keyring : null };
  }
  const suite = /^VERSION_CODENAME=(\w+)$/m.exec(release)?.[1];
  if (suite === undefined || bundle.ubuntu === null) {
    throw new SandboxError('no-server', `Ubuntu has no packages for ${bundle.name}: ${bundle.instead}`);
  }
  const keyring = '/usr/share/keyrings/ubuntu-archive-keyring.gpg';
  const packages = bundle.ubuntu;
  return { mirror, suite, packages, components: 'main universe', keyring: existsSync(keyring) ? keyring : null };
}

/** The mirror of the distribution itself: not its security archive, nobody else's repository. */
async function findMirror(id: string): Promise<string | null> {
  const ask = async (args: string[]): Promise<string[]> =>
    (await run('apt-get', args, { env: { ...process.env, LC_ALL: 'C' } }).catch(() => ({ stdout: '' }))).stdout.split(
      '\n',
    );
  for (const line of await ask(['indextargets', '--format', '$(REPO_URI) $(ORIGIN)'])) {
    const [uri, origin] = line.split(' ');
    if (uri !== undefined && origin?.toLowerCase() === id && !uri.includes('security')) return uri;
  }
  // Before the first `apt-get update` no target has an origin; what would be fetched has an address, though.
  for (const line of await ask(['--print-uris', 'update'])) {
    const uri = /^'([^']+?)dists\//.exec(line)?.[1];
    if (uri !== undefined && /\/(debian|ubuntu|ubuntu-ports)\/$/.test(uri)) return uri;
  }
  return null;
}

async function download(bundle: Bundle, source: Source, work: string): Promise<void> {
  for (const dir of ['lists/partial', 'state', 'cache/archives/partial', 'log']) {
    await mkdir(join(work, dir), { recursive: true });
  }
  await writeFile(join(work, 'state/status'), '');
  const signed = source.keyring === null ? '' : `[signed-by=${source.keyring}] `;
  const line = `deb ${signed}${source.mirror} ${source.suite} ${source.components}\n`;
  await writeFile(join(work, 'sources.list'), line);
  const config = [
    `Dir::Etc::sourcelist "${work}/sources.list";`,
    'Dir::Etc::sourceparts "-";',
    'Dir::Etc::preferencesparts "-";',
    `Dir::State "${work}/state";`,
    `Dir::State::lists "${work}/lists";`,
    `Dir::State::status "${work}/state/status";`,
    `Dir::Cache "${work}/cache";`,
    `Dir::Log "${work}/log";`,
    'APT::Install-Recommends "false";',
    'APT::Sandbox::User "";',
    'Acquire::Languages "none";',
    'Acquire::Retries "3";',
    'Debug::NoLocking "true";',
    // A container image's hooks clean the system's cache, which is neither ours nor writable.
    '#clear APT::Update::Pre-Invoke;',
    '#clear APT::Update::Post-Invoke;',
    '#clear APT::Update::Post-Invoke-Success;',
  ].join('\n');
  await writeFile(join(work, 'apt.conf'), `${config}\n`);
  await apt(bundle, source, work, ['update', '-q', '-o', 'APT::Update::Error-Mode=any']);
  await apt(bundle, source, work, ['install', '-q', '-y', '--download-only', ...source.packages]);
}

async function apt(bundle: Bundle, source: Source, work: string, args: string[]): Promise<void> {
  const env = { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' };
  const child = spawn('apt-get', ['-c', join(work, 'apt.conf'), ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let tail = '';
  const keep = (chunk: Buffer): void => {
    tail = (tail + chunk.toString()).slice(-4000);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  if (code === 0) return;
  const reasons = tail.split('\n').filter((line) => /^[EW]:|^Err:/.test(line));
  throw new SandboxError(
    'no-server',
    `cannot install ${bundle.name}: apt-get ${args[0]} from ${source.mirror} ${source.suite} failed; ${bundle.instead}\n` +
      (reasons.length > 0 ? reasons : tail.split('\n').slice(-6)).slice(0, 6).join('\n'),
  );
}

async function unpack(work: string): Promise<void> {
  const archives = join(work, 'cache/archives');
  const root = join(work, 'root');
  await mkdir(root);
  for (const name of await readdir(archives)) {
    if (name.endsWith('.deb')) await run('dpkg-deb', ['-x', join(archives, name), root]);
  }
  await turnLinks(root);
  for (const dir of ['cache', 'lists', 'state', 'log', 'apt.conf', 'root/usr/share/doc', 'root/usr/share/man']) {
    await rm(join(work, dir), { recursive: true, force: true });
  }
}

/** Links to absolute paths, which Java's settings are, lead out of the bundle: they are made to lead into it. */
async function turnLinks(root: string, dir = root): Promise<void> {
  for (const entry of await readdir(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name);
    // Links are never followed: one that leads out leads to the machine's own files.
    if (entry.isDirectory()) await turnLinks(root, path);
    if (!entry.isSymbolicLink()) continue;
    const target = await readlink(path);
    if (!target.startsWith('/') || !existsSync(join(root, target))) continue;
    await rm(path);
    await symlink(relative(dir, join(root, target)), path);
  }
}

/** Where a bundle's shared libraries lie. */
export function libraryDirs(root: string): string[] {
  const triplet = process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu';
  const dirs = [`usr/lib/${triplet}`, `lib/${triplet}`, 'usr/lib', 'lib'];
  return dirs.map((dir) => join(root, dir)).filter((dir) => existsSync(dir));
}

/** The C connector's plug-ins, caching_sha2_password among them, which it looks for at an absolute path otherwise. */
export function connectorPlugins(root: string): string {
  const found = libraryDirs(root).map((dir) => join(dir, 'libmariadb3/plugin'));
  return found.find((dir) => existsSync(dir)) ?? '';
}

/** The words that run a program of an unpacked bundle with the bundle's own loader and libraries. */
export async function bundleProgram(root: string, path: string): Promise<string[]> {
  const triplet = process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu';
  const name = process.arch === 'arm64' ? 'ld-linux-aarch64.so.1' : 'ld-linux-x86-64.so.2';
  const loader = ['usr/lib64', 'lib64', 'usr/lib', 'lib', `usr/lib/${triplet}`, `lib/${triplet}`]
    .map((dir) => join(root, dir, name))
    .find((file) => existsSync(file));
  if (loader === undefined)
    throw new SandboxError('no-server', `no loader ${name} in ${root}; remove it and try again`);
  const libraries = [
    `usr/lib/${triplet}`,
    `lib/${triplet}`,
    'usr/lib',
    'lib',
    'usr/lib/mysql-router',
    'usr/lib/mysqlrouter',
    'usr/lib/mysqlrouter/private',
  ];
  const search = libraries.map((dir) => join(root, dir)).filter((dir) => existsSync(dir));
  return [loader, '--library-path', search.join(':'), join(root, path)];
}
