// Waiting for a condition, with a deadline: what tests do instead of sleeping.
import { setTimeout as delay } from 'node:timers/promises';

/** Whether it is fulfilled, for conditions. */
export function succeeds(promise: Promise<unknown>): Promise<boolean> {
  return promise.then(
    () => true,
    () => false,
  );
}

/** What became of it in so many ms: `answered`, `waits`, or the error's text. */
export function within(ms: number, promise: Promise<unknown>): Promise<string> {
  const told = promise.then(
    () => 'answered',
    (error: Error) => error.message,
  );
  return Promise.race([told, delay(ms, 'waits')]);
}

/** ER_BAD_DB_ERROR, ER_NO_SUCH_TABLE: what is asked for has not been replicated yet. */
const NOT_THERE_YET = [1049, 1146];

/** Asks every 20 ms until `condition` holds; a table that is not there is waited for. Throws, naming `what`, when the time is over. */
export async function until(
  what: string,
  timeoutMs: number,
  condition: () => boolean | Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      if (await condition()) return;
    } catch (error) {
      const errno = error instanceof Error && 'errno' in error ? error.errno : null;
      if (!NOT_THERE_YET.some((one) => one === errno) || performance.now() > deadline) throw error;
    }
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain for ${what}`);
    await delay(20);
  }
}
