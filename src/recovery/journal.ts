// The record of one recovery while it runs: every step with its times, saved at the start and at the end. A step
// has a deadline of its own, whatever the hands that carry it out promise. A store that fails stops no recovery.
import type { NodeAddress } from '../messages/index.ts';
import type { ClusterMemory, Store } from '../store/types.ts';
import type {
  RecoveryClock,
  RecoveryContext,
  RecoveryKind,
  RecoveryOutcome,
  RecoveryRecord,
  RecoveryStep,
} from './types.ts';

/** Beyond what a call was given itself, before it is abandoned: its own answer says more than ours. */
const GRACE_MS = 250;
const IMPACT_TIMEOUT_MS = 1_000;
/** How far back a change of primary that came to no end is looked for: rejoins may have followed it. */
const CONCLUDED_RECORDS = 100;
/** Steps of one record; a plan has far fewer, retries are what is bounded here. */
const MAX_STEPS = 500;

/** What a record says until its end is known; found in the history, it means that the process ended first. */
export const UNFINISHED = 'unfinished: Evenkeel ended, or runs still, in the middle of this recovery';

/** The same of one whose primary was opened before the process ended. */
export const ENDED_EARLY = 'clients were let to it; Evenkeel ended before the rest was done';

/** The same of one whose new primary, if it had come to one, was given up. */
export const FORSAKEN = 'Evenkeel ended in the middle of this recovery; clients went on at the primary before';

/**
 * What a process that starts makes of a change of primary that the one before it did not end: where its new primary was
 * saved, so that clients may have been let to it, it is done. Else whom it was about to promote, and perhaps has.
 */
export function concludeUnfinished(store: Store, memory: ClusterMemory): NodeAddress | null {
  const last = lastMove(store, memory.cluster);
  if (last?.reason !== UNFINISHED || last.to === null) return null;
  if (last.to !== memory.primary) return last.to;
  if (memory.epoch > last.epoch) {
    store.saveRecovery({ ...last, outcome: 'done', epoch: memory.epoch, reason: ENDED_EARLY });
  }
  return null;
}

/** Whom it was about to promote is not followed, and a process that comes after does not look for it: clients went on elsewhere. */
export function forsakeUnfinished(store: Store, cluster: string): void {
  for (let tries = 0; tries < CONCLUDED_RECORDS; tries++) {
    const last = lastMove(store, cluster);
    if (last?.reason !== UNFINISHED) return;
    store.saveRecovery({ ...last, reason: FORSAKEN });
  }
}

/** The newest change of primary that was begun. A refusal has touched nothing; what could not be followed waits still. */
function lastMove(store: Store, cluster: string): RecoveryRecord | undefined {
  return store.history({ cluster, limit: CONCLUDED_RECORDS }).find(({ kind, outcome, reason }) => {
    if (kind === 'follow') return outcome === 'done' || reason === UNFINISHED;
    return (kind === 'failover' || kind === 'switchover') && !reason.startsWith('refused: ');
  });
}

/** A step that did not succeed. */
export class StepError extends Error {
  readonly step: string;
  constructor(step: string, message: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'StepError';
    this.step = step;
  }
}

/** The text of anything that was thrown. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Rejects where `work` has not settled after `timeoutMs` and some grace. What it does later is not waited for. */
export async function withDeadline<T>(
  clock: RecoveryClock,
  timeoutMs: number,
  what: string,
  work: () => Promise<T>,
): Promise<T> {
  const over = new AbortController();
  const limitMs = timeoutMs + GRACE_MS;
  const running = work();
  const expired = clock.sleep(limitMs, over.signal).then(
    () => 'expired' as const,
    () => 'expired' as const,
  );
  try {
    const first = await Promise.race([running.then((value) => ({ value })), expired]);
    if (first === 'expired') throw new Error(`${what}: no answer within ${limitMs} ms`);
    return first.value;
  } finally {
    over.abort();
    // Abandoned work may still fail, and nobody is listening any more.
    running.catch(() => undefined);
  }
}

/** `20261122T204501Z-ab12`: sorts by time, short enough to type. */
export function recoveryId(wallMs: number, random: () => number): string {
  const time = new Date(wallMs).toISOString().replaceAll(/[-:]|\.\d+/g, '');
  return `${time}-${Math.floor(random() * 0x10000)
    .toString(16)
    .padStart(4, '0')}`;
}

/** Writes one RecoveryRecord. */
export class Journal {
  readonly record: RecoveryRecord;
  private readonly ctx: RecoveryContext;
  private readonly beganMs: number;
  private saves = true;

  constructor(ctx: RecoveryContext, kind: RecoveryKind, from: NodeAddress | null, to: NodeAddress | null) {
    this.ctx = ctx;
    this.beganMs = ctx.clock.nowMs();
    this.record = {
      id: recoveryId(ctx.clock.wallMs(), ctx.random ?? Math.random),
      kind,
      cluster: ctx.cluster,
      from,
      to,
      epoch: this.epochInStore(),
      outcome: 'failed',
      ...(ctx.analysis === undefined ? {} : { analysis: ctx.analysis }),
      reason: UNFINISHED,
      startedAt: new Date(ctx.clock.wallMs()).toISOString(),
      durationMs: 0,
      longestStallMs: 0,
      clientErrors: 0,
      steps: [],
    };
  }

