// Profiles of Evenkeel's processor time, taken by the runtime itself: `--cpu-prof` reaches the control process and,
// through it, the workers by NODE_OPTIONS, and a profile is written when its process ends by itself.

import { mkdirSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { progress } from './report.ts';
import { topOfProfile } from './top-of-profile.ts';

export interface Profiles {
  /** Evenkeel runs: what is started from now on is not profiled. */
  started: (workers: readonly number[]) => void;
  /** Ends Evenkeel by `stop` where it is profiled, and says what took its worker's time. */
  end: (stop: () => Promise<unknown>) => Promise<void>;
}

/** Runs `work`, which starts Evenkeel; without a directory nothing is profiled. */
export async function withProfiles<T>(dir: string | undefined, work: (profiles: Profiles) => Promise<T>): Promise<T> {
  if (dir === undefined) return work({ started: () => {}, end: () => Promise.resolve() });
  const at = resolve(dir);
  mkdirSync(at, { recursive: true });
  const before = process.env['NODE_OPTIONS'];
  const restore = (): void => {
    if (before === undefined) delete process.env['NODE_OPTIONS'];
    else process.env['NODE_OPTIONS'] = before;
  };
  process.env['NODE_OPTIONS'] = `${before ?? ''} --cpu-prof --cpu-prof-dir=${at}`.trim();
  let workers: readonly number[] = [];
  try {
    return await work({
      started: (pids) => {
        workers = pids;
        restore();
      },
      end: async (stop) => {
        await stop();
        for (const pid of workers) await tell(at, pid);
      },
    });
  } finally {
    restore();
  }
}

/** Files are named CPU.DATE.TIME.PID.THREAD.NUMBER.cpuprofile. */
async function tell(dir: string, pid: number): Promise<void> {
  const name = (await readdir(dir)).find((file) => file.split('.')[3] === String(pid));
  if (name === undefined) return progress(`worker ${pid} left no profile in ${dir}`);
  const file = join(dir, name);
  progress(`profile of the worker: ${file}\n${topOfProfile(await readFile(file, 'utf8'), 40)}`);
}
