// What must hold whatever happened: money is neither made nor lost, a list has each position once and in the order of its
// writers, and what belongs to one transaction is there or not there as a whole. Pure.
import type { Holdings } from './tables.ts';

export interface Conserved {
  /** Accounts that do not hold what the transfers say, and transfers without their line in the book or more than once. */
  imbalance: number;
  /** Entries at a wrong position, out of their writer's order, without their line in the book or more than once. */
  outOfOrder: number;
  /** The first few of what is wrong, in words. */
  examples: string[];
}

const MAX_EXAMPLES = 10;

export function conserved({ book, accounts, transfers, lists }: Holdings, openingBalance: number): Conserved {
  const result: Conserved = { imbalance: 0, outOfOrder: 0, examples: [] };
  const wrong = (key: 'imbalance' | 'outOfOrder', what: string): void => {
    result[key] += 1;
    if (result.examples.length < MAX_EXAMPLES) result.examples.push(what);
  };
  const seen = new Set<string>();
  /** What is in the book once and nowhere else. */
  const whole = (client: number, n: number): string | null => {
    const times = book.get(client)?.get(n) ?? 0;
    const key = `${client}:${n}`;
    const again = seen.has(key);
    seen.add(key);
    return again ? 'is there more than once' : times === 0 ? 'is there in part' : null;
  };

  const due = new Map(accounts.map(({ id }) => [id, openingBalance]));
  for (const { client, n, source, target, amount } of transfers) {
    due.set(source, (due.get(source) ?? 0) - amount);
    due.set(target, (due.get(target) ?? 0) + amount);
    const fault = whole(client, n);
    if (fault !== null) wrong('imbalance', `transfer ${n} of client ${client} ${fault}`);
  }
  for (const { id, balance } of accounts) {
    const should = due.get(id);
    if (balance !== should) wrong('imbalance', `account ${id} holds ${balance}, and its transfers make ${should}`);
  }

  for (const { id, length, entries } of lists) {
    if (length !== entries.length)
      wrong('outOfOrder', `list ${id} has ${entries.length} entries, and says that it has ${length}`);
    const last = new Map<number, number>();
    for (const [index, { position, client, n }] of entries.entries()) {
      const fault = whole(client, n);
      if (fault !== null) wrong('outOfOrder', `append ${n} of client ${client} ${fault}`);
      if (position !== index + 1)
        wrong('outOfOrder', `entry ${index + 1} of list ${id} stands at position ${position} (client ${client})`);
      const before = last.get(client) ?? 0;
      if (n < before) wrong('outOfOrder', `list ${id} has append ${n} of client ${client} after its ${before}`);
      last.set(client, n);
    }
  }
  return result;
}
