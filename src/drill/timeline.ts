// How a workload went over time: statements answered and the longest wait, in slices of 100 ms. Pure; bounded by making
// the slices twice as long whenever there would be too many.

export interface Slice {
  /** Statements whose answer came in this slice, and was no error. */
  answered: number;
  /** Statements whose answer was an error. */
  errors: number;
  /** The longest that any statement whose answer came in this slice had taken. */
  longestMs: number;
  /** The longest that any client had waited for an answer at a moment of this slice: it rises while statements are held. */
  waitMs: number;
}

const MAX_SLICES = 6000;
const FIRST_SLICE_MS = 100;

export class Timeline {
  /** Doubles when there would be more than 6000 slices. */
  sliceMs = FIRST_SLICE_MS;
  readonly slices: Slice[] = [];

  /** A statement that was sent and answered at these times, in ms since the workload's start. */
  record(sentMs: number, answeredMs: number, ok: boolean): void {
    const tookMs = answeredMs - sentMs;
    const last = this.#at(answeredMs);
    if (ok) last.answered += 1;
    else last.errors += 1;
    last.longestMs = Math.max(last.longestMs, tookMs);
    last.waitMs = Math.max(last.waitMs, tookMs);
    const end = Math.floor(answeredMs / this.sliceMs);
    for (let index = Math.floor(sentMs / this.sliceMs); index < end; index += 1) {
      const slice = this.slices[index];
      if (slice !== undefined) slice.waitMs = Math.max(slice.waitMs, (index + 1) * this.sliceMs - sentMs);
    }
  }

  /** The longest that a statement had taken whose answer came from `fromMs` on and before `toMs`; by whole slices. */
  longestMs(fromMs: number, toMs = Number.POSITIVE_INFINITY): number {
    return this.#between(fromMs, toMs).reduce((longest, slice) => Math.max(longest, slice.longestMs), 0);
  }

  /** Answers a second, by whole slices. */
  ratePerSecond(fromMs: number, toMs: number): number {
    const slices = this.#between(fromMs, toMs);
    const answered = slices.reduce((sum, slice) => sum + slice.answered, 0);
    return slices.length === 0 ? 0 : (answered * 1000) / (slices.length * this.sliceMs);
  }

  #between(fromMs: number, toMs: number): Slice[] {
    const first = Math.max(0, Math.floor(fromMs / this.sliceMs));
    return this.slices.slice(first, toMs === Number.POSITIVE_INFINITY ? undefined : Math.ceil(toMs / this.sliceMs));
  }

  #at(ms: number): Slice {
    while (Math.floor(ms / this.sliceMs) >= MAX_SLICES) this.#coarsen();
    const index = Math.max(0, Math.floor(ms / this.sliceMs));
    while (this.slices.length <= index) this.slices.push({ answered: 0, errors: 0, longestMs: 0, waitMs: 0 });
    return this.slices[index] as Slice;
  }

  #coarsen(): void {
    const pairs = Array.from({ length: Math.ceil(this.slices.length / 2) }, (_, index): Slice => {
      const none: Slice = { answered: 0, errors: 0, longestMs: 0, waitMs: 0 };
      const [one = none, two = none] = this.slices.slice(index * 2, index * 2 + 2);
      return {
        answered: one.answered + two.answered,
        errors: one.errors + two.errors,
        longestMs: Math.max(one.longestMs, two.longestMs),
        waitMs: Math.max(one.waitMs, two.waitMs),
      };
    });
    this.slices.splice(0, this.slices.length, ...pairs);
    this.sliceMs *= 2;
  }
}
