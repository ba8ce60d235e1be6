// What `npm test` and `npm run check` share: named steps, run one after the other, one line each with its time.
// A step that fails shows its output; the others still run, so that one run tells everything.
import { spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** Runs a command and collects what it prints; `live` prints it as it comes. */
export async function command(
  argv: string[],
  live = false,
  deadlineMs = 900_000,
): Promise<{ ok: boolean; output: string }> {
  const [program = '', ...args] = argv;
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: deadlineMs, killSignal: 'SIGTERM' });
  let output = '';
  const take = (chunk: Buffer): void => {
    output += chunk.toString();
    if (live) process.stdout.write(chunk);
  };
  child.stdout.on('data', take);
  child.stderr.on('data', take);
  return new Promise((resolve) => {
    child.on('error', (error) => resolve({ ok: false, output: `${output}${program}: ${error.message}\n` }));
    child.on('close', (code, signal) => {
      const ended = signal === null ? '' : `${program} was ended by ${signal} after ${deadlineMs / 1000} s\n`;
      resolve({ ok: code === 0, output: output + ended });
    });
  });
}

/** The steps that failed so far, by name, for the last line of a run. */
export const failures: string[] = [];

/** Runs one step; prints its line, and its output where it fails. */
export async function step(name: string, work: () => Promise<{ ok: boolean; output: string }>): Promise<boolean> {
  const begun = performance.now();
  const { ok, output } = await work();
  const seconds = ((performance.now() - begun) / 1000).toFixed(1);
  console.log(`${ok ? '✔' : '✖'} ${name} (${seconds} s)`);
  if (!ok) {
    console.log(output.trimEnd());
    failures.push(name);
  }
  return ok;
}

/** The static checks, cheapest first. True where all pass. */
export async function staticChecks(): Promise<boolean> {
  const results = [
    await step('biome: format and import order', () => command(['biome', 'check', '--max-diagnostics=20', '.'])),
    await step('oxlint, type-aware', () => command(['oxlint', '--type-aware', '--quiet', '.'])),
    await step('tsc', () => command(['tsc', '-p', '.'])),
    await step('tsc, as it is built for installation', () => command(['tsc', '-p', 'tsconfig.build.json', '--noEmit'])),
    await step('knip: nothing unused', () => command(['knip', '--no-progress'])),
  ];
  return results.every(Boolean);
}

/** All test files below a directory, sorted. */
export async function testFiles(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && entry.name.endsWith('.test.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}
