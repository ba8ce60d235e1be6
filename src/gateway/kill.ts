// KILL by the id that a client was greeted with. A server knows another id for the same session: its thread's.
import { type ErrPacket } from '../wire/index.ts';
import type { Client } from './client.ts';
import { gatewayError } from './errors.ts';
import type { GatewayWorker } from './gateway.ts';
import { killThread } from './kill-thread.ts';

/** Our ids lie above this; what is below is a server's own thread id, which the server is asked about. */
export const PROXY_ID_BASE = 2 ** 30;

export type KillOutcome = { kind: 'done' } | { kind: 'not-ours' } | { kind: 'refused'; err: ErrPacket };

/** Ends `victim`'s statement, or all of it. `by`: who asks; its account must be the victim's own. */
export function killVictim(
  worker: GatewayWorker,
  victim: Client | undefined,
  queryOnly: boolean,
  by?: Client,
  connectionId?: number,
): KillOutcome {
  if (victim === undefined || !victim.loggedIn) {
    return { kind: 'refused', err: gatewayError('unknown-thread', String(connectionId ?? '')) };
  }
  if (by !== undefined && by.user !== victim.user) {
    return { kind: 'refused', err: gatewayError('kill-denied', String(victim.connectionId)) };
  }
  worker.count('kills', queryOnly ? 'query' : 'connection');
  const { link } = victim;
  if (link !== null && link.busy) killThread(worker, victim, link, queryOnly);
  if (!queryOnly) victim.killed();
  return { kind: 'done' };
}
