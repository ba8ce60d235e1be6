// A drill that cannot fail proves nothing: four builds that are broken on purpose (src/messages/broken.ts), each in one
// thing that the promises rest on, fail it by the evidence that this thing would leave.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { BREAKS_PROMISES, type BrokenMode } from '../../src/messages/index.ts';

const MAIN = new URL('../../src/main.ts', import.meta.url).pathname;

/** What the drill says of this build: its JSON, with the exit status and what else it said. */
async function drillOf(
  mode: BrokenMode,
  ...args: string[]
): Promise<{ code: number | null; told: string; progress: string }> {
  const dir = await mkdtemp(join(tmpdir(), 'drill-test-'));
  const words = ['drill', '--json', '--seed', '1', '--seconds', '1', ...args];
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', MAIN, ...words], {
    env: { ...process.env, TMPDIR: dir, [BREAKS_PROMISES]: mode },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let told = '';
  let progress = '';
  child.stdout.on('data', (chunk: Buffer) => {
    told += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    progress += chunk.toString();
  });
  try {
    const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
    return { code, told, progress };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

interface Broken {
  mode: BrokenMode;
  /** The fault that shows it, as often as it may take: a drill ends at the first wrong answer. */
  args: string[];
  evidence: string[];
}

const BROKEN: Broken[] = [
  {
    // The replicas execute what nobody was told of: sent again, it is there twice, or it is there although its replay, which
    // found it there, was said not to be executed.
    mode: 'resend-on-loss',
    args: ['--flavor', 'mysql', '--faults', 'kill-in-commit', '--rounds', '3', '--connections', '16'],
    evidence: ['duplicated', 'unexpected', 'wrongReads'],
  },
  {
    // Until the old primary is fenced it confirms writes, which the new one does not get any more.
    mode: 'release-before-fence',
    args: ['--flavor', 'mariadb', '--faults', 'switchover', '--rounds', '5', '--connections', '32'],
    evidence: ['lost', 'wrongReads'],
  },
  {
    // Two clients have read the same balance; on the next primary one commits before the other is replayed.
    mode: 'no-replay-comparison',
    args: ['--flavor', 'mariadb', '--faults', 'kill', '--rounds', '5', '--connections', '32'],
    evidence: ['imbalance', 'outOfOrder', 'wrongReads'],
  },
  {
    // Each statement behind the replay commits by itself: the savepoint is gone, or somebody sees half a transfer.
    mode: 'replay-without-begin',
    args: ['--flavor', 'mariadb', '--faults', 'kill', '--rounds', '5', '--connections', '32'],
    evidence: ['clientErrors', 'wrongReads'],
  },
];

for (const { mode, args, evidence } of BROKEN) {
  test(`a build with ${mode} fails the drill`, { timeout: 120_000 }, async () => {
    const { code, told, progress } = await drillOf(mode, ...args);
    assert.equal(code, 1, told);
    assert.notEqual(told, '', progress);
    const result = JSON.parse(told) as Record<string, unknown>;
    assert.equal(result['verdict'], 'fail', told);
    assert.ok(
      evidence.some((key) => Number(result[key]) > 0),
      told,
    );
  });
}
