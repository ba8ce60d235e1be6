// The time by which nodes are judged, and by how much this process itself is late: what it could not hear in time because it
// was stopped, or starved of processor time, says nothing about a node.

/** Monotonic time and timers, handed in. */
export interface MonitorClock {
  /** Monotonic, ms. */
  nowMs(): number;
  /** Calls back once after `ms`; returns the way to cancel it. */
  setTimeout(callback: () => void, ms: number): () => void;
  /** For how long this process has not run though it wanted to, all in all, ms; a process that is never late may leave it out. */
  lateMs?(): number;
}

const BEAT_MS = 50;
/** A timer is this late on any machine that has something to do. */
const USUAL_MS = 30;

/** Counts how late a timer comes, as long as anybody asks. `now` and `every` are real time's. */
export class OwnDelay {
  readonly #now: () => number;
  #dueAt: number;
  #totalMs = 0;

  constructor(now: () => number, every: (callback: () => void, ms: number) => void) {
    this.#now = now;
    this.#dueAt = now() + BEAT_MS;
    every(() => this.#beat(), BEAT_MS);
  }

  /** All of it so far; what has not ended yet counts. */
  get totalMs(): number {
    return this.#totalMs + this.#late();
  }

  #beat(): void {
    this.#totalMs += this.#late();
    this.#dueAt = this.#now() + BEAT_MS;
  }

  #late(): number {
    const late = this.#now() - this.#dueAt;
    return late > USUAL_MS ? late : 0;
  }
}

let ownDelay: OwnDelay | null = null;

/** Real time. */
export const monitorClock: MonitorClock = {
  nowMs: () => performance.now(),
  setTimeout(callback, ms) {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
  lateMs() {
    ownDelay ??= new OwnDelay(
      () => performance.now(),
      (callback, ms) => setInterval(callback, ms).unref(),
    );
    return ownDelay.totalMs;
  },
};
