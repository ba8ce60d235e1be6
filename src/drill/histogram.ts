// How long statements took, in a few fixed classes: bounded, and told as `{ "10": 812, "20": 33, … }` with the classes that
// have any. Pure.

/** Upper bounds in ms, inclusive; the last class has what took longer. */
const BOUNDS_MS = [10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, Number.POSITIVE_INFINITY];

export class Histogram {
  readonly #counts = BOUNDS_MS.map(() => 0);

  record(tookMs: number): void {
    const at = BOUNDS_MS.findIndex((bound) => tookMs <= bound);
    this.#counts[at] = (this.#counts[at] ?? 0) + 1;
  }

  add(other: Histogram): void {
    for (const [at, count] of other.#counts.entries()) this.#counts[at] = (this.#counts[at] ?? 0) + count;
  }

  /** By the upper bound in ms; `more` is what took longer than 30 s. */
  toJSON(): Record<string, number> {
    const classes = BOUNDS_MS.map((bound, at) => [bound === Number.POSITIVE_INFINITY ? 'more' : bound, at] as const);
    return Object.fromEntries(
      classes.flatMap(([name, at]) => ((this.#counts[at] ?? 0) > 0 ? [[name, this.#counts[at] ?? 0]] : [])),
    );
  }
}
