// MariaDB's own test suite, test by test on two equal servers, on one of them through Evenkeel: what a client sees must be the
// same. It is no benchmark, but run like one: by hand, on servers of its own. The suite is a package of Debian's, and
// none of it lies here. What it needs of a server that is its own alone (to restart it, debug builds, replication) is left out.
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { withSandbox } from '../src/sandbox/index.ts';
import { inFrontOf } from './support/cluster.ts';
import { SuiteProgram, type Told } from './support/mysqltest-program.ts';
import { SuiteServer } from './support/mysqltest-server.ts';
import { progress } from './support/report.ts';

export interface MysqltestOptions {
  suite: string;
  /** Names of tests. */
  only: RegExp;
  /** More of `mysqltest`'s own options, e.g. `--ps-protocol`. */
  extra: string[];
  inFlight: 'exactly-once' | 'report';
}

export interface MysqltestResult {
  suite: string;
  /** Tests by what came out. `equal` and `equal, failed`: the same text from both; the latter since the suite's own set-up lacks something. */
  tests: Record<'equal' | 'equal, failed' | 'differs' | 'skipped by itself' | 'left out', number>;
  differing: { name: string; direct: string; evenkeel: string }[];
}

/** What a test would do to a server that goes on to serve others, or needs of one that is not here. */
const LEFT_OUT =
  /restart_mysqld|shutdown|global[\s.]+read_only|have_debug|kill_mysqld|crash|kill_and_restart|start_mysqld|include\/(master-slave|rpl)|mysqld--help|set global max_connections|init_connect|global_priv|mysql\.(user|db|tables_priv)\b|mysql_upgrade|drop user root|delete from mysql|from_wsrep|global max_allowed_packet|max_password_errors|show_binlog_events|mysqlbinlog|vm-slow|mysqld\.1\.err/i;
/** `mysqltest`'s exit status of a test that skips itself. */
const SKIPPED = 62;
/** Of each side, from the first line that differs. */
const LINES_TOLD = 6;

export async function compareSuite(options: MysqltestOptions): Promise<MysqltestResult> {
  const program = await SuiteProgram.find(options.suite, options.extra, progress);
  const dir = mkdtempSync(join(tmpdir(), 'evenkeel-mysqltest-'));
  const shape = { flavor: 'mariadb', replication: 'async', nodes: 1, progress } as const;
  try {
    return await withSandbox(shape, (one) =>
      withSandbox(shape, async (other) => {
        const servers = await Promise.all([SuiteServer.of(one), SuiteServer.of(other)]);
        return inFrontOf(other, { ...shape, inFlight: options.inFlight }, (evenkeel) => {
          const ports = [servers[0].port, evenkeel.ports.writer] as const;
          return compareAll(options, program, servers, ports, dir);
        });
      }),
    );
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

async function compareAll(
  { suite, only }: MysqltestOptions,
  program: SuiteProgram,
  servers: readonly [SuiteServer, SuiteServer],
  ports: readonly [number, number],
  dir: string,
): Promise<MysqltestResult> {
  const tests = { equal: 0, 'equal, failed': 0, differs: 0, 'skipped by itself': 0, 'left out': 0 };
  const result: MysqltestResult = { suite, tests, differing: [] };
  const names = program.tests().filter((name) => only.test(name));
  for (const [at, name] of names.entries()) {
    if (LEFT_OUT.test(program.read(name))) {
      tests['left out'] += 1;
      continue;
    }
    const run = async (side: 0 | 1): Promise<Told> => {
      await servers[side].reset().catch((error: unknown) => {
        throw new Error(`before ${name}: the server cannot be put back: ${String(error)}`);
      });
      const work = join(dir, `${side}`);
      rmSync(work, { recursive: true, force: true });
      for (const each of ['log', 'tmp']) mkdirSync(join(work, each), { recursive: true });
      const told = await program.run(name, ports[side], work);
      return { ...told, text: anonymous(told.text, work, [ports[side], servers[side].port], servers[side].dir) };
    };
    const [direct, evenkeel] = await Promise.all([run(0), run(1)]);
    const what = judge(direct, evenkeel);
    tests[what] += 1;
    if (what === 'differs') {
      result.differing.push({ name, direct: direct.text, evenkeel: evenkeel.text });
      progress(`${name} differs\n${firstDifference(direct.text, evenkeel.text)}`);
    }
    if ((at + 1) % 50 === 0) progress(`${at + 1} of ${names.length} tests`);
  }
  return result;
}

function judge(direct: Told, evenkeel: Told): keyof MysqltestResult['tests'] {
  if (direct.text !== evenkeel.text || direct.code !== evenkeel.code) return 'differs';
  if (direct.code === SKIPPED) return 'skipped by itself';
  return direct.code === 0 ? 'equal' : 'equal, failed';
}

/** Without the names that are each side's own. */
function anonymous(text: string, work: string, ports: readonly number[], server: string): string {
  let plain = text.replaceAll(work, 'WORK');
  for (const port of ports) plain = plain.replace(new RegExp(`\\b${port}\\b`, 'g'), 'PORT');
  return plain.replace(/WORK\/tmp\w{6}/g, 'WORK/TMP').replaceAll(server, 'SERVER');
}

function firstDifference(direct: string, evenkeel: string): string {
  const [left, right] = [direct.split('\n'), evenkeel.split('\n')];
  const at = left.findIndex((line, index) => line !== right[index]);
  const from = Math.max(0, at < 0 ? left.length : at);
  const some = (lines: string[]): string[] => lines.slice(from, from + LINES_TOLD);
  return [...some(left).map((line) => `  - ${line}`), ...some(right).map((line) => `  + ${line}`)].join('\n');
}

/** The texts of the tests that differ, beside each other, for `diff`. */
export function keep(result: MysqltestResult, dir: string): void {
  mkdirSync(dir, { recursive: true });
  for (const each of readdirSync(dir)) if (/\.(direct|evenkeel)$/.test(each)) rmSync(join(dir, each));
  for (const { name, direct, evenkeel } of result.differing) {
    writeFileSync(join(dir, `${name}.direct`), direct);
    writeFileSync(join(dir, `${name}.evenkeel`), evenkeel);
  }
}
