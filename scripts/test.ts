// `npm test`: static checks, the servers, unit tests, then the scenarios against real servers, two files at a time: they
// wait for servers most of the time, and share nothing but the cache of unpacked servers, which is made for that.
// `npm test -- FILE…` runs these test files only. With CI set, a skipped test is a failed run.
import { findServer } from '../src/sandbox/index.ts';
import { command, failures, staticChecks, step, testFiles } from './steps.ts';

type Totals = Map<string, number>;

const UNIT_DEADLINE_MS = 300_000;
const SCENARIO_DEADLINE_MS = 1_500_000;
const SCENARIOS_AT_A_TIME = 2;

async function suite(
  name: string,
  files: string[],
  concurrency: number,
  deadlineMs: number,
): Promise<[boolean, Totals]> {
  console.log(`\n— ${name}: ${files.length} files`);
  const flags = ['--disable-warning=ExperimentalWarning', '--test', '--test-reporter=spec'];
  const argv = [process.execPath, ...flags, `--test-concurrency=${concurrency}`, ...files];
  const begun = performance.now();
  const { ok, output } = await command(argv, true, deadlineMs);
  const totals: Totals = new Map();
  for (const [, word, count] of output.matchAll(/^ℹ (tests|pass|fail|cancelled|skipped|todo) (\d+)$/gm)) {
    totals.set(word ?? '', Number(count));
  }
  console.log(`${ok ? '✔' : '✖'} ${name} (${((performance.now() - begun) / 1000).toFixed(1)} s)`);
  const ran = ok && totals.has('tests');
  if (!ran) failures.push(name);
  return [ran, totals];
}

async function provision(flavor: 'mysql' | 'mariadb'): Promise<{ ok: boolean; output: string }> {
  try {
    const program = await findServer(flavor, (line) => console.log(`  ${line}`));
    console.log(`  ${flavor} ${program.version}: ${program.argv0.at(-1)}`);
    return { ok: true, output: '' };
  } catch (error) {
    return { ok: false, output: error instanceof Error ? error.message : String(error) };
  }
}

async function everything(): Promise<boolean> {
  const results: boolean[] = [await staticChecks()];
  for (const flavor of ['mysql', 'mariadb'] as const)
    results.push(await step(`${flavor} server`, () => provision(flavor)));
  const files = await testFiles('test');
  const scenarios = files.filter((file) => file.startsWith('test/scenarios/'));
  const units = files.filter((file) => !scenarios.includes(file));
  const [unitsOk, unitTotals] = await suite('unit tests', units, 2, UNIT_DEADLINE_MS);
  const [scenariosOk, scenarioTotals] = await suite('scenarios', scenarios, SCENARIOS_AT_A_TIME, SCENARIO_DEADLINE_MS);
  results.push(unitsOk, scenariosOk, summary([unitTotals, scenarioTotals]));
  return results.every(Boolean);
}

/** Prints the sums over all suites; false where CI forbids what was skipped. */
function summary(suites: Totals[]): boolean {
  console.log('\n— all tests');
  const sum = (word: string): number => suites.reduce((total, one) => total + (one.get(word) ?? 0), 0);
  for (const word of ['tests', 'pass', 'fail', 'cancelled', 'skipped', 'todo']) console.log(`ℹ ${word} ${sum(word)}`);
  const left = sum('skipped') + sum('todo');
  if (left === 0 || !process.env['CI']) return true;
  failures.push(`${left} tests did not run, which CI does not allow`);
  return false;
}

const begun = performance.now();
const named = process.argv.slice(2);
let ok: boolean;
if (named.length > 0) [ok] = await suite('named tests', named, 1, SCENARIO_DEADLINE_MS);
else ok = await everything();
if (!ok) console.log(`\n✖ failed: ${failures.join('; ')}`);
console.log(`\n${ok ? '✔ passed' : '✖ FAILED'} in ${((performance.now() - begun) / 1000).toFixed(0)} s`);
process.exitCode = ok ? 0 : 1;
