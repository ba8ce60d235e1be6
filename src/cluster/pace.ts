// How often the nodes of all clusters are looked at together. A few nodes are asked for everything at the configured
// interval. With many a control process would have time for nothing else, so where nothing happens each is asked for its
// facts less often: the primary only shows in between that it lives, and replicas, whose connections tell when they end, are
// left in peace. Whatever happens in a cluster, all its nodes are asked at the configured interval again.

/** Of all nodes together, a second; about a tenth of a core each. */
const LOOKS_PER_SECOND = 500;
const FULL_LOOKS_PER_SECOND = 200;
/** Facts that change slowly. */
const FULL_EVERY_MS = 1000;

/** Shared by all that look at nodes. */
export class LookBudget {
  #nodes = 0;

  joined(): void {
    this.#nodes += 1;
  }

  left(): void {
    this.#nodes -= 1;
  }

  /** From one look at a node's facts to the next, in a cluster in which nothing happens. */
  factsEveryMs(intervalMs: number): number {
    return Math.max(intervalMs, (this.#nodes / LOOKS_PER_SECOND) * 1000);
  }

  /** The same for what changes slowly, in any cluster. */
  fullEveryMs(): number {
    return Math.max(FULL_EVERY_MS, (this.#nodes / FULL_LOOKS_PER_SECOND) * 1000);
  }
}
