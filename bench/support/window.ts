// What clients waited while something happened: the longest stalls of a stretch of time, counted where an application
// would, from sending a statement to its answer. What is still unanswered at the end counts with its age, so that a
// client that hangs is the longest stall and not a missing one. Pure: time is handed in.
import { percentile } from './stats.ts';

/** More answers than this are counted but no longer kept for the percentiles. */
const MAX_SAMPLES = 2_000_000;

export interface WindowSummary {
  answers: number;
  errors: number;
  /** Statements that were answered without an error; a statement that is still waiting counts here, too. */
  longestMs: number;
  /** Statements that were answered with an error as well. */
  longestWithErrorsMs: number;
  /** The longest time that one client had no answer but errors: what an application that tries again notices. */
  longestGapMs: number;
  p50Ms: number;
  p99Ms: number;
}

interface ClientState {
  sentMs: number | null;
  goodMs: number;
}

export class StallWindow {
  readonly #clients: ClientState[];
  #samples: number[] = [];
  #answers = 0;
  #errors = 0;
  #longest = 0;
  #longestWithErrors = 0;
  #longestGap = 0;

  constructor(clients: number, nowMs: number) {
    this.#clients = Array.from({ length: clients }, () => ({ sentMs: null, goodMs: nowMs }));
  }

  sent(client: number, nowMs: number): void {
    this.#of(client).sentMs = nowMs;
  }

  answered(client: number, nowMs: number, ok: boolean): void {
    const state = this.#of(client);
    const tookMs = nowMs - (state.sentMs ?? nowMs);
    state.sentMs = null;
    this.#answers++;
    this.#longestWithErrors = Math.max(this.#longestWithErrors, tookMs);
    if (!ok) {
      this.#errors++;
      return;
    }
    this.#longest = Math.max(this.#longest, tookMs);
    this.#longestGap = Math.max(this.#longestGap, nowMs - state.goodMs);
    state.goodMs = nowMs;
    if (this.#samples.length < MAX_SAMPLES) this.#samples.push(tookMs);
  }

  /** Ends the stretch and begins the next; what is in flight belongs to both. */
  cut(nowMs: number): WindowSummary {
    let longest = this.#longest;
    let longestWithErrors = this.#longestWithErrors;
    let longestGap = this.#longestGap;
    for (const { sentMs, goodMs } of this.#clients) {
      const waitedMs = nowMs - (sentMs ?? nowMs);
      longest = Math.max(longest, waitedMs);
      longestWithErrors = Math.max(longestWithErrors, waitedMs);
      longestGap = Math.max(longestGap, nowMs - goodMs);
    }
    const summary: WindowSummary = {
      answers: this.#answers,
      errors: this.#errors,
      longestMs: longest,
      longestWithErrorsMs: longestWithErrors,
      longestGapMs: longestGap,
      p50Ms: percentile(this.#samples, 50),
      p99Ms: percentile(this.#samples, 99),
    };
    this.#samples = [];
    this.#answers = 0;
    this.#errors = 0;
    this.#longest = 0;
    this.#longestWithErrors = 0;
    this.#longestGap = 0;
    return summary;
  }

  #of(client: number): ClientState {
    const state = this.#clients[client];
    if (state === undefined) throw new Error(`no client ${client}`);
    return state;
  }
}
