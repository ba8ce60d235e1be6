// How long statements of a shape take on the server, by the statement's digest. Decides only who may share a server
// connection with whom; digests that fall together make it less exact, not wrong.
//
// What is seen is time, and under load most of it is waiting for a processor, which queueing on few connections makes
// shorter, not longer. So what counts is the least that was seen lately. A shape whose cost varies widely is held to an
// eighth of its mean, and that mean to the load: how many times their least all statements take at present.

const SLOTS = 8192;
const WEIGHT = 0.1;
/** A low figure doubles in this time without another one. */
const FORGET_MS = 10_000;
const SPREAD = 8;
const LOAD_WEIGHT = 0.005;

/** The place of a digest. */
export function slotOf(digest: number): number {
  return (digest ^ (digest >>> 13)) & (SLOTS - 1);
}

export class Costs {
  #meanUs = new Float64Array(SLOTS).fill(-1);
  #leastUs = new Float64Array(SLOTS);
  #seenMs = new Float64Array(SLOTS);
  /** The geometric mean, which a few slow statements do not move. */
  #logLoad = 0;
  #load = 1;

  /** Microseconds; -1 where none was seen yet. */
  expectedUs(slot: number): number {
    const mean = this.#meanUs[slot] as number;
    return mean < 0 ? -1 : Math.max(this.#leastUs[slot] as number, mean / (SPREAD * this.#load));
  }

  /** A statement of a shape took this long, at this time. */
  observe(slot: number, us: number, nowMs: number): void {
    const took = Math.max(us, 1);
    const mean = this.#meanUs[slot] as number;
    const forgotten = 1 + (nowMs - (this.#seenMs[slot] as number)) / FORGET_MS;
    const least = mean < 0 ? took : Math.min((this.#leastUs[slot] as number) * forgotten, took);
    this.#meanUs[slot] = mean < 0 ? took : mean + (took - mean) * WEIGHT;
    this.#leastUs[slot] = least;
    this.#seenMs[slot] = nowMs;
    this.#logLoad += (Math.log(took / least) - this.#logLoad) * LOAD_WEIGHT;
    this.#load = Math.exp(this.#logLoad);
  }
}
