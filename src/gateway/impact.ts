// What the clients of one cluster notice of a recovery: how long the worst of them waited, how many got an error.
// A worker's share; the control process adds the shares up.
import type { Impact } from '../messages/index.ts';

/** Two incidents closer together than this are one to the client. */
const QUIET_MS = 5000;

export class ImpactMeter {
  #impact: Impact = { heldStatements: 0, longestStallMs: 0, clientErrors: 0 };
  #lastMs = Number.NEGATIVE_INFINITY;

  /** The way closes: what comes belongs to this incident. */
  begin(nowMs: number): void {
    if (nowMs - this.#lastMs > QUIET_MS) this.take();
    this.#lastMs = nowMs;
  }

  /** A statement waited this long in all, from its arrival to its answer. */
  stalled(durationMs: number): void {
    this.#impact.heldStatements++;
    this.#impact.longestStallMs = Math.max(this.#impact.longestStallMs, durationMs);
  }

  failed(): void {
    this.#impact.clientErrors++;
  }

  take(): Impact {
    const impact = this.#impact;
    this.#impact = { heldStatements: 0, longestStallMs: 0, clientErrors: 0 };
    return impact;
  }
}
