// The worker's routing table: which node an endpoint's statements go to now, or why they wait.
//
// A gate is closed by the control process (no primary, recovery, pause) or by this worker's own suspicion: the first
// broken connection closes it, before anybody has decided anything, and the control process's look opens it again.
import type {
  AsideTerms,
  ClusterRoute,
  EndpointRoute,
  EndpointSettings,
  EvidenceKind,
  HoldReason,
  NodeAddress,
  RouteNode,
} from '../messages/index.ts';
import { Hold, type HoldBudget, type HoldLimits } from './hold.ts';
import type { Way } from './split.ts';

interface Suspicion {
  kind: Exclude<EvidenceKind, 'idle-closed'>;
  evidence: number;
  sinceMs: number;
  sentMs: number;
  detail: string;
  /** The control process has looked and is not content: only a newer route opens. */
  confirmed: boolean;
}

export type Pick = { node: NodeAddress } | { closed: HoldReason };

type Fit = (node: NodeAddress) => boolean;
const ANY: Fit = () => true;
const NOBODY: ReadonlySet<NodeAddress> = new Set();

/** The way for an endpoint's statements. */
export class Gate {
  readonly hold: Hold;
  readonly cluster: ClusterRouting;
  #route: EndpointRoute;
  #near: ReadonlySet<NodeAddress>;
  #pausedUntilMs: number | null = null;

  constructor(cluster: ClusterRouting, { route, near }: EndpointSettings, hold: Hold) {
    this.cluster = cluster;
    this.#route = route;
    this.#near = new Set(near);
    this.hold = hold;
  }

  get wantsPrimary(): boolean {
    return this.#route.kind === 'primary' || this.#route.kind === 'auto';
  }

  /** An operator's pause, to this time at the latest; null ends it. `refresh` makes it take effect. */
  pause(untilMs: number | null): void {
    this.#pausedUntilMs = untilMs;
  }

  /** On what terms reads may leave the primary; null: none does. */
  get split(): AsideTerms | null {
    const route = this.#route;
    if (route.kind === 'auto') return route;
    return route.kind === 'primary' ? (route.aside ?? null) : null;
  }

  /** Of those that may leave the primary: only what a rule sends away does. */
  get staysUnlessRuled(): boolean {
    return this.#route.kind === 'primary';
  }

