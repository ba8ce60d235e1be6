// Watching how much memory a process holds: its peak while something happens, and where it comes to rest afterwards.
import { setTimeout as pause } from 'node:timers/promises';
import { residentMiB } from './processes.ts';

const SAMPLE_MS = 20;
const STEADY_MS = 3000;
const STEADY_MIB = 1;

/** Runs `work` and samples the resident memory of `pid` meanwhile; null for a pid of null. */
export async function peakDuring<T>(
  pid: number | null,
  work: () => Promise<T>,
): Promise<{ value: T; beforeMiB: number; peakMiB: number }> {
  if (pid === null) return { value: await work(), beforeMiB: Number.NaN, peakMiB: Number.NaN };
  const beforeMiB = residentMiB(pid);
  let peakMiB = beforeMiB;
  const look = (): void => {
    peakMiB = Math.max(peakMiB, residentMiB(pid));
  };
  const timer = setInterval(() => {
    try {
      look();
    } catch {
      // It is gone; whoever works with it will say so.
    }
  }, SAMPLE_MS);
  try {
    const value = await work();
    look();
    return { value, beforeMiB, peakMiB };
  } finally {
    clearInterval(timer);
  }
}

/** The resident memory of `pid` once it has moved by no more than a MiB for three seconds, or after the deadline. */
export async function settledMiB(pid: number, deadlineMs: number): Promise<number> {
  const end = performance.now() + deadlineMs;
  let reference = residentMiB(pid);
  let since = performance.now();
  for (;;) {
    await pause(200);
    const nowMiB = residentMiB(pid);
    if (Math.abs(nowMiB - reference) > STEADY_MIB) {
      reference = nowMiB;
      since = performance.now();
    }
    if (performance.now() - since >= STEADY_MS || performance.now() > end) return nowMiB;
  }
}
