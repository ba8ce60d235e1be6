// How long statements of a shape take on the server: a moving mean by the statement's digest. Decides only who may
// share a server connection with whom; digests that fall together make it less exact, not wrong.

const SLOTS = 8192;
const WEIGHT = 0.15;

/** The place of a digest. */
export function slotOf(digest: number): number {
  return (digest ^ (digest >>> 13)) & (SLOTS - 1);
}

export class Costs {
  #meanUs = new Float64Array(SLOTS).fill(-1);

  /** Microseconds; -1 where none was seen yet. */
  expectedUs(slot: number): number {
    return this.#meanUs[slot] as number;
  }

  observe(slot: number, us: number): void {
    const mean = this.#meanUs[slot] as number;
    this.#meanUs[slot] = mean < 0 ? us : mean + (us - mean) * WEIGHT;
  }
}
