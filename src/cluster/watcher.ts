// Looks at one node, for ever: a probe over a standing connection every interval, and over a new connection when
// the standing one broke or keeps us waiting. Reports every look; concludes nothing. A connection that the other
// side closes is reported in the same turn and followed by a look at once: so a killed process is known in
// milliseconds, not at the next interval.
import type { NodeAddress } from '../messages/index.ts';
import type { MonitorClock } from './clock.ts';
import { ConnectionError, type ConnectSettings, ControlConnection, reachOf } from './connection.ts';
import type { LookBudget, LookMode } from './pace.ts';
import { Prober } from './prober.ts';
import type { NodeFacts, NodeObservation, Reach } from './types.ts';

export interface WatcherSettings {
  connect: ConnectSettings;
  clock: MonitorClock;
  intervalMs: number;
  /** For connecting and for each query. */
  timeoutMs: number;
  /** The name of the lock to hold; null where we only observe. */
  claim: string | null;
  budget: LookBudget;
}

export interface WatcherHooks {
  /** `news`: false where it answered, and was asked for nothing. */
  onLook(look: { fresh: boolean; startedAt: number; observation: NodeObservation; news: boolean }): void;
  /** The standing connection was closed by the other side. */
  onClosed(error: string): void;
}

/** A standing connection that has not answered after this is doubted: a new one is tried beside it. */
const HEDGE_AFTER_MS = 200;
/** A node that has been away for this many looks is looked at less often, unless it matters. */
const PATIENT_LOOKS = 50;
const PATIENT_INTERVAL_MS = 1000;
const MAX_OWN_IDS = 100;
const URGENCY: Readonly<Record<LookMode, number>> = { calm: 0, awake: 1, doubt: 2 };
/** A look for which we were late by this part of its time did not have that time. */
const SLOW_SHARE = 0.25;
/** After so many of them in a row the next one counts: a node may be dead though we are slow. */
const MAX_SLOW_LOOKS = 2;

/** `patient`: a node that is away is looked at less often. `doubt`: the primary is in doubt, look more often. */
type Pace = 'patient' | 'steady' | 'doubt';
/** `slow`: it is we who were, and nothing is known. */
type Attempt = { reach: Reach; facts: NodeFacts | null; startedAt: number; slow?: boolean };

export class NodeWatcher {
  readonly node: NodeAddress;
  readonly #settings: WatcherSettings;
  readonly #hooks: WatcherHooks;
  #prober: Prober | null = null;
  #observation: NodeObservation;
  #fullAt = Number.NEGATIVE_INFINITY;
  #factsAskedAt = Number.NEGATIVE_INFINITY;
  /** When the latest of the answered looks began. */
  #answeredAt = Number.NEGATIVE_INFINITY;
  /** Of connections that may hold the lock; a few, since old ones end. */
  readonly #ownIds = new Set<number>();
  #failures = 0;
  /** In a row. */
  #slowLooks = 0;
  #running = false;
  #fresh: Promise<NodeObservation> | null = null;
  #wake: (() => void) | null = null;
  #hurried = false;
  #pace: Pace = 'patient';
  #calm = false;
  /** As the budget knows it; null while this does not run. */
  #mode: LookMode | null = null;
  #isPinged = false;

  constructor(node: NodeAddress, settings: WatcherSettings, hooks: WatcherHooks, observation: NodeObservation) {
    this.node = node;
    this.#settings = settings;
    this.#hooks = hooks;
    this.#observation = observation;
  }

