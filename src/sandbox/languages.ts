// Interpreters with their drivers, for the tests that run ordinary programs against a database: always the versions of
// one Debian release, unpacked into the cache, so that a run on any machine tests the same drivers and needs no root.
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Bundle, bundleProgram, bundleRoot, connectorPlugins, libraryDirs } from './apt.ts';
import { SandboxError } from './errors.ts';
import { cacheDir, type ToolProgram } from './servers.ts';

export type Language = 'python' | 'php' | 'perl' | 'java';

/** The one list of what the drivers' programs need from Debian; a change of it asks for a new name. */
const PACKAGES = [
  'python3 python3-pymysql python3-mysqldb python3-sqlalchemy',
  'php-cli php-mysql',
  'perl libdbi-perl libdbd-mysql-perl libdbd-mariadb-perl',
  // A runtime without a compiler, and a compiler in one archive: a tenth of a development kit.
  'default-jre-headless libecj-java libmariadb-java',
].flatMap((names) => names.split(' '));

const BUNDLE: Bundle = {
  name: 'drivers-1',
  debian: { suite: 'bookworm', packages: PACKAGES },
  ubuntu: PACKAGES,
  instead: 'the programs of test/drivers run on Debian and Ubuntu',
};

/** An interpreter that finds the drivers; its program file follows `argv0`. Throws SandboxError `no-server`. */
export async function findLanguage(
  language: Language,
  progress: (line: string) => void = () => {},
): Promise<ToolProgram> {
  const root = await bundleRoot(BUNDLE, cacheDir(), progress);
  const found = await FINDERS[language](root);
  return { argv0: found.argv0, env: { MARIADB_PLUGIN_DIR: connectorPlugins(root), ...found.env }, root };
}

type Finder = (root: string) => Promise<{ argv0: string[]; env: Record<string, string> }>;

const FINDERS: Record<Language, Finder> = {
  python: async (root) => ({
    argv0: await bundleProgram(root, `usr/bin/${await only(join(root, 'usr/bin'), /^python3\.\d+$/)}`),
    env: {
      PYTHONHOME: join(root, 'usr'),
      PYTHONPATH: join(root, 'usr/lib/python3/dist-packages'),
      PYTHONNOUSERSITE: '1',
      PYTHONDONTWRITEBYTECODE: '1',
    },
  }),
  php: async (root) => {
    const modules = join(root, 'usr/lib/php', await only(join(root, 'usr/lib/php'), /^\d{8}$/));
    const extensions = ['mysqlnd', 'mysqli', 'pdo', 'pdo_mysql'].flatMap((name) => ['-d', `extension=${name}`]);
    const php = await bundleProgram(root, `usr/bin/${await only(join(root, 'usr/bin'), /^php\d+\.\d+$/)}`);
    const settings = [`extension_dir=${modules}`, 'mysqli.allow_local_infile=1'].flatMap((line) => ['-d', line]);
    return { argv0: [...php, '-n', ...settings, ...extensions], env: {} };
  },
  perl: async (root) => {
    const dirs = libraryDirs(root).flatMap((dir) => [join(dir, 'perl5'), join(dir, 'perl')]);
    const versions: string[] = [];
    for (const dir of [...dirs, join(root, 'usr/share/perl')]) {
      const names = existsSync(dir) ? await readdir(dir) : [];
      versions.push(...names.filter((name) => /^5\.\d+$/.test(name)).map((name) => join(dir, name)));
    }
    const bases = libraryDirs(root).map((dir) => join(dir, 'perl-base'));
    const path = [join(root, 'usr/share/perl5'), ...versions, ...bases];
    return { argv0: await bundleProgram(root, 'usr/bin/perl'), env: { PERL5LIB: path.join(':') } };
  },
  java: async (root) => {
    const home = await only(join(root, 'usr/lib/jvm'), /^java-\d+-openjdk-\w+$/);
    const jars = ['mariadb-java-client.jar', 'ecj.jar'].map((name) => join(root, 'usr/share/java', name));
    return {
      argv0: await bundleProgram(root, `usr/lib/jvm/${home}/bin/java`),
      env: { CLASSPATH: jars.join(':') },
    };
  },
};

async function only(dir: string, pattern: RegExp): Promise<string> {
  const name = (await readdir(dir)).find((each) => pattern.test(each));
  if (name === undefined) throw new SandboxError('no-server', `nothing in ${dir} is named like ${pattern}; remove it`);
  return name;
}
