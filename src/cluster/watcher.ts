// Looks at one node, for ever: a probe over a standing connection every interval, and over a new connection when
// the standing one broke or keeps us waiting. Reports every look; concludes nothing. A connection that the other
// side closes is reported in the same turn and followed by a look at once: so a killed process is known in
// milliseconds, not at the next interval.
import type { NodeAddress } from '../messages/index.ts';
import { ConnectionError, type ConnectSettings, ControlConnection, reachOf } from './connection.ts';
import type { LookBudget } from './pace.ts';
import { Prober } from './prober.ts';
import type { NodeFacts, NodeObservation, Reach } from './types.ts';

/** Monotonic time and timers, handed in. */
export interface MonitorClock {
  /** Monotonic, ms. */
  nowMs(): number;
  /** Calls back once after `ms`; returns the way to cancel it. */
  setTimeout(callback: () => void, ms: number): () => void;
}

/** Real time. */
export const monitorClock: MonitorClock = {
  nowMs: () => performance.now(),
  setTimeout(callback, ms) {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  },
};

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

type Attempt = { reach: Reach; facts: NodeFacts | null; startedAt: number };

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
  #running = false;
  #fresh: Promise<NodeObservation> | null = null;
  #wake: (() => void) | null = null;
  #hurried = false;
  /** `patient`: a node that is away is looked at less often. `doubt`: the primary is in doubt, look more often. */
  pace: 'patient' | 'steady' | 'doubt' = 'patient';
  /** Nothing happens in its cluster: its facts are asked for as seldom as the budget says. */
  calm = false;

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
    this.#settings.budget.joined();
    void this.#loop();
  }

  stop(): void {
    if (this.#running) this.#settings.budget.left();
    this.#running = false;
    this.#wake?.();
    this.#prober?.connection.close();
    this.#prober = null;
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
    const { intervalMs } = this.#settings;
    if (this.pace === 'doubt') return Math.max(10, intervalMs / 4);
    if (this.pace === 'steady') return intervalMs;
    if (this.#failures > 0) return this.#failures > PATIENT_LOOKS ? PATIENT_INTERVAL_MS : intervalMs;
    return this.#factsEveryMs();
  }

  #factsEveryMs(): number {
    const { budget, intervalMs } = this.#settings;
    return this.calm ? budget.factsEveryMs(intervalMs) : intervalMs;
  }

  async #pause(ms: number): Promise<void> {
    if (!this.#running) return;
    await new Promise<void>((resolve) => {
      const cancel = this.#settings.clock.setTimeout(resolve, ms);
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
    if (this.pace !== 'steady' || this.#failures > 0) return true;
    const { clock, intervalMs } = this.#settings;
    return clock.nowMs() - this.#factsAskedAt > this.#factsEveryMs() - intervalMs / 2;
  }

  async #ping(prober: Prober): Promise<Attempt> {
    const { clock, timeoutMs } = this.#settings;
    const startedAt = clock.nowMs();
    try {
      await prober.connection.ping(timeoutMs);
      return { reach: { state: 'up', rttMs: clock.nowMs() - startedAt }, facts: null, startedAt };
    } catch (error) {
      prober.connection.close();
      return { reach: reachOf(error), facts: null, startedAt };
    }
  }

  async #probe(prober: Prober, full: boolean): Promise<Attempt> {
    const { clock, timeoutMs } = this.#settings;
    const startedAt = clock.nowMs();
    this.#factsAskedAt = startedAt;
    try {
      const facts = await prober.probe(full, timeoutMs);
      return { reach: { state: 'up', rttMs: clock.nowMs() - startedAt }, facts, startedAt };
    } catch (error) {
      // A connection on which the facts cannot be read is of no use: a new one tells why.
      prober.connection.close();
      return { reach: reachOf(error), facts: null, startedAt };
    }
  }

  /** One at a time: who asks for a second one gets the first one's result. */
  async #lookFresh(): Promise<NodeObservation> {
    this.#fresh ??= this.#openAndProbe().finally(() => {
      this.#fresh = null;
    });
    return await this.#fresh;
  }

  async #openAndProbe(): Promise<NodeObservation> {
    const { clock, timeoutMs, connect } = this.#settings;
    const startedAt = clock.nowMs();
    let prober: Prober;
    try {
      prober = new Prober(await ControlConnection.open(connect, timeoutMs));
      await prober.constants(timeoutMs);
    } catch (error) {
      return this.#report({ reach: reachOf(error), facts: null, startedAt }, true);
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
