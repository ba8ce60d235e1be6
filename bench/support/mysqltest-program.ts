// `mysqltest` (mariadb-test), which runs one test against one server, and where its suites lie.
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { findServer, findTool, type ToolProgram } from '../../src/sandbox/index.ts';

const SUITES = 'usr/share/mysql/mysql-test';
/** A test that waits for ever waits for something that this machine has not. */
const DEADLINE_MS = 15_000;

export interface Told {
  /** Exit status; null where it was ended by us. */
  code: number | null;
  /** All that it printed. */
  text: string;
}

export class SuiteProgram {
  readonly #tool: ToolProgram;
  readonly #clients: { mysql: ToolProgram; dump: ToolProgram };
  readonly #charsets: string;
  readonly #base: string;
  /** Of the suite, in the base directory. */
  readonly #dir: string;
  readonly #extra: readonly string[];

  private constructor(
    tool: ToolProgram,
    clients: { mysql: ToolProgram; dump: ToolProgram },
    charsets: string,
    suite: string,
    extra: readonly string[],
  ) {
    this.#tool = tool;
    this.#clients = clients;
    this.#charsets = charsets;
    this.#base = join(tool.root ?? '/', SUITES);
    const own = join('suite', suite);
    this.#dir = suite === 'main' ? 'main' : existsSync(join(this.#base, own, 't')) ? join(own, 't') : own;
    this.#extra = extra;
  }

  /** Installs it where the machine has none. Throws where there is no such suite. */
  static async find(suite: string, extra: string[], progress: (line: string) => void): Promise<SuiteProgram> {
    const tool = await findTool('mariadb-test', progress);
    const [mysql, dump] = [await findTool('mariadb', progress), await findTool('mariadb-dump', progress)];
    const { shareDir } = await findServer('mariadb', progress);
    const program = new SuiteProgram(tool, { mysql, dump }, join(shareDir, 'charsets'), suite, extra);
    if (!existsSync(join(program.#base, program.#dir))) throw new Error(`there is no suite ${suite}`);
    return program;
  }

  /** Names of tests, in order. */
  tests(): string[] {
    return readdirSync(join(this.#base, this.#dir))
      .filter((file) => file.endsWith('.test'))
      .map((file) => file.slice(0, -'.test'.length));
  }

  /** Not all of them are UTF-8. */
  read(name: string): string {
    return readFileSync(join(this.#base, this.#dir, `${name}.test`), 'latin1');
  }

  /** Runs one against the server at `port` of this host, as root without a password; `work` has `log` and `tmp`. */
  async run(name: string, port: number, work: string): Promise<Told> {
    const login = ['--host=127.0.0.1', `--port=${port}`, '--user=root'];
    const words = [
      '--no-defaults',
      '--silent',
      '--protocol=tcp',
      ...login,
      '--database=test',
      '--max-connect-retries=2',
      `--tmpdir=${work}/tmp`,
      `--logdir=${work}/log`,
      `--basedir=${this.#base}/`,
      `--character-sets-dir=${this.#charsets}`,
      ...this.#extra,
      `--test-file=${this.#dir}/${name}.test`,
    ];
    const [program = '', ...argv] = [...this.#tool.argv0, ...words];
    const child = spawn(program, argv, { cwd: this.#base, env: this.#environment(port, work, login), detached: true });
    let text = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (bytes: Buffer) => (text += bytes.toString('latin1')));
    // It may have started programs that have its streams.
    const deadline = setTimeout(() => process.kill(-(child.pid ?? 0), 'SIGKILL'), DEADLINE_MS);
    try {
      const code = await new Promise<number | null>((resolve, reject) => {
        child.once('error', reject);
        child.once('close', resolve);
      });
      return { code, text };
    } finally {
      clearTimeout(deadline);
    }
  }

  /** What the suite's own driver tells a test. */
  #environment(port: number, work: string, login: string[]): NodeJS.ProcessEnv {
    const client = ({ argv0 }: ToolProgram): string => [...argv0, ...login].join(' ');
    return {
      ...process.env,
      ...this.#tool.env,
      MYSQL_TEST_DIR: this.#base,
      MTR_SUITE_DIR: join(this.#base, this.#dir),
      MYSQLTEST_VARDIR: work,
      MYSQL_TMP_DIR: join(work, 'tmp'),
      MASTER_MYPORT: `${port}`,
      DEFAULT_MASTER_PORT: `${port}`,
      MASTER_MYSOCK: '/nonexistent',
      MYSQLD_DATADIR: '',
      MYSQL: client(this.#clients.mysql),
      MYSQL_DUMP: client(this.#clients.dump),
      MYSQL_TEST: [...this.#tool.argv0, '--no-defaults', '--silent', `--tmpdir=${work}/tmp`, ...login].join(' '),
      MYSQL_TCP_PORT: `${port}`,
      USE_RUNNING_SERVER: '1',
      CHARSETSDIR: this.#charsets,
      MYSQL_LIBDIR: '',
      EXE_MYSQL: '',
      LC_ALL: 'C',
      TZ: 'MET',
    };
  }
}