  get observation(): NodeObservation {
    return this.#observation;
  }

  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#moved();
    void this.#loop();
  }

  stop(): void {
    this.#running = false;
    this.#moved();
    this.#wake?.();
    this.#prober?.connection.close();
    this.#prober = null;
  }

  /** `calm`: nothing happens in its cluster. Where it is looked at more often than before, that begins now. */
  goAt(pace: Pace, calm: boolean): void {
    const before = this.#mode;
    this.#pace = pace;
    this.#calm = calm;
    this.#moved();
    if (before !== null && this.#mode !== null && URGENCY[this.#mode] > URGENCY[before]) this.hurry();
  }

  #moved(): void {
    const { budget } = this.#settings;
    const mode = this.#running ? this.#modeNow : null;
    budget.move(this.#mode, mode);
    this.#mode = mode;
    const isPinged = this.#running && this.#pace === 'steady';
    if (isPinged !== this.#isPinged) budget.ping(isPinged ? 1 : -1);
    this.#isPinged = isPinged;
  }

  get #modeNow(): LookMode {
    if (this.#pace === 'doubt') return 'doubt';
    return this.#calm ? 'calm' : 'awake';
  }

  /** The next probe begins now. */
  hurry(): void {
    this.#hurried = true;
    this.#factsAskedAt = Number.NEGATIVE_INFINITY;
    this.#wake?.();
  }

  /** A full look that begins now: over the standing connection and, if that fails, over a new one. Never rejects. */
  async lookNow(): Promise<NodeObservation> {
    const prober = this.#prober;
    if (prober !== null && prober.connection.closed === null) {
      const attempt = await this.#probe(prober, true);
      if (attempt.reach.state === 'up') return this.#report(attempt, false);
      this.#report(attempt, false);
    }
    return await this.#lookFresh();
  }

  async #loop(): Promise<void> {
    while (this.#running) {
      this.#hurried = false;
      await this.#once();
      if (!this.#hurried) await this.#pause(this.#pauseMs());
    }
  }

  #pauseMs(): number {
    const { budget, intervalMs } = this.#settings;
    if (this.#pace === 'steady') return budget.pingEveryMs(intervalMs);
    if (this.#pace === 'patient' && this.#failures > PATIENT_LOOKS) return PATIENT_INTERVAL_MS;
    return this.#factsEveryMs();
  }

  #factsEveryMs(): number {
    const { budget, intervalMs } = this.#settings;
    const mode = this.#failures > 0 && this.#modeNow === 'calm' ? 'awake' : this.#modeNow;
    return budget.everyMs(mode, mode === 'doubt' ? Math.max(10, intervalMs / 4) : intervalMs);
  }

  async #pause(ms: number): Promise<void> {
    if (!this.#running) return;
    const { budget, clock } = this.#settings;
    await new Promise<void>((resolve) => {
      const cancel = clock.setTimeout(resolve, budget.togetherMs(clock.nowMs(), ms));
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
    this.#wake = null;
  }

  async #once(): Promise<void> {
    const prober = this.#prober;
    if (prober === null || prober.connection.closed !== null) {
      await this.#lookFresh();
      return;
    }
    const { budget, clock } = this.#settings;
    const cancel = clock.setTimeout(() => void this.#lookFresh(), HEDGE_AFTER_MS);
    const full = clock.nowMs() - this.#fullAt >= budget.fullEveryMs();
    const attempt = full || this.#wantsFacts() ? await this.#probe(prober, full) : await this.#ping(prober);
    cancel();
    if (full && attempt.reach.state === 'up') this.#fullAt = clock.nowMs();
    this.#report(attempt, false);
    if (attempt.reach.state !== 'up') this.#hurried = true; // ask again over a new connection, now
  }

  /** Of a primary there are looks in between; whoever is hurried is asked for everything. */
  #wantsFacts(): boolean {
    if (this.#pace !== 'steady' || this.#failures > 0) return true;
    const { clock, intervalMs } = this.#settings;
    return clock.nowMs() - this.#factsAskedAt > this.#factsEveryMs() - intervalMs / 2;
  }

  #ping(prober: Prober): Promise<Attempt> {
    return this.#asked(prober, async (timeoutMs) => {
      await prober.connection.ping(timeoutMs);
      return null;
    });
  }

  #probe(prober: Prober, full: boolean): Promise<Attempt> {
    this.#factsAskedAt = this.#settings.clock.nowMs();
    return this.#asked(prober, (timeoutMs) => prober.probe(full, timeoutMs));
  }

  async #asked(prober: Prober, ask: (timeoutMs: number) => Promise<NodeFacts | null>): Promise<Attempt> {
    const { clock, timeoutMs } = this.#settings;
    const startedAt = clock.nowMs();
    const isSlow = this.#watchOurselves();
    try {
      const facts = await ask(timeoutMs);
      return { reach: { state: 'up', rttMs: clock.nowMs() - startedAt }, facts, startedAt };
    } catch (error) {
      // A connection on which the facts cannot be read is of no use: a new one tells why.
      prober.connection.close();
      return { reach: reachOf(error), facts: null, startedAt, slow: isSlow(error) };
    }
  }

  /** Tells of an error that follows whether it may be our own lateness that made it. */
  #watchOurselves(): (error: unknown) => boolean {
    const { clock, timeoutMs } = this.#settings;
    const before = clock.lateMs?.() ?? 0;
    return (error) => {
      if (!(error instanceof ConnectionError) || error.code !== 'timeout') return false;
      return (clock.lateMs?.() ?? 0) - before > timeoutMs * SLOW_SHARE;
    };
  }

  /** One at a time: who asks for a second one gets the first one's result. */
  async #lookFresh(): Promise<NodeObservation> {
    const { budget } = this.#settings;
    this.#fresh ??= budget
      .opening(this.#modeNow, () => this.#openAndProbe())
      .finally(() => {
        this.#fresh = null;
      });
    return await this.#fresh;
  }

  async #openAndProbe(): Promise<NodeObservation> {
    const { clock, timeoutMs, connect } = this.#settings;
    const startedAt = clock.nowMs();
    const isSlow = this.#watchOurselves();
    let prober: Prober;
    try {
      prober = new Prober(await ControlConnection.open(connect, timeoutMs));
      await prober.constants(timeoutMs);
    } catch (error) {
      return this.#report({ reach: reachOf(error), facts: null, startedAt, slow: isSlow(error) }, true);
    }
    // It let us in and answered: it lives, whatever becomes of the rest.
    const reach: Reach = { state: 'up', rttMs: clock.nowMs() - startedAt };
    let facts: NodeFacts | null = null;
    try {
      facts = await prober.probe(true, timeoutMs);
      this.#keep(prober, startedAt);
    } catch (error) {
      prober.connection.close();
      const deniedFacts = error instanceof ConnectionError && error.code === 'server';
      if (deniedFacts) return this.#report({ reach: reachOf(error), facts: null, startedAt }, true);
    }
    return this.#report({ reach, facts, startedAt }, true);
  }

  /** `at`: when it was asked for everything. */
  #keep(prober: Prober, at: number): void {
    const old = this.#prober;
    const usable = old !== null && old.connection.closed === null;
    if (!this.#running || usable) {
      prober.connection.close();
      return;
    }
    this.#prober = prober;
    this.#fullAt = at;
    this.#factsAskedAt = at;
    const { claim } = this.#settings;
    if (claim !== null) {
      const [oldest] = this.#ownIds;
      if (this.#ownIds.size >= MAX_OWN_IDS && oldest !== undefined) this.#ownIds.delete(oldest);
      this.#ownIds.add(prober.connection.id);
      prober.claims = { name: claim, ownIds: this.#ownIds };
    }
    prober.connection.onClose = (error) => {
      if (this.#prober !== prober) return;
      this.#prober = null;
      if (error.code === 'timeout' || !this.#running) return; // we gave up on it; the look itself reports that
      this.#hooks.onClosed(error.message);
      this.hurry();
    };
  }

  #report(attempt: Attempt, fresh: boolean): NodeObservation {
    const { reach, facts, startedAt } = attempt;
    const before = this.#observation;
    // A look that began later was answered meanwhile: what failed was a connection, not the node.
    if (reach.state !== 'up' && before.reach.state === 'up' && startedAt < this.#answeredAt) return before;
    if (attempt.slow === true && ++this.#slowLooks <= MAX_SLOW_LOOKS) return before;
    this.#slowLooks = 0;
    if (reach.state === 'up') this.#answeredAt = Math.max(this.#answeredAt, startedAt);
    this.#failures = reach.state === 'up' ? 0 : this.#failures + 1;
    this.#observation = {
      node: this.node,
      at: this.#settings.clock.nowMs(),
      reach,
      ...refusedSince(before, reach, startedAt),
      facts: facts === null ? before.facts : steady(facts, before.facts),
      factsAt: facts === null ? before.factsAt : startedAt,
    };
    const news = facts !== null || reach.state !== 'up' || before.reach.state !== 'up';
    if (this.#running) this.#hooks.onLook({ fresh, startedAt, observation: this.#observation, news });
    return this.#observation;
  }
}

/** As an observation has it, of one that follows `before`. */
export function refusedSince(before: NodeObservation, reach: Reach, at: number): Pick<NodeObservation, 'refusedSince'> {
  return reach.state === 'refused' ? { refusedSince: before.refusedSince ?? at } : {};
}

/**
 * The start time is derived from whole seconds of uptime: it wobbles by one though nothing was restarted. And a new
 * connection has not asked yet whose the lock is.
 */
function steady(told: NodeFacts, before: NodeFacts | null): NodeFacts {
  if (before === null || before.identity !== told.identity) return told;
  const facts = { ...told, claim: told.claim ?? before.claim };
  return Math.abs(before.startedAtMs - facts.startedAtMs) > 2000
    ? facts
    : { ...facts, startedAtMs: before.startedAtMs };
}
