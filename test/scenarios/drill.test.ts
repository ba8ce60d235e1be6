// The drill as an operator runs it: it passes on a good build, with a verdict as JSON, and leaves nothing behind. It gets a
// temporary directory of its own, so that whatever it leaves can be seen.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

const MAIN = new URL('../../src/main.ts', import.meta.url).pathname;

interface Drill {
  child: ChildProcess;
  stdout: () => string;
  stderr: () => string;
  ended: Promise<number | null>;
}

async function withDrill(args: readonly string[], work: (running: Drill) => Promise<void>): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'drill-test-'));
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', MAIN, 'drill', ...args], {
    env: { ...process.env, TMPDIR: dir },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].on('data', (chunk: Buffer) => {
      said[name] += chunk.toString();
    });
  }
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  try {
    await work({ child, stdout: () => said.stdout, stderr: () => said.stderr, ended });
    assert.deepEqual(await readdir(dir), [], 'nothing is left behind');
  } finally {
    if (child.exitCode === null) child.kill('SIGTERM');
    await ended;
    await rm(dir, { recursive: true, force: true });
  }
}

const SHORT = ['--connections', '8', '--seconds', '1', '--seed', '1', '--json'];

test('a kill, a killed worker, a switchover, cut connections and a freeze are survived, and the verdict says so', {
  timeout: 120_000,
}, async () => {
  await withDrill(['--faults', 'kill,worker,switchover,cut,freeze', ...SHORT], async ({ ended, stdout, stderr }) => {
    const code = await ended;
    const told = `${stderr()}\n${stdout()}`;
    assert.equal(code, 0, told);
    const result = JSON.parse(stdout()) as Record<string, unknown> & { faults: { kind: string }[] };
    const { verdict, clientErrors, lost, duplicated, imbalance, outOfOrder, wrongReads } = result;
    assert.deepEqual(
      { verdict, clientErrors, lost, duplicated, imbalance, outOfOrder, wrongReads },
      { verdict: 'pass', clientErrors: 0, lost: 0, duplicated: 0, imbalance: 0, outOfOrder: 0, wrongReads: 0 },
    );
    assert.ok(Number(result['acknowledged']) > 100 && Number(result['transactions']) > 10, told);
    assert.deepEqual(result['drivers'], ['mysql2', 'mariadb']);
    assert.deepEqual(
      result.faults.map(({ kind }) => kind),
      ['kill', 'worker', 'switchover', 'cut', 'freeze'],
    );
  });
});
