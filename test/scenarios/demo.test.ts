// The demo as a stranger runs it: it ends by itself with a verdict, and leaves no process and no directory behind, also
// where it is interrupted. It gets a temporary directory of its own, so that whatever it leaves can be seen.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from './harness/index.ts';

const MAIN = new URL('../../src/main.ts', import.meta.url).pathname;

interface Running {
  child: ChildProcess;
  stdout: () => string;
  stderr: () => string;
  /** Exit status and signal. */
  ended: Promise<number | null>;
}

function demo(dir: string, ...args: string[]): Running {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', MAIN, 'demo', ...args], {
    // TMPDIR is where its directories go; the servers that were installed stay where they are.
    env: { ...process.env, TMPDIR: dir },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  return { child, stdout: () => stdout, stderr: () => stderr, ended };
}

/** The processes that have `dir` in their command line or work in it: servers, Evenkeel and its workers alike. */
async function processesOf(dir: string): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const seen = await Promise.all(
    pids.map(async (pid) => {
      const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => '');
      return `${line.replaceAll('\0', ' ')} in ${cwd}`;
    }),
  );
  return seen.filter((line) => line.includes(dir));
}

/** Nothing of `dir` runs, and nothing is in it. Processes that were killed may take a moment to be gone. */
async function nothingLeft(dir: string): Promise<void> {
  await until('its processes to be gone', 5000, async () => (await processesOf(dir)).length === 0);
  assert.deepEqual(await readdir(dir), []);
}

async function inDirectory(work: (dir: string) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'demo-test-'));
  try {
    await work(dir);
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

for (const flavor of ['mariadb', 'mysql'] as const) {
  test(`${flavor}: the demo passes, says so in JSON and leaves nothing behind`, { timeout: 150_000 }, async () => {
    await inDirectory(async (dir) => {
      const running = demo(dir, '--flavor', flavor, '--json', '--connections', '16');
      const code = await running.ended;
      const told = `${running.stderr()}\n${running.stdout()}`;
      assert.equal(code, 0, told);
      const result = JSON.parse(running.stdout()) as Record<string, unknown> & {
        unknown: { count: number; executed: number; notExecuted: number };
        faults: { kind: string; at: number; stallMs: number; errors: number }[];
      };
      const { verdict, clientErrors, lost, duplicated, unexpected, connectionsLost } = result;
      assert.deepEqual(
        { verdict, clientErrors, lost, duplicated, unexpected, connectionsLost },
        { verdict: 'pass', clientErrors: 0, lost: 0, duplicated: 0, unexpected: 0, connectionsLost: 0 },
        told,
      );
      assert.ok(Number(result['acknowledged']) > 0);
      assert.ok(Number(result['longestStallMs']) > 0);
      assert.equal(result.unknown.executed + result.unknown.notExecuted, result.unknown.count);
      assert.deepEqual(
        result.faults.map(({ kind, errors }) => [kind, errors]),
        [
          ['switchover', 0],
          ['kill', 0],
        ],
      );
      assert.match(running.stderr(), /kill -9 \d+/);
      assert.match(running.stderr(), /is the primary now/);
      await nothingLeft(dir);
    });
  });
}

for (const [signal, status] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const) {
  test(`${signal} in the middle of the demo ends it at once, and leaves nothing behind`, {
    timeout: 60_000,
  }, async () => {
    await inDirectory(async (dir) => {
      const running = demo(dir, '--connections', '4');
      await until('the clients to run', 40_000, () => {
        assert.equal(running.child.exitCode, null, running.stderr());
        return running.stdout().includes('clients write rows');
      });
      assert.ok((await processesOf(dir)).length >= 5, 'three servers, Evenkeel and its workers run');
      running.child.kill(signal);
      assert.equal(await running.ended, status);
      assert.match(running.stdout(), new RegExp(`interrupted by ${signal}`));
      await nothingLeft(dir);
    });
  });
}
