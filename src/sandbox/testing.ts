// A sandbox for the length of a test: made in a temporary directory, handed to the test, and removed whatever happens,
// also when the test process is interrupted. Its servers die with the process, even when that is killed.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { destroySandboxNow, startSandbox, stopSandbox } from './sandbox.ts';
import type { SandboxInfo, SandboxOptions } from './types.ts';

const open = new Map<string, number>();

/** Runs `work` against a new cluster; `dir` is a new temporary directory unless it is given. */
export async function withSandbox<T>(
  options: Omit<SandboxOptions, 'dir'> & { dir?: string },
  work: (sandbox: SandboxInfo) => Promise<T>,
): Promise<T> {
  const dir = options.dir ?? (await mkdtemp(join(tmpdir(), 'evenkeel-sandbox-')));
  guard();
  open.set(dir, options.nodes);
  try {
    return await work(await startSandbox({ ...options, dir }, { bound: true }));
  } finally {
    await stopSandbox(dir).catch(() => rm(dir, { recursive: true, force: true }));
    open.delete(dir);
  }
}

let guarded = false;

function guard(): void {
  if (guarded) return;
  guarded = true;
  process.on('exit', () => {
    for (const [dir, nodes] of open) destroySandboxNow(dir, nodes);
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => process.exit(1));
  }
}
