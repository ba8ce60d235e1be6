// Waits until a node that may soon be primary has the server connections that its clients will need, or for as long as
// may be waited: what is not open then comes when it is asked for.
import type { NodePool } from './pool.ts';

export class OpenAhead {
  #pool: NodePool;
  #deadlineMs: number;
  #done: (open: number) => void;
  #over = false;

  constructor(pool: NodePool, deadlineMs: number, done: (open: number) => void) {
    this.#pool = pool;
    this.#deadlineMs = deadlineMs;
    this.#done = done;
  }

  /** To be called now and then. */
  check(_clients: unknown, nowMs: number): void {
    if (this.#over || (this.#pool.opensAhead && nowMs < this.#deadlineMs)) return;
    this.#over = true;
    this.#done(this.#pool.counts().open);
  }
}
