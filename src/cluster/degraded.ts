// Whether the primary commits far slower than it used to: judged from how long our own small writes take. Pure. The
// idea: a disk that is about to die, a noisy neighbour, a broken controller cache show as commits that take many times
// as long as they did an hour ago, minute after minute, while everything still works. A burst of load shows the same for
// a while; so it takes a factor, a floor and a duration, and what was slow does not become what is usual.

/** What is known of commits on one primary. */
export interface CommitPace {
  /** How long one takes usually; null until enough were seen. */
  readonly usualMs: number | null;
  /** Seen for `usualMs`. */
  readonly samples: number;
  /** The newest, oldest first. */
  readonly recent: readonly { at: number; latencyMs: number }[];
  readonly degraded: Degraded | null;
}

export interface Degraded {
  since: number;
  usualMs: number;
  latencyMs: number;
}

export const newPace: CommitPace = { usualMs: null, samples: 0, recent: [], degraded: null };

/** A minute of writes on a primary at work; ten while it is idle. */
const LEARNED_SAMPLES = 120;
/** How much a new sample counts against those before it, once enough were seen. */
const WEIGHT = 1 / 1_200;
/** So many times as slow as usual … */
const FACTOR = 10;
/** … and at least this slow, … */
const LEAST_MS = 250;
/** … in most of the writes of a time that is configured, and of so many. */
const LEAST_WRITES = 10;
const SLOW_SHARE = 0.8;
const CALM_SHARE = 0.5;
const MAX_RECENT = 600;

/** After a write of ours was committed. `now` is monotonic, ms; `sustainedMs`: for so long commits must have been slow. */
export function paceAfter(pace: CommitPace, latencyMs: number, now: number, sustainedMs: number): CommitPace {
  const limitMs = Math.max(LEAST_MS, FACTOR * (pace.usualMs ?? 0));
  const learned = pace.samples >= LEARNED_SAMPLES;
  const recent = windowOf([...pace.recent, { at: now, latencyMs }], now, sustainedMs);
  const next = { ...pace, recent };
  if (!learned) return { ...next, ...learn(pace, latencyMs) };
  const slow = recent.filter((one) => one.latencyMs >= limitMs).length / recent.length;
  const [oldest] = recent;
  const long = recent.length >= LEAST_WRITES && oldest !== undefined && now - oldest.at >= sustainedMs;
  const usualMs = pace.usualMs ?? 0;
  if (pace.degraded !== null) {
    return slow < CALM_SHARE ? { ...next, degraded: null } : { ...next, degraded: { ...pace.degraded, latencyMs } };
  }
  if (long && slow >= SLOW_SHARE) {
    const since = recent.find((one) => one.latencyMs >= limitMs)?.at ?? now;
    return { ...next, degraded: { since, usualMs, latencyMs: median(recent) } };
  }
  return latencyMs >= limitMs ? next : { ...next, ...learn(pace, latencyMs) };
}

/** The writes of the last while, and the one before them: else they would never span it. */
function windowOf(recent: CommitPace['recent'], now: number, sustainedMs: number): CommitPace['recent'] {
  const first = recent.findIndex(({ at }) => now - at < sustainedMs);
  const kept = recent.slice(
    Math.max(0, Math.min(first < 0 ? recent.length : first, recent.length - LEAST_WRITES + 1) - 1),
  );
  return kept.slice(-MAX_RECENT);
}

function learn({ samples, usualMs }: CommitPace, latencyMs: number): Pick<CommitPace, 'samples' | 'usualMs'> {
  const seen = samples + 1;
  const weight = Math.max(WEIGHT, 1 / seen);
  return { samples: seen, usualMs: (usualMs ?? latencyMs) * (1 - weight) + latencyMs * weight };
}

function median(recent: CommitPace['recent']): number {
  const sorted = recent.map(({ latencyMs }) => latencyMs).toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
