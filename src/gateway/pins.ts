// Sessions that keep their server connection, counted by reason: what `status` and the metrics show of pins.
import type { PinCounts, PinReason } from '../messages/index.ts';
import type { Client } from './client.ts';

/** By endpoint name. A reason is checked against the list of them by the compiler. */
export function countPins(clients: Iterable<Client>): Map<string, PinCounts> {
  const counts = new Map<string, PinCounts>();
  for (const { link, session, endpoint } of clients) {
    const reason: PinReason | null = link === null ? null : session.hold;
    if (reason === null) continue;
    let pinned = counts.get(endpoint.name);
    if (pinned === undefined) {
      pinned = {};
      counts.set(endpoint.name, pinned);
    }
    pinned[reason] = (pinned[reason] ?? 0) + 1;
  }
  return counts;
}
