// Waits until nothing is in progress on a way that takes nothing new: transactions that are open, statements that are
// in flight, on a node also sessions that are pinned to it. Ends nothing; what is left when the time is over is counted.
import type { QuiesceTarget } from '../messages/index.ts';
import type { Client } from './client.ts';

export class Quiesce {
  #of: QuiesceTarget;
  #deadlineMs: number;
  #done: (inProgress: number) => void;
  #over = false;

  constructor(of: QuiesceTarget, deadlineMs: number, done: (inProgress: number) => void) {
    this.#of = of;
    this.#deadlineMs = deadlineMs;
    this.#done = done;
  }

  /** To be called whenever a statement ends, and now and then. */
  check(clients: Iterable<Client>, nowMs: number): void {
    if (this.#over) return;
    const late = nowMs >= this.#deadlineMs;
    let inProgress = 0;
    for (const client of clients) {
      if (!this.#concerns(client)) continue;
      inProgress++;
      if (!late) return;
    }
    this.#over = true;
    this.#done(inProgress);
  }

  #concerns(client: Client): boolean {
    if ('endpoint' in this.#of) return client.endpoint.name === this.#of.endpoint && client.atWork;
    // A pinned session is there, too, though it does nothing.
    return client.cluster === this.#of.cluster && client.activeLink?.node === this.#of.node;
  }
}
