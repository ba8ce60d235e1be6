// The hold: statements that wait, in their order, while nothing can take them. It is what makes a failover look like
// a pause. It is also dangerous: what waits uses memory, and what is let go at once is a stampede. So the hold is
// bounded in number, bytes and time, every way in and out has a name, and what waited is let go a few at a time,
// before anything newer.
//
// Pure: time comes in as an argument, effects are calls on the entries. One hold a gate (see routes.ts); all holds
// of a worker share one budget.
import type { HoldReason } from '../messages/index.ts';

/** How a statement left the hold. The same words are metric labels. */
export type HoldExit =
  | 'released' // the way is free
  | 'timed-out' // waited for hold.timeout
  | 'evicted-count' // came when hold.maxStatements were waiting
  | 'evicted-bytes' // came when hold.maxBytes were waiting
  | 'abandoned'; // its client left

/** A statement that can wait. */
export interface Waiter {
  readonly bytes: number;
  /** Go: the way is free. `settled` must be called when the statement has had its answer. */
  release(): void;
  /** It waited in vain and was never sent. */
  refuse(exit: 'timed-out' | 'evicted-count' | 'evicted-bytes', reason: HoldReason, waitedMs: number): void;
}

export interface HoldLimits {
  timeoutMs: number;
  maxStatements: number;
  maxBytes: number;
  /** Statements let go and not yet answered while others still wait. */
  releaseConcurrency: number;
}

/** What all holds of one worker share. The sums must agree: entered = Σ exits + waiting. */
export class HoldBudget {
  waiting = 0;
  bytes = 0;
  entered = 0;
  readonly exits: Record<HoldExit, number> = {
    released: 0,
    'timed-out': 0,
    'evicted-count': 0,
    'evicted-bytes': 0,
    abandoned: 0,
  };
  readonly starts = new Map<HoldReason, number>();

  /** True where every statement that entered is accounted for. */
  balances(): boolean {
    let left = 0;
    for (const count of Object.values(this.exits)) left += count;
    return this.entered === left + this.waiting;
  }
}

interface Entry {
  waiter: Waiter;
  since: number;
}

type State =
  | { kind: 'open' }
  | { kind: 'closed'; reason: HoldReason; since: number }
  /** The way is free, older statements go first. */
  | { kind: 'draining'; reason: HoldReason };

export class Hold {
  #state: State = { kind: 'open' };
  /** Insertion order is the order of arrival. */
  #queue = new Map<Waiter, Entry>();
  /** Put back after a try that was not sent: they go before the queue, in their old order. */
  #running = new Set<Waiter>();
  #limits: HoldLimits;
  #budget: HoldBudget;

  constructor(limits: HoldLimits, budget: HoldBudget) {
    this.#limits = limits;
    this.#budget = budget;
  }

  get waiting(): number {
    return this.#queue.size;
  }

  get closedFor(): HoldReason | null {
    return this.#state.kind === 'closed' ? this.#state.reason : null;
  }

  /** Nothing waits, and what waited has had its answer. */
  get settledDown(): boolean {
    return this.#state.kind === 'open' && this.#running.size === 0;
  }

  /** True where a new statement may go at once. */
  get passes(): boolean {
    return this.#state.kind === 'open';
  }

  close(reason: HoldReason, now: number): void {
    switch (this.#state.kind) {
      case 'open':
      case 'draining':
        this.#budget.starts.set(reason, (this.#budget.starts.get(reason) ?? 0) + 1);
        this.#state = { kind: 'closed', reason, since: now };
        return;
      case 'closed':
        this.#state = { kind: 'closed', reason, since: this.#state.since };
    }
  }

  /** The way is free again. */
  open(): void {
    if (this.#state.kind !== 'closed') return;
    this.#state = { kind: 'draining', reason: this.#state.reason };
    this.#pump();
  }

  /**
   * Lets a statement wait. It is refused at once where a bound is reached. `since` is when the statement arrived: one
   * that is back after a lost connection waits no longer in all than any other.
   */
  enter(waiter: Waiter, since: number, now: number): void {
    const budget = this.#budget;
    budget.entered++;
    budget.waiting++;
    budget.bytes += waiter.bytes;
    this.#running.delete(waiter);
    const entry: Entry = { waiter, since };
    if (budget.waiting > this.#limits.maxStatements) return this.#refuse(entry, 'evicted-count', now);
    if (budget.bytes > this.#limits.maxBytes) return this.#refuse(entry, 'evicted-bytes', now);
    this.#insert(entry);
    if (this.#state.kind === 'draining') this.#pump();
    else if (this.#state.kind === 'open') {
      this.#state = { kind: 'draining', reason: 'connection-lost' };
      this.#pump();
    }
  }

  /** The client left. */
  abandon(waiter: Waiter): void {
    const entry = this.#queue.get(waiter);
    if (entry !== undefined) this.#leave(entry, 'abandoned');
    this.settled(waiter);
  }

  /** A released statement has had its answer, or waits again elsewhere. */
  settled(waiter: Waiter): void {
    if (this.#running.delete(waiter)) this.#pump();
  }

  /** Refuses what has waited too long. Returns when to look again, or null. */
  expire(now: number): number | null {
    for (const entry of this.#queue.values()) {
      const deadline = entry.since + this.#limits.timeoutMs;
      if (deadline > now) return deadline;
      this.#refuse(entry, 'timed-out', now);
    }
    return null;
  }

  /** Keeps the queue ordered by arrival; almost always the new one belongs at the end. */
  #insert(entry: Entry): void {
    let last: Entry | undefined;
    if (this.#queue.size > 0 && this.#newest > entry.since) {
      const entries = [...this.#queue.values(), entry].sort((a, b) => a.since - b.since);
      this.#queue = new Map(entries.map((each) => [each.waiter, each]));
      last = entries.at(-1);
    } else {
      this.#queue.set(entry.waiter, entry);
      last = entry;
    }
    this.#newest = last?.since ?? entry.since;
  }

  #newest = 0;

  #refuse(entry: Entry, exit: 'timed-out' | 'evicted-count' | 'evicted-bytes', now: number): void {
    this.#leave(entry, exit);
    const reason = this.#state.kind === 'open' ? 'connection-lost' : this.#state.reason;
    entry.waiter.refuse(exit, reason, now - entry.since);
  }

  #leave(entry: Entry, exit: HoldExit): void {
    this.#queue.delete(entry.waiter);
    this.#budget.waiting--;
    this.#budget.bytes -= entry.waiter.bytes;
    this.#budget.exits[exit]++;
  }

  #pump(): void {
    while (this.#state.kind === 'draining') {
      if (this.#queue.size === 0) {
        this.#state = { kind: 'open' };
        return;
      }
      if (this.#running.size >= this.#limits.releaseConcurrency) return;
      const entry = this.#queue.values().next().value as Entry;
      this.#leave(entry, 'released');
      this.#running.add(entry.waiter);
      entry.waiter.release();
    }
  }
}
