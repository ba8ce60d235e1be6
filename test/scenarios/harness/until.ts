// Waiting for a condition, with a deadline: what tests do instead of sleeping.
import { setTimeout as delay } from 'node:timers/promises';

/** Whether it is fulfilled, for conditions. */
export function succeeds(promise: Promise<unknown>): Promise<boolean> {
  return promise.then(
    () => true,
    () => false,
  );
}

/** Asks every 20 ms until `condition` holds. Throws, naming `what`, when the time is over. */
export async function until(
  what: string,
  timeoutMs: number,
  condition: () => boolean | Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    if (await condition()) return;
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain for ${what}`);
    await delay(20);
  }
}
