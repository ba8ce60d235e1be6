// Who is primary, under which epoch, and what holds: the one place that changes it, and the table that goes to the
// workers. A new epoch is saved before any worker hears of it, so that no restart can give it out a second time.
import type { ClusterView, PrimaryHealth, ServerGreeting } from '../cluster/types.ts';
import type { ClusterRoute, NodeAddress } from '../messages/index.ts';
import type { ClusterMemory, Store } from '../store/types.ts';
import type { Clock } from './ports.ts';
import { type HoldOrder, routeChange, routeOf } from './routes.ts';

/** Lag alone changes with every probe; workers hear of it this often. */
const lagIntervalMs = 250;

/** What the monitor of a cluster says now. */
export interface ClusterSource {
  view(): ClusterView;
  health(): PrimaryHealth;
  greeting(): ServerGreeting | null;
}

export interface RoutingOptions {
  memory: ClusterMemory;
  source: ClusterSource;
  store: Store;
  clock: Clock;
  /** Nodes that an operator takes out of service. */
  drained: () => ReadonlyMap<NodeAddress, 'draining' | 'drained'>;
}

/** One cluster's epoch, primary and hold. */
export class ClusterRouting {
  readonly cluster: string;
  readonly #source: ClusterSource;
  readonly #store: Store;
  readonly #clock: Clock;
  #memory: ClusterMemory;
  #openedAt: number;
  #promotedBy: string | null = null;
  readonly #drained: () => ReadonlyMap<NodeAddress, 'draining' | 'drained'>;
  #hold: (HoldOrder & { since: number }) | null = null;

  constructor(options: RoutingOptions) {
    this.#drained = options.drained;
    this.cluster = options.memory.cluster;
    this.#memory = options.memory;
    this.#source = options.source;
    this.#store = options.store;
    this.#clock = options.clock;
    this.#openedAt = options.clock.nowMs();
  }

  /** Makes statements wait until `promote`, or `release`. */
  hold(order: HoldOrder): void {
    this.#hold = { ...order, since: this.#clock.nowMs() };
  }

  /** Ends the hold of a recovery. */
  release(): void {
    this.#hold = null;
  }

  /** Since when a recovery holds; null where none does. */
  get heldByRecoverySince(): number | null {
    return this.#hold?.since ?? null;
  }

  get memory(): Readonly<ClusterMemory> {
    return this.#memory;
  }

  /**
   * Makes `primary` the one that gets the writes, under the next epoch, and saves that. Throws where it cannot.
   * Repeated for the same recovery it changes nothing.
   */
  promote(primary: NodeAddress, recovery: string): number {
    if (this.#promotedBy === recovery && this.#memory.primary === primary) return this.#memory.epoch;
    const memory = { ...this.#memory, epoch: this.#memory.epoch + 1, primary };
    this.#store.saveCluster(memory);
    this.#memory = memory;
    this.#hold = null;
    this.#promotedBy = recovery;
    this.#openedAt = this.#clock.nowMs();
    return memory.epoch;
  }

  /** Keeps the nodes that were seen as a sound part of this cluster: a start then needs no particular seed. */
  rememberMembers(): void {
    const nodes = new Map(this.#memory.nodes.map(({ node, identity }) => [node, identity]));
    let changed = false;
    for (const { node, role, state, observation } of this.#source.view().nodes) {
      const sound = state === 'ok' || state === 'lagging' || state === 'delayed';
      const identity = observation.facts?.identity;
      if (role === 'unknown' || !sound || identity === undefined || nodes.get(node) === identity) continue;
      nodes.set(node, identity);
      changed = true;
    }
    if (!changed) return;
    const memory = { ...this.#memory, nodes: [...nodes].map(([node, identity]) => ({ node, identity })) };
    this.#store.saveCluster(memory);
    this.#memory = memory;
  }

  /** A node was removed: a start does not look for it. Throws where that cannot be saved. */
  forgetMember(node: NodeAddress): void {
    const memory = { ...this.#memory, nodes: this.#memory.nodes.filter((each) => each.node !== node) };
    this.#store.saveCluster(memory);
    this.#memory = memory;
  }

  route(): ClusterRoute {
    return routeOf({
      cluster: this.cluster,
      epoch: this.#memory.epoch,
      primary: this.#memory.primary,
      hold: this.#hold,
      view: this.#source.view(),
      health: this.#source.health(),
      greeting: this.#source.greeting(),
      openedAt: this.#openedAt,
      now: this.#clock.nowMs(),
      drained: this.#drained(),
    });
  }
}

/** The part of Fleet that publishes. */
export interface RoutePublisher {
  /** Routes that changed; of the clusters that are not among them workers keep what they have. */
  publish(changed: ClusterRoute[]): void;
  publishAndWait(changed: ClusterRoute[]): Promise<void>;
}

/** All clusters' routes, published when they change. */
export class RouteTable {
  readonly #clusters: ClusterRouting[] = [];
  readonly #publisher: RoutePublisher;
  readonly #clock: Clock;
  readonly #published = new Map<string, ClusterRoute>();
  /** Those of which nothing but a lag has changed since. */
  readonly #waiting = new Map<string, ClusterRoute>();
  #publishedAt = Number.NEGATIVE_INFINITY;
  #started = false;

  constructor(publisher: RoutePublisher, clock: Clock) {
    this.#publisher = publisher;
    this.#clock = clock;
  }

  add(cluster: ClusterRouting): void {
    this.#clusters.push(cluster);
  }

  /** The route that workers were told last; what it is now where nothing was told yet. */
  routeOf(cluster: ClusterRouting): ClusterRoute {
    return this.#published.get(cluster.cluster) ?? cluster.route();
  }

  /** From here on changes are published; the first table at once. */
  start(): void {
    this.#started = true;
    this.#publisher.publish(this.#told(this.#clusters.map((cluster) => cluster.route())));
  }

  /** Publishes what changed of this cluster, without waiting. Call it after every change of what its route follows from. */
  refresh(cluster: ClusterRouting): void {
    if (!this.#started) return;
    const route = cluster.route();
    const change = routeChange(this.#published.get(route.cluster), route);
    if (change === 'lag') this.#waiting.set(route.cluster, route);
    else this.#waiting.delete(route.cluster);
    const lagDue = this.#clock.nowMs() - this.#publishedAt >= lagIntervalMs;
    if (change === 'none' || (change === 'lag' && !lagDue)) return;
    const waiting = lagDue ? [...this.#waiting.values()] : [];
    if (lagDue) this.#publishedAt = this.#clock.nowMs();
    this.#publisher.publish(this.#told(change === 'route' ? [route, ...waiting] : waiting));
  }

  /** Publishes this cluster's route, changed or not, and resolves when every worker follows it or is dead. */
  async apply(cluster: ClusterRouting): Promise<void> {
    await this.#publisher.publishAndWait(this.#told([cluster.route()]));
  }

  #told(routes: ClusterRoute[]): ClusterRoute[] {
    for (const route of routes) {
      this.#published.set(route.cluster, route);
      this.#waiting.delete(route.cluster);
    }
    return routes;
  }
}
