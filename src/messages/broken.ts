// Evenkeel, broken on purpose: each mode takes away one thing that the promises rest on, so that `evenkeel drill` can be
// shown to notice (test/scenarios/drill-broken.test.ts). NEVER set this where data counts: confirmed writes are lost, or
// applied twice. It takes a word that nobody sets by accident, `evenkeel start` says it at the top of its output and its
// log, and any other word ends the process. This is the only place that reads it.

const MODES = ['resend-on-loss', 'release-before-fence', 'no-replay-comparison', 'replay-without-begin'] as const;

/**
 * `resend-on-loss`: what was on its way when a server was lost is sent again, without asking what became of it.
 * `release-before-fence`: a switchover lets clients go on before the old primary is fenced.
 * `no-replay-comparison`: a replayed transaction goes on, whatever its statements answer.
 * `replay-without-begin`: a transaction that is run again has no BEGIN, so that each of its statements commits by itself.
 */
export type BrokenMode = (typeof MODES)[number];

export const BREAKS_PROMISES = 'EVENKEEL_BREAKS_ITS_PROMISES_FOR_A_TEST';

/** Exported for its test. */
export function brokenModeOf(word: string | undefined): BrokenMode | null {
  if (word === undefined) return null;
  const mode = MODES.find((one) => one === word);
  if (mode === undefined) throw new Error(`${BREAKS_PROMISES}=${word} is for tests of Evenkeel alone: unset it`);
  return mode;
}

/** Null, as it is everywhere but in those tests. */
export const broken: BrokenMode | null = brokenModeOf(process.env[BREAKS_PROMISES]);
