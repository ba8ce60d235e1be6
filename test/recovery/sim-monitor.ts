// What a control process makes of the simulated cluster: one look at every node each tick, over links that may be cut,
// and from that the detector's word, the view and who is primary, put together as ClusterMonitor does it.
import { type DetectorEvent, type DetectorState, detect, newDetector } from '../../src/cluster/detector.ts';
import { type CommitHealth, refusedSince } from '../../src/cluster/index.ts';
import { writersBeside } from '../../src/cluster/primary.ts';
import type { ClusterView, NodeFacts, NodeObservation, PrimaryHealth, Reach } from '../../src/cluster/types.ts';
import { computeView, NO_VERDICTS, unobserved } from '../../src/cluster/view.ts';
import type { NodeAddress } from '../../src/messages/index.ts';
import { type SimNode, uuidOf, type WorldOptions } from './model.ts';

export const TICK_MS = 100;
const SILENT_AFTER_MS = 1_500;
const DEADLINE_MS = 2_000;

/** The world, as far as a process can see it. */
export interface Sights {
  readonly nodes: readonly SimNode[];
  nowMs(): number;
  reach(node: SimNode): Reach;
  facts(node: SimNode): NodeFacts;
  /** Commits there do not end. */
  isStuck(node: SimNode): boolean;
}

export class SimMonitor {
  view: ClusterView = { cluster: 'shop', flavor: null, primary: null, nodes: [], problems: [] };
  readonly #sights: Sights;
  readonly #options: WorldOptions;
  readonly #secondWriters: Set<NodeAddress>;
  readonly #demoted: Set<NodeAddress>;
  readonly #seen: Map<NodeAddress, NodeObservation>;
  #detector: DetectorState;
  #primary: NodeAddress | null;
  #primarySince = Number.NEGATIVE_INFINITY;
  #remembered: NodeAddress | null;
  #promised: NodeAddress | null;
  #verdicts = NO_VERDICTS;
  #stuckSince: number | null = null;

  constructor(
    sights: Sights,
    options: WorldOptions,
    {
      demoted,
      primary,
      promised,
    }: { primary: NodeAddress | null; demoted: readonly NodeAddress[]; promised: NodeAddress | null },
  ) {
    this.#sights = sights;
    this.#options = options;
    this.#primary = primary;
    this.#remembered = primary;
    this.#promised = promised;
    this.#secondWriters = new Set(demoted);
    this.#demoted = new Set(demoted);
    this.#seen = new Map(sights.nodes.map(({ name }) => [name, unobserved(name)]));
    this.#detector = newDetector(sights.nowMs());
  }

  get health(): PrimaryHealth {
    return this.#detector.health;
  }

  /** Whether it was seen to take writes by the last look. */
  writes(node: NodeAddress): boolean {
    const seen = this.#seen.get(node);
    return seen?.reach.state === 'up' && seen.facts?.readOnly === false;
  }

  look(): void {
    const now = this.#sights.nowMs();
    for (const node of this.#sights.nodes) {
      const reach = this.#sights.reach(node);
      const before = this.#seen.get(node.name) ?? unobserved(node.name);
      const facts = reach.state === 'up' ? this.#sights.facts(node) : null;
      this.#seen.set(node.name, {
        node: node.name,
        at: now,
        reach,
        ...refusedSince(before, reach, now),
        facts: facts ?? before.facts,
        factsAt: facts === null ? before.factsAt : now,
      });
      if (node.name === this.#primary) this.#feed({ type: 'look', fresh: true, startedAt: now, reach });
      else if (facts === null) this.#feed({ type: 'replica', node: node.name, facts: null });
      else if (node.source?.name !== this.#primary || facts.replication === null)
        this.#feed({ type: 'replica-gone', node: node.name });
      else this.#feed({ type: 'replica', node: node.name, facts: facts.replication });
    }
    this.#feed({ type: 'tick' });
    this.#refresh();
  }

  setPrimary(node: NodeAddress): void {
    this.#primarySince = this.#sights.nowMs();
    this.#remembered = node;
    this.#promised = null;
    if (node === this.#primary) return;
    this.#adopt(node);
    this.#refresh();
  }

  commit(): CommitHealth {
    const primary = this.#sights.nodes.find(({ name }) => name === this.#primary);
    const hangs = primary !== undefined && this.#sights.isStuck(primary);
    const now = this.#sights.nowMs();
    this.#stuckSince = hangs ? (this.#stuckSince ?? now) : null;
    if (this.#stuckSince === null || now - this.#stuckSince < DEADLINE_MS) return { state: 'ok', latencyMs: 1 };
    return { state: 'stuck', analysis: 'primary-stalled', since: this.#stuckSince, reason: 'simulated' };
  }

  #feed(event: DetectorEvent): void {
    const settings = { silentAfterMs: SILENT_AFTER_MS, intervalMs: TICK_MS };
    this.#detector = detect(this.#detector, event, settings, this.#sights.nowMs());
  }

  #adopt(node: NodeAddress): void {
    if (this.#primary !== null) this.#demote(this.#primary);
    this.#primary = node;
    this.#detector = newDetector(this.#sights.nowMs());
    this.#forgive(node);
    this.#verdicts = NO_VERDICTS;
  }

  #demote(node: NodeAddress): void {
    this.#secondWriters.add(node);
    this.#demoted.add(node);
  }

  #forgive(node: NodeAddress): void {
    this.#secondWriters.delete(node);
    this.#demoted.delete(node);
  }

  #compute() {
    return computeView({
      cluster: 'shop',
      durability: this.#options.durability,
      acks: 1,
      maxLagMs: 5_000,
      observations: [...this.#seen.values()],
      primary: this.#primary,
      primarySince: this.#primarySince,
      remembered: this.#remembered,
      promised: this.#promised,
      health: this.#detector.health,
      commit: this.commit(),
      secondWriters: this.#secondWriters,
      demoted: this.#demoted,
      identities: new Map(this.#sights.nodes.map(({ id, name }) => [name, uuidOf(id)])),
      aliases: new Map(),
      ...this.#verdicts,
    });
  }

  #refresh(): void {
    let result = this.#compute();
    this.#verdicts = { errant: result.errant, ahead: result.ahead };
    if (result.choice.node !== null && result.choice.node !== this.#primary) {
      this.#adopt(result.choice.node);
      result = this.#compute();
    }
    this.view = result.view;
    for (const { node } of writersBeside(result.view.nodes)) this.#secondWriters.add(node);
    for (const { node, observation } of result.view.nodes) {
      // A replica still: it was not promoted, and what happens to it from now on is somebody's doing.
      if (node === this.#promised && observation.reach.state === 'up' && observation.facts?.replication)
        this.#promised = null;
      if (observation.reach.state === 'up' && observation.facts?.readOnly === true) this.#forgive(node);
    }
  }
}
