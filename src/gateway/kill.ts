// KILL by the id that a client was greeted with. A server knows another id for the same session: its thread's. The
// client to be killed may be another worker's; then that one is asked, by way of the control process.
import type { KillOutcome } from '../messages/index.ts';
import type { ErrPacket } from '../wire/index.ts';
import type { Client } from './client.ts';
import { OWN_ID } from './command.ts';
import { gatewayError } from './errors.ts';
import { INTERRUPTED } from './flight.ts';
import type { GatewayWorker } from './gateway.ts';
import { killThread } from './kill-thread.ts';

/** Our ids lie above this; what is below is a server's own thread id, which the server is asked about. */
export const PROXY_ID_BASE = 2 ** 30;

/** MariaDB's ER_CONNECTION_KILLED. */
const KILLED: ErrPacket = { errno: 1927, sqlState: '70100', message: 'Connection was killed' };

const ANSWER_TIMEOUT_MS = 1000;
/** KILLs of this worker's clients that wait for another worker's answer. */
const MAX_WAITING = 1000;

/** Ends `victim`'s statement, or all of it, where `by` is its own account. In another cluster there is nobody of that id. */
export function killVictim(
  worker: GatewayWorker,
  victim: Client | undefined,
  queryOnly: boolean,
  by: Pick<Client, 'cluster' | 'user'>,
): KillOutcome {
  if (victim === undefined || !victim.loggedIn || by.cluster !== victim.cluster) return 'unknown';
  if (by.user !== victim.user) return 'denied';
  worker.count('kills', queryOnly ? 'query' : 'connection');
  const link = victim.activeLink;
  const told = victim.statement?.interrupt() ?? false;
  // A connection that strangers share is not to go for one of them: at most its statement is stopped.
  if (link !== null && link.busy && !told) {
    const done = victim.statement?.awaitsKill() ?? (() => {});
    killThread(worker, victim, link, queryOnly || victim.link === null, done);
  }
  // A server tells whom somebody else kills nothing, either.
  if (!queryOnly) victim.close();
  return 'done';
}

/** True: it was a session's KILL of itself, and has been answered in its server's words. */
export function killSelf(client: Client, connectionId: number, queryOnly: boolean): boolean {
  if (connectionId !== OWN_ID && connectionId !== client.connectionId) return false;
  client.worker.count('kills', queryOnly ? 'query' : 'connection');
  if (queryOnly) client.answerError(INTERRUPTED);
  else {
    client.end(client.worker.flavor(client.cluster) === 'mysql' ? INTERRUPTED : KILLED);
    client.close();
  }
  return true;
}

/** A client's KILL of another of ours, which is answered before `done`. */
export function killOther(client: Client, connectionId: number, queryOnly: boolean, done: () => void): void {
  client.worker.kill(client, connectionId, queryOnly, (outcome) => {
    if (outcome === 'done') client.answerOk();
    else
      client.answerError(gatewayError(outcome === 'denied' ? 'kill-denied' : 'unknown-thread', String(connectionId)));
    done();
  });
}

/** KILLs that another worker is asked to carry out. */
export class KillOrders {
  #waiting = new Map<number, (outcome: KillOutcome) => void>();
  #next = 1;

  /** Calls back once: without an answer in time there is nobody of that id. */
  add(callback: (outcome: KillOutcome) => void): number | null {
    if (this.#waiting.size >= MAX_WAITING) return null;
    const order = this.#next++;
    const timer = setTimeout(() => this.answer(order, 'unknown'), ANSWER_TIMEOUT_MS);
    this.#waiting.set(order, (outcome) => {
      clearTimeout(timer);
      callback(outcome);
    });
    return order;
  }

  answer(order: number, outcome: KillOutcome): void {
    const callback = this.#waiting.get(order);
    this.#waiting.delete(order);
    callback?.(outcome);
  }
}
