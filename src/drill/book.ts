// What each client of a workload wrote and what it was told, and the audit of that against what the cluster holds at the
// end. Pure. A client numbers its writes 1, 2, 3 …; only the numbers that were not plainly acknowledged are remembered.

/** What a client knows of a write that was not acknowledged. `unknown` is also for an error that carries no verdict. */
export type Doubt = 'not executed' | 'executed' | 'unknown';

export class ClientBook {
  readonly client: number;
  /** The number of the newest write that was sent. */
  sent = 0;
  /** The newest that was acknowledged; 0 before the first. */
  lastAcknowledged = 0;
  readonly doubts = new Map<number, Doubt>();

  constructor(client: number) {
    this.client = client;
  }

  /** The number of the next write, which is about to be sent. */
  next(): number {
    this.sent += 1;
    // Until it is answered nothing is known, and it may never be.
    this.doubts.set(this.sent, 'unknown');
    return this.sent;
  }

  acknowledged(n: number): void {
    this.doubts.delete(n);
    this.lastAcknowledged = n;
  }

  refused(n: number, doubt: Doubt): void {
    this.doubts.set(n, doubt);
  }
}

/** How often each number of each client is there: client → number → times. */
export type Found = ReadonlyMap<number, ReadonlyMap<number, number>>;

export interface Audit {
  acknowledged: number;
  /** Acknowledged, or said to be executed, and not there. */
  lost: number;
  /** There more than once, whatever the client was told. */
  duplicated: number;
  /** There although the client was told that it was not executed, or although nobody sent it. */
  unexpected: number;
  /** Writes whose outcome the client was not told, by what became of them. */
  unknown: { executed: number; notExecuted: number };
  /** The first few of what is wrong, in words. */
  examples: string[];
}

const MAX_EXAMPLES = 10;

export function audit(books: readonly ClientBook[], found: Found): Audit {
  const result: Audit = {
    acknowledged: 0,
    lost: 0,
    duplicated: 0,
    unexpected: 0,
    unknown: { executed: 0, notExecuted: 0 },
    examples: [],
  };
  const wrong = (what: string): void => {
    if (result.examples.length < MAX_EXAMPLES) result.examples.push(what);
  };
  const known = new Map(books.map((book) => [book.client, book]));
  for (const book of books) auditClient(book, found.get(book.client) ?? new Map(), result, wrong);
  for (const [client, numbers] of found) {
    for (const [n, times] of numbers) {
      if (times > 1) {
        result.duplicated += 1;
        wrong(`write ${n} of client ${client} is there ${times} times`);
      }
      if (n < 1 || n > (known.get(client)?.sent ?? 0)) {
        result.unexpected += 1;
        wrong(`write ${n} of client ${client} is there, and nobody sent it`);
      }
    }
  }
  return result;
}

function auditClient(
  book: ClientBook,
  found: ReadonlyMap<number, number>,
  result: Audit,
  wrong: (what: string) => void,
): void {
  for (let n = 1; n <= book.sent; n += 1) {
    const there = found.has(n);
    const doubt = book.doubts.get(n) ?? 'acknowledged';
    switch (doubt) {
      case 'acknowledged':
      case 'executed':
        if (doubt === 'acknowledged') result.acknowledged += 1;
        if (!there) {
          result.lost += 1;
          wrong(`write ${n} of client ${book.client} was ${doubt} and is not there`);
        }
        break;
      case 'not executed':
        if (there) {
          result.unexpected += 1;
          wrong(`write ${n} of client ${book.client} is there, and the client was told that it was not executed`);
        }
        break;
      case 'unknown':
        if (there) result.unknown.executed += 1;
        else result.unknown.notExecuted += 1;
        break;
    }
  }
}
