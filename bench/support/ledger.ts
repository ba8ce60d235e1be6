// What each write was answered, and what became of it: the bookkeeping by which acknowledged, lost and duplicated
// writes are told apart. Every write has a number of its own and is sent once; nothing is ever retried.

/** What an answer with an error says. `in-flight-unknown` is the only one that a crash may cause. */
export type ErrorKind =
  | 'in-flight-unknown' // an autocommit write whose outcome nobody could tell
  | 'not-executed' // it was not sent, or certainly had no effect
  | 'connection-lost' // the client's own connection broke
  | 'other';

export interface AnswerError {
  message: string;
  /** The driver gave the connection up. */
  fatal: boolean;
}

/** `doing` is the statement that had the error; only a write's outcome may be unknown, a read can run again. */
export function errorKind(doing: 'write' | 'read', error: AnswerError): ErrorKind {
  if (error.fatal) return 'connection-lost';
  const verdict = /\(Evenkeel: [\w-]+; ([a-z ]+)\)/.exec(error.message)?.[1];
  if (verdict === 'not executed') return 'not-executed';
  if (verdict === 'unknown' && doing === 'write') return 'in-flight-unknown';
  return 'other';
}

type WriteState = 'sent' | 'acknowledged' | ErrorKind;

/** A row of the load's table, and how often it is there. */
export interface FoundWrite {
  client: number;
  n: number;
  copies: number;
}

export interface Account {
  sent: number;
  acknowledged: number;
  /** Acknowledged, and not there. */
  lost: number;
  /** There more than once. */
  duplicated: number;
  /** Answered `unknown`, and of these the ones that are there. */
  unknown: number;
  unknownExecuted: number;
  /** Answered `not executed`, and there all the same. */
  wronglyDenied: number;
  /** There, and never sent. */
  invented: number;
}

export class Ledger {
  readonly #writes: WriteState[][];

  constructor(clients: number) {
    this.#writes = Array.from({ length: clients }, () => []);
  }

  /** Returns the number that the write carries. */
  send(client: number): number {
    return this.#of(client).push('sent') - 1;
  }

  settle(client: number, n: number, state: 'acknowledged' | ErrorKind): void {
    this.#of(client)[n] = state;
  }

  /** Compares with what the table holds. */
  judge(found: Iterable<FoundWrite>): Account {
    const account: Account = {
      sent: 0,
      acknowledged: 0,
      lost: 0,
      duplicated: 0,
      unknown: 0,
      unknownExecuted: 0,
      wronglyDenied: 0,
      invented: 0,
    };
    const missing = this.#writes.map((states) => new Set(states.keys()));
    for (const { client, n, copies } of found) {
      const state = this.#writes[client]?.[n];
      if (state === undefined) account.invented++;
      if (copies > 1) account.duplicated++;
      if (state === 'in-flight-unknown') account.unknownExecuted++;
      if (state === 'not-executed') account.wronglyDenied++;
      missing[client]?.delete(n);
    }
    for (const [client, states] of this.#writes.entries()) {
      for (const [n, state] of states.entries()) {
        account.sent++;
        if (state === 'acknowledged') account.acknowledged++;
        if (state === 'in-flight-unknown') account.unknown++;
        if (state === 'acknowledged' && missing[client]?.has(n) === true) account.lost++;
      }
    }
    return account;
  }

  #of(client: number): WriteState[] {
    const states = this.#writes[client];
    if (states === undefined) throw new Error(`no client ${client}`);
    return states;
  }
}