  get id(): string {
    return this.record.id;
  }

  /** Saves the record as unfinished: from here on something is touched. */
  begin(): void {
    this.save();
    this.ctx.log.info({ recovery: this.id, kind: this.record.kind, to: this.record.to }, 'recovery begins');
    this.ctx.onProgress?.(this.record, null);
  }

  /** The candidate, once it is elected: saved before it is promoted, so that a process that comes after knows whom to look for. */
  elect(to: NodeAddress): void {
    const known = this.record.to === to;
    this.record.to = to;
    if (!known) this.save();
  }

  /**
   * Carries out and records one step. `timeoutMs` is what the work was told; past it and some grace it is abandoned.
   * Rejects with a StepError.
   */
  async step<T>(
    name: string,
    timeoutMs: number,
    work: () => Promise<T>,
    detail: (value: T) => string = () => 'ok',
  ): Promise<T> {
    const started = this.ctx.clock.nowMs();
    const entry: RecoveryStep = { name, startedMs: round(started - this.beganMs), durationMs: 0, detail: 'unfinished' };
    if (this.record.steps.length < MAX_STEPS) this.record.steps.push(entry);
    try {
      const value = await withDeadline(this.ctx.clock, timeoutMs, name, work);
      entry.detail = detail(value);
      return value;
    } catch (error) {
      entry.detail = `failed: ${errorText(error)}`;
      throw new StepError(name, errorText(error), error);
    } finally {
      entry.durationMs = round(this.ctx.clock.nowMs() - started);
      this.ctx.onProgress?.(this.record, entry);
    }
  }

  /** Records something that was found or decided, and took no time. */
  note(name: string, detail: string): void {
    const entry = { name, startedMs: round(this.ctx.clock.nowMs() - this.beganMs), durationMs: 0, detail };
    if (this.record.steps.length < MAX_STEPS) this.record.steps.push(entry);
    this.ctx.onProgress?.(this.record, entry);
  }

  /** Asks what clients noticed (only where `gateTouched`), closes the record and saves it. */
  async end(outcome: RecoveryOutcome, reason: string, gateTouched: boolean): Promise<RecoveryRecord> {
    const { record } = this;
    // The recovery is over now; to ask the workers for their view of it is not part of it.
    record.durationMs = round(this.ctx.clock.nowMs() - this.beganMs);
    record.outcome = outcome;
    record.reason = reason;
    if (gateTouched) {
      try {
        const impact = await withDeadline(this.ctx.clock, IMPACT_TIMEOUT_MS, 'impact', () =>
          this.ctx.gate.impact(this.id),
        );
        record.longestStallMs = round(impact.longestStallMs);
        record.clientErrors = impact.clientErrors;
      } catch (error) {
        this.note('impact', `failed: ${errorText(error)}; longestStallMs and clientErrors are not known`);
      }
    }
    if (this.saves) this.save();
    const fields = { recovery: record.id, kind: record.kind, outcome, reason, from: record.from, to: record.to };
    if (outcome === 'done') this.ctx.log.info(fields, 'recovery ended');
    else this.ctx.log.warn(fields, 'recovery ended');
    return record;
  }

  /**
   * Ends a recovery that was refused before anything was touched. A refusal that repeats the newest entry of the
   * history is not saved again: who retries whenever something changes would push out what did happen.
   */
  async refuse(reason: string, gateTouched: boolean): Promise<RecoveryRecord> {
    const newest = this.newestInStore();
    this.saves = !(newest?.kind === this.record.kind && newest.outcome === 'failed' && newest.reason === reason);
    return this.end('failed', reason, gateTouched);
  }

  private save(): void {
    try {
      this.ctx.store.saveRecovery(this.record);
    } catch (error) {
      this.ctx.log.warn({ recovery: this.id, error: errorText(error) }, 'the record of a recovery was not saved');
    }
  }

  private epochInStore(): number {
    try {
      return this.ctx.store.loadCluster(this.ctx.cluster)?.epoch ?? 0;
    } catch (error) {
      this.ctx.log.warn({ error: errorText(error) }, 'the store does not tell the epoch');
      return 0;
    }
  }

  private newestInStore(): RecoveryRecord | undefined {
    try {
      return this.ctx.store.history({ cluster: this.ctx.cluster, limit: 1 })[0];
    } catch {
      return undefined; // saving will fail too, and says so
    }
  }
}

/** Writes down what would have been done, where we only observe. It touches nothing, and is told as nothing done. */
export async function recordObserved(
  ctx: RecoveryContext,
  kind: RecoveryKind,
  node: NodeAddress | null,
  why: string,
): Promise<RecoveryRecord> {
  const journal = new Journal(ctx, kind, ctx.view().primary, node);
  return await journal.refuse(`${OBSERVED}${why}`, false);
}

/** Begins the reason of such a record. */
export const OBSERVED = 'observed only: ';

/** Runs a recovery so that it always ends with a record, whatever was thrown (say, a GTID text nobody can read). */
export async function guarded(journal: Journal, work: () => Promise<RecoveryRecord>): Promise<RecoveryRecord> {
  try {
    return await work();
  } catch (error) {
    journal.note('unexpected', errorText(error));
    return journal.end('failed', errorText(error), true);
  }
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10;
}
