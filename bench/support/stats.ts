// Numbers from samples. Percentiles are nearest-rank: always a value that was really measured, never one in between.

/** The smallest sample that at least `percent` of all samples do not exceed; NaN where there is none. */
export function percentile(samples: readonly number[], percent: number): number {
  if (samples.length === 0) return Number.NaN;
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[rankOf(sorted.length, percent)] ?? Number.NaN;
}

export function median(samples: readonly number[]): number {
  return percentile(samples, 50);
}

export function sum(samples: readonly number[]): number {
  return samples.reduce((total, sample) => total + sample, 0);
}

/** A value and how often it was measured. */
export interface Bucket {
  value: number;
  count: number;
}

/** Like `percentile`, of a histogram in ascending order of value. */
export function bucketPercentile(buckets: readonly Bucket[], percent: number): number {
  const rank = rankOf(sum(buckets.map(({ count }) => count)), percent);
  let before = 0;
  for (const { value, count } of buckets) {
    before += count;
    if (before > rank) return value;
  }
  return Number.NaN;
}

function rankOf(count: number, percent: number): number {
  return Math.max(0, Math.ceil((count * percent) / 100) - 1);
}
