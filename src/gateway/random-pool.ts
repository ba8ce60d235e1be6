// Random bytes in small portions, as every greeting needs some: a call for each costs more than the bytes.
import { randomFillSync } from 'node:crypto';

const POOL_BYTES = 4096;

export class RandomPool {
  readonly #bytes = Buffer.allocUnsafeSlow(POOL_BYTES);
  #at = POOL_BYTES;

  /** A copy: no byte is given out twice, nor changed by who takes it. At most POOL_BYTES. */
  take(bytes: number): Buffer {
    if (this.#at + bytes > POOL_BYTES) {
      randomFillSync(this.#bytes);
      this.#at = 0;
    }
    const taken = Buffer.from(this.#bytes.subarray(this.#at, this.#at + bytes));
    this.#bytes.fill(0, this.#at, this.#at + bytes);
    this.#at += bytes;
    return taken;
  }
}
