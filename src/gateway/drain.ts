// A planned end of all work on a cluster's primary: what is in flight comes to its end, and what does not in time is
// ended. Used by a switchover (everything) and by a failover (at once: nothing may be acknowledged by the old primary
// once a new one opens).
import type { Client } from './client.ts';
import { wayOf } from './split.ts';

export class Drain {
  readonly cluster: string;
  #deadlineMs: number;
  #done: (endedTransactions: number) => void;
  #over = false;

  constructor(cluster: string, deadlineMs: number, done: (endedTransactions: number) => void) {
    this.cluster = cluster;
    this.#deadlineMs = deadlineMs;
    this.#done = done;
  }

  /** Looks whether work is left; to be called whenever a statement ends, and now and then. True: it is over. */
  check(clients: Iterable<Client>, nowMs: number): boolean {
    if (this.#over) return true;
    const late = nowMs >= this.#deadlineMs;
    let ended = 0;
    for (const client of clients) {
      if (client.cluster !== this.cluster || !client.gate.wantsPrimary || !client.atWork) continue;
      if (wayOf(client) === 'replica') continue;
      if (!late) return false;
      // A lone write runs to its end: the server lets it commit, or refuses it, before it turns read-only.
      if (client.session.inTransaction) ended++;
      else if (!client.reading) continue;
      client.tether.leaveNode('the switchover waited no longer');
    }
    this.#over = true;
    this.#done(ended);
    return true;
  }
}
