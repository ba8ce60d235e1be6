// How often nodes are looked at. A few nodes are asked for everything at the configured interval. A control process that has
// many would have time for nothing else, and would take its own lateness for theirs; so all that it looks at share what it
// can do in a second, by what happens in their clusters:
// - `calm`: nothing. The primary shows at every interval that it lives, and tells its facts less often; replicas, whose
//   connections tell when they end, are left in peace meanwhile.
// - `awake`: something changed in the last seconds, or the cluster is new.
// - `doubt`: its primary may be dead.

export type LookMode = 'calm' | 'awake' | 'doubt';

/** Looks at facts a second, of all nodes together; each takes a tenth or two of a millisecond. */
const LOOKS_PER_SECOND: Readonly<Record<LookMode, number>> = { calm: 400, awake: 1000, doubt: 1500 };
/** Looks at whether a primary lives, beside these. */
const PINGS_PER_SECOND = 2000;
/** Of the looks at facts, those at everything. */
const FULL_LOOKS_PER_SECOND = 150;
/** What changes slowly is asked for this often where there are few nodes. */
const FULL_EVERY_MS = 1000;
/** Connections that are being made at a time, but for those to nodes of a primary in doubt. */
const OPENINGS = 32;

/** With more nodes than that, looks begin together at multiples of this: a process that sleeps and wakes for each has twice the work. */
const FEW_NODES = 50;
const GRID_MS = 20;

/** Shared by all that look at nodes. */
export class LookBudget {
  readonly #nodes: Record<LookMode, number> = { calm: 0, awake: 0, doubt: 0 };
  #pinged = 0;
  #opening = 0;
  readonly #waiting: (() => void)[] = [];

  /** A node is looked at in another mode; null: not at all. */
  move(from: LookMode | null, to: LookMode | null): void {
    if (from !== null) this.#nodes[from] -= 1;
    if (to !== null) this.#nodes[to] += 1;
  }

  /** A node is pinged in between from now on, or no more. */
  ping(more: 1 | -1): void {
    this.#pinged += more;
  }

  /** From one look at a primary to the next, whatever it is. */
  pingEveryMs(leastMs: number): number {
    return Math.max(leastMs, (this.#pinged / PINGS_PER_SECOND) * 1000);
  }

  /** From one look at a node's facts to the next, where `leastMs` would be right for a few. */
  everyMs(mode: LookMode, leastMs: number): number {
    return Math.max(leastMs, (this.#nodes[mode] / LOOKS_PER_SECOND[mode]) * 1000);
  }

  /** The same for what changes slowly. */
  fullEveryMs(): number {
    return Math.max(FULL_EVERY_MS, (this.#all / FULL_LOOKS_PER_SECOND) * 1000);
  }

  /** How long to wait at `nowMs` where `ms` are wanted, or a little less. */
  togetherMs(nowMs: number, ms: number): number {
    if (this.#all <= FEW_NODES || ms < 2 * GRID_MS) return ms;
    return Math.floor((nowMs + ms) / GRID_MS) * GRID_MS - nowMs;
  }

  get #all(): number {
    const { calm, awake, doubt } = this.#nodes;
    return calm + awake + doubt;
  }

  /** Runs `open`, which makes a connection and has its own time limit, when it is its turn. */
  async opening<T>(mode: LookMode, open: () => Promise<T>): Promise<T> {
    if (mode !== 'doubt' && this.#opening >= OPENINGS)
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#opening += 1;
    try {
      return await open();
    } finally {
      this.#opening -= 1;
      if (this.#opening < OPENINGS) this.#waiting.shift()?.();
    }
  }
}
