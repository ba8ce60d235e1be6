// How long statements of a shape take on the server, by the statement's digest. Decides only who may share a server
// connection with whom; digests that fall together make it less exact, not wrong.
//
// What is seen is time, and under load most of it is waiting for a processor, which queueing on few connections makes
// shorter, not longer. So what counts is the least that was seen lately; a shape whose cost varies widely is held to an
// eighth of its mean.

const SLOTS = 8192;
const WEIGHT = 0.1;
/** How fast a low figure is forgotten, a time seen. */
const FORGET = 1.01;
const SPREAD = 8;

/** The place of a digest. */
export function slotOf(digest: number): number {
  return (digest ^ (digest >>> 13)) & (SLOTS - 1);
}

export class Costs {
  #meanUs = new Float64Array(SLOTS).fill(-1);
  #leastUs = new Float64Array(SLOTS);

  /** Microseconds; -1 where none was seen yet. */
  expectedUs(slot: number): number {
    const mean = this.#meanUs[slot] as number;
    return mean < 0 ? -1 : Math.max(this.#leastUs[slot] as number, mean / SPREAD);
  }

  observe(slot: number, us: number): void {
    const mean = this.#meanUs[slot] as number;
    this.#meanUs[slot] = mean < 0 ? us : mean + (us - mean) * WEIGHT;
    const least = (this.#leastUs[slot] as number) * FORGET;
    this.#leastUs[slot] = mean < 0 ? us : Math.min(Math.max(least, 1), us);
  }
}