  /** A replica for a read that may leave the primary, of those that `fit`; null: the primary. It may be had while the primary may not. */
  pickAside(fit: (node: NodeAddress) => boolean): NodeAddress | null {
    const { split } = this;
    if (split === null || this.#pausedUntilMs !== null) return null;
    return this.cluster.leastLoaded(
      (each) => this.cluster.able(each, false, split.maxLagMs) && fit(each.node),
      this.#near,
    );
  }

  /** `last`: where the session was before; it stays there where no other is less busy. `fit`: of the replicas or fixed members. */
  pick(last: NodeAddress | null = null, fit: Fit = ANY): Pick {
    if (this.#pausedUntilMs !== null) return { closed: 'paused' };
    const route = this.#route;
    switch (route.kind) {
      case 'primary':
      case 'auto':
        return this.cluster.pickPrimary();
      case 'replica':
        return this.cluster.pickReplica(route.maxLagMs, route.fallbackToPrimary, this.#near, last, fit);
      case 'fixed':
        return this.cluster.pickAmong(route.nodes, last, fit);
    }
  }

  /** May a statement that already has a connection to `node` go on using it? */
  admits(node: NodeAddress, way: Way): boolean {
    const route = this.#route;
    switch (route.kind) {
      case 'auto':
      case 'primary':
        // What has begun may end there, though the replica has fallen behind, or is the primary by now.
        if (way === 'replica') return this.cluster.drains(node) || this.cluster.serves(node, true, null);
        return this.cluster.route?.primary === node;
      case 'replica':
        return this.cluster.drains(node) || this.cluster.serves(node, route.fallbackToPrimary, route.maxLagMs);
      case 'fixed':
        return route.nodes.includes(node) && (this.cluster.drains(node) || this.cluster.serves(node, true, null));
    }
  }

  /** A read that is in flight on a replica which has fallen behind since: it comes to its end there. */
  letsEnd(node: NodeAddress): boolean {
    return this.#route.kind === 'replica' && this.cluster.serves(node, this.#route.fallbackToPrimary, null);
  }

  /** Closes or opens the hold as the pick says. */
  refresh(nowMs: number): void {
    if (this.#pausedUntilMs !== null && nowMs >= this.#pausedUntilMs) this.#pausedUntilMs = null;
    const pick = this.pick();
    if ('closed' in pick) {
      if (this.hold.passes) this.cluster.closing();
      this.hold.close(pick.closed, nowMs);
    } else {
      this.hold.open();
    }
  }
}

export interface EvidenceSink {
  evidence(cluster: string, node: NodeAddress, kind: EvidenceKind, evidence: number, detail: string): void;
  /** How many statements run on a node: readers go where there are fewest. */
  load(node: NodeAddress): number;
  /** A way that was open closes. */
  closing(cluster: string): void;
}

/** One cluster's route and what this worker itself holds against its nodes. */
export class ClusterRouting {
  readonly cluster: string;
  route: ClusterRoute | null = null;
  /** When another node became the primary than was it before, on the worker's clock; null: never yet. */
  primarySinceMs: number | null = null;
  readonly gates: Gate[] = [];
  #lastPrimary: NodeAddress | null = null;
  #suspicions = new Map<NodeAddress, Suspicion>();
  #sink: EvidenceSink;
  #evidence = 0;
  #turn = 0;

  constructor(cluster: string, sink: EvidenceSink) {
    this.cluster = cluster;
    this.#sink = sink;
  }

  /** Takes a newer route. One of an older epoch is refused: that would be a step back to a demoted primary. */
  apply(route: ClusterRoute, nowMs: number, beforeOpening: () => void): boolean {
    if (this.route !== null && route.epoch < this.route.epoch) return false;
    const newEpoch = this.route === null || route.epoch > this.route.epoch;
    if (this.#lastPrimary !== null && route.primary !== null && route.primary !== this.#lastPrimary) {
      this.primarySinceMs = nowMs;
    }
    this.#lastPrimary = route.primary ?? this.#lastPrimary;
    this.route = route;
    for (const [node, suspicion] of this.#suspicions) {
      const known = suspicion.confirmed && (this.#listedServing(node) || node !== route.primary);
      if ((newEpoch && node === route.primary) || known) {
        this.#suspicions.delete(node);
      }
    }
    beforeOpening();
    this.refresh(nowMs);
    return true;
  }

  closing(): void {
    this.#sink.closing(this.cluster);
  }

  refresh(nowMs: number): void {
    for (const gate of this.gates) gate.refresh(nowMs);
  }

  pickPrimary(): Pick {
    const { route } = this;
    if (route === null) return { closed: 'no-primary' };
    if (route.gate.state === 'closed') return { closed: route.gate.reason };
    if (route.primary === null) return { closed: 'no-primary' };
    const suspicion = this.#suspicions.get(route.primary);
    return suspicion === undefined ? { node: route.primary } : { closed: suspicion.kind };
  }

  pickReplica(
    maxLagMs: number | null,
    fallbackToPrimary: boolean,
    near: ReadonlySet<NodeAddress>,
    last: NodeAddress | null,
    fit: Fit = ANY,
  ): Pick {
    const node = this.leastLoaded((each) => this.able(each, false, maxLagMs) && fit(each.node), near, last);
    if (node !== null) return { node };
    const primary = fallbackToPrimary ? this.pickPrimary() : null;
    return primary === null || ('node' in primary && !fit(primary.node)) ? { closed: 'no-replica' } : primary;
  }

  pickAmong(nodes: readonly NodeAddress[], last: NodeAddress | null, fit: Fit = ANY): Pick {
    const able = (each: RouteNode): boolean =>
      nodes.includes(each.node) && this.able(each, true, null) && fit(each.node);
    const node = this.leastLoaded(able, NOBODY, last);
    return node === null ? { closed: 'no-replica' } : { node };
  }

  serves(node: NodeAddress, primaryToo: boolean, maxLagMs: number | null): boolean {
    const listed = this.route?.nodes.find((each) => each.node === node);
    return listed !== undefined && this.able(listed, primaryToo, maxLagMs);
  }

  /** What has begun on the node may come to its end. */
  drains(node: NodeAddress): boolean {
    return this.route?.nodes.some((each) => each.node === node && each.leaving === 'draining') ?? false;
  }

  /** Something speaks against a node. The first time, statements for it are held and the control process is told. */
  suspect(node: NodeAddress, kind: EvidenceKind, detail: string, nowMs: number): void {
    if (kind === 'idle-closed') {
      this.#sink.evidence(this.cluster, node, kind, ++this.#evidence, detail);
      return;
    }
    if (this.#suspicions.has(node)) return;
    const evidence = ++this.#evidence;
    this.#suspicions.set(node, { kind, evidence, sinceMs: nowMs, sentMs: nowMs, detail, confirmed: false });
    this.#sink.evidence(this.cluster, node, kind, evidence, detail);
    this.refresh(nowMs);
  }

  /** The control process looked at the node of this evidence. */
  reviewed(evidence: number, healthy: boolean, nowMs: number): void {
    for (const [node, suspicion] of this.#suspicions) {
      if (suspicion.evidence !== evidence) continue;
      if (healthy) this.#suspicions.delete(node);
      else suspicion.confirmed = true;
    }
    this.refresh(nowMs);
  }

  /**
   * Keeps suspicions from staying for ever: an unanswered one is told again; without a control process the worker
   * tries for itself.
   */
  tick(nowMs: number, controlled: boolean): void {
    for (const [node, suspicion] of this.#suspicions) {
      if (!controlled && nowMs - suspicion.sinceMs > 250) this.#suspicions.delete(node);
      else if (controlled && nowMs - suspicion.sentMs > 1000) {
        suspicion.sentMs = nowMs;
        suspicion.confirmed = false;
        this.#sink.evidence(this.cluster, node, suspicion.kind, suspicion.evidence, suspicion.detail);
      }
    }
    this.refresh(nowMs);
  }

  #listedServing(node: NodeAddress): boolean {
    if (node === this.route?.primary) return this.route.gate.state === 'open';
    return this.route?.nodes.some((each) => each.node === node && each.serving) ?? false;
  }

  able(node: RouteNode, primaryToo: boolean, maxLagMs: number | null): boolean {
    if (!node.serving || this.#suspicions.has(node.node)) return false;
    if (node.role === 'primary') return primaryToo;
    if (node.role !== 'replica') return false;
    return maxLagMs === null || (node.lagMs !== null && node.lagMs <= maxLagMs);
  }

  /** Of those that `fit`, and of these the near ones first, where fewest statements are under way. Of equals `last`, else in turn. */
  leastLoaded(
    fit: (node: RouteNode) => boolean,
    near: ReadonlySet<NodeAddress>,
    last: NodeAddress | null = null,
  ): NodeAddress | null {
    const nodes = this.route?.nodes ?? [];
    let best: NodeAddress | null = null;
    let isNear = false;
    let least = Number.POSITIVE_INFINITY;
    this.#turn = (this.#turn + 1) % Math.max(1, nodes.length);
    for (let step = 0; step < nodes.length; step++) {
      const each = nodes[(this.#turn + step) % nodes.length] as RouteNode;
      if (!fit(each)) continue;
      const nearer = near.has(each.node);
      if (isNear && !nearer) continue;
      const load = this.#sink.load(each.node) - (each.node === last ? 0.5 : 0);
      if (load >= least && nearer === isNear) continue;
      isNear = nearer;
      best = each.node;
      least = load;
    }
    return best;
  }
}

/** All clusters of a worker, and the gates of its endpoints. */
export class RoutingTable {
  readonly clusters = new Map<string, ClusterRouting>();
  readonly gates = new Map<string, Gate>(); // by endpoint
  version = 0;

  constructor(endpoints: EndpointSettings[], limits: HoldLimits, budget: HoldBudget, sink: EvidenceSink) {
    for (const endpoint of endpoints) {
      let cluster = this.clusters.get(endpoint.cluster);
      if (cluster === undefined) {
        cluster = new ClusterRouting(endpoint.cluster, sink);
        this.clusters.set(endpoint.cluster, cluster);
      }
      // One for each, though several may want the primary: each can be paused by itself.
      const gate = new Gate(cluster, endpoint, new Hold(limits, budget));
      cluster.gates.push(gate);
      this.gates.set(endpoint.name, gate);
    }
  }

  /** Exactly these endpoints are paused from now on. */
  applyPauses(pauses: readonly { endpoint: string; leftMs: number }[], nowMs: number): void {
    for (const [endpoint, gate] of this.gates) {
      const left = pauses.find((each) => each.endpoint === endpoint)?.leftMs ?? 0;
      gate.pause(left > 0 ? nowMs + left : null);
      gate.refresh(nowMs);
    }
  }

  tick(nowMs: number, controlled: boolean): void {
    for (const cluster of this.clusters.values()) cluster.tick(nowMs, controlled);
    for (const gate of this.gates.values()) gate.hold.expire(nowMs);
  }
}
