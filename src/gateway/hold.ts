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
  /** Decides between those that arrived at the same time. */
  number: number;
}

type State =
  | { kind: 'open' }
  | { kind: 'closed'; reason: HoldReason; since: number }
  /** The way is free, older statements go first. */
  | { kind: 'draining'; reason: HoldReason };

export class Hold {
  #state: State = { kind: 'open' };
  /** In the order of arrival: by `since`, then as they came. */
  #queue: Entry[] = [];
  #entries = new Map<Waiter, Entry>();
  #entered = 0;
  /** Let go and not yet settled. */
  #running = new Set<Waiter>();
  #pumping = false;
  #limits: HoldLimits;
  #budget: HoldBudget;

  constructor(limits: HoldLimits, budget: HoldBudget) {
    this.#limits = limits;
    this.#budget = budget;
  }

  get waiting(): number {
    return this.#queue.length;
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
    const entry: Entry = { waiter, since, number: this.#entered++ };
    this.#insert(entry);
    if (budget.waiting > this.#limits.maxStatements) this.#refuse(entry, 'evicted-count', now);
    else if (budget.bytes > this.#limits.maxBytes) this.#refuse(entry, 'evicted-bytes', now);
    else if (this.#state.kind === 'open') this.#state = { kind: 'draining', reason: 'connection-lost' };
    // Also where it was refused: it may have been one of those that ran, and others wait for its place.
    this.#pump();
  }

  /** The client left. */
  abandon(waiter: Waiter): void {
    const entry = this.#entries.get(waiter);
    if (entry !== undefined) this.#leave(entry, 'abandoned');
    this.settled(waiter);
  }

  /** A released statement has had its answer, or waits again elsewhere. */
  settled(waiter: Waiter): void {
    if (this.#running.delete(waiter)) this.#pump();
  }

  /** Refuses what has waited too long. Returns when to look again, or null. */
  expire(now: number): number | null {
    for (let entry = this.#queue[0]; entry !== undefined; entry = this.#queue[0]) {
      const deadline = entry.since + this.#limits.timeoutMs;
      if (deadline > now) return deadline;
      this.#refuse(entry, 'timed-out', now);
    }
    return null;
  }

  /** Where the entry belongs, or is. Almost always the end or the beginning; thousands may come back out of order. */
  #position(entry: Entry): number {
    let low = 0;
    let high = this.#queue.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (isBefore(this.#queue[middle] as Entry, entry)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #insert(entry: Entry): void {
    this.#queue.splice(this.#position(entry), 0, entry);
    this.#entries.set(entry.waiter, entry);
  }

  #refuse(entry: Entry, exit: 'timed-out' | 'evicted-count' | 'evicted-bytes', now: number): void {
    this.#leave(entry, exit);
    const reason = this.#state.kind === 'open' ? 'connection-lost' : this.#state.reason;
    entry.waiter.refuse(exit, reason, now - entry.since);
  }

  #leave(entry: Entry, exit: HoldExit): void {
    this.#queue.splice(this.#position(entry), 1);
    this.#entries.delete(entry.waiter);
    this.#budget.waiting--;
    this.#budget.bytes -= entry.waiter.bytes;
    this.#budget.exits[exit]++;
  }

  /** Lets go what may go. What a release sets off (a settling, another entering) is seen by the loop, not nested in it. */
  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      while (this.#state.kind === 'draining') {
        const entry = this.#queue[0];
        if (entry === undefined) {
          this.#state = { kind: 'open' };
          return;
        }
        if (this.#running.size >= this.#limits.releaseConcurrency) return;
        this.#leave(entry, 'released');
        this.#running.add(entry.waiter);
        entry.waiter.release();
      }
    } finally {
      this.#pumping = false;
    }
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.since === b.since ? a.number < b.number : a.since < b.since;
}
