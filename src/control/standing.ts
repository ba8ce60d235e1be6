// What operators ordered for one cluster, and what stands until they take it back or its time is over. Saved before
// it counts, so that a restart of the control process changes nothing of it. Times are of the wall clock.
import type { NodeAddress } from '../messages/index.ts';
import type { RecoveryRecord } from '../recovery/types.ts';
import type { MaintenanceOrder, StandingOrders, Store } from '../store/types.ts';
import type { Maintenance } from './decide.ts';

/** An order as it is told: in events, and to who gave it. */
export interface OperatorOrder {
  order: 'maintenance' | 'pause' | 'drain' | 'remove-node';
  /** The node, the cluster or the endpoint that it is about. */
  of: string;
  state: 'begun' | 'ended';
  by: 'operator' | 'time-limit';
  /** ISO 8601, UTC; null: until it is ended. */
  until: string | null;
}

export interface PauseReport extends OperatorOrder {
  /** Transactions and statements that have not come to their end yet. */
  inProgress: number;
}

/** A node on its way out of service, or out of it. */
export type Leaving = 'draining' | 'drained';

export interface DrainReport extends OperatorOrder {
  /** Clients whose work there did not come to its end in time: it was ended. */
  ended: number;
  /** Where the node was the primary: the switchover. */
  switchover: RecoveryRecord | null;
}

/** As people and JSON read it; null stays null. */
export function isoTime(wallMs: number | null): string | null {
  return wallMs === null ? null : new Date(wallMs).toISOString();
}

type PauseOrder = StandingOrders['paused'][number];

export interface StandingOptions {
  cluster: string;
  store: Store;
  wallMs: () => number;
}

const empty = { maintenance: [], drained: [], removed: [], paused: [] };

export class Standing {
  readonly #options: StandingOptions;
  #orders: StandingOrders;

  constructor(options: StandingOptions) {
    this.#options = options;
    this.#orders = { ...empty, ...options.store.loadOrders(options.cluster), cluster: options.cluster };
  }

  /** Begins maintenance of a node, or of the whole cluster (null), for `forMs` or until it is ended. */
  maintain(node: NodeAddress | null, forMs: number | null): MaintenanceOrder {
    const since = this.#options.wallMs();
    const order = { node, since, until: forMs === null ? null : since + forMs };
    this.#save({ maintenance: [...this.#orders.maintenance.filter((each) => each.node !== node), order] });
    return order;
  }

  /** False where there was none. */
  endMaintenance(node: NodeAddress | null): boolean {
    const left = this.#orders.maintenance.filter((each) => each.node !== node);
    if (left.length === this.#orders.maintenance.length) return false;
    this.#save({ maintenance: left });
    return true;
  }

  /** What is under maintenance now, as it was ordered. */
  get maintenanceOrders(): readonly MaintenanceOrder[] {
    const now = this.#options.wallMs();
    return this.#orders.maintenance.filter(({ until }) => until === null || until > now);
  }

  /** The same, as those who decide want it. */
  get maintenance(): Maintenance {
    const orders = this.maintenanceOrders;
    return {
      cluster: orders.some(({ node }) => node === null),
      nodes: new Set(orders.flatMap(({ node }) => (node === null ? [] : [node]))),
    };
  }

  /** Takes a node out of service; what has begun there may end within `drainMs`. */
  drain(node: NodeAddress, drainMs: number): void {
    const order = { node, quietAt: this.#options.wallMs() + drainMs };
    this.#save({ drained: [...this.#orders.drained.filter((each) => each.node !== node), order] });
  }

  /** False where it is not drained. */
  undrain(node: NodeAddress): boolean {
    const drained = this.#orders.drained.filter((each) => each.node !== node);
    if (drained.length === this.#orders.drained.length) return false;
    this.#save({ drained });
    return true;
  }

  /** Forgets whatever else was ordered of the node. */
  remove(node: NodeAddress): void {
    const others = <T extends { node: NodeAddress | null }>(orders: T[]): T[] =>
      orders.filter((each) => each.node !== node);
    const { drained, maintenance, removed } = this.#orders;
    this.#save({
      drained: others(drained),
      maintenance: others(maintenance),
      removed: [...removed.filter((each) => each !== node), node],
    });
  }

  /** It is a node again. */
  admit(node: NodeAddress): void {
    if (this.#orders.removed.includes(node)) {
      this.#save({ removed: this.#orders.removed.filter((each) => each !== node) });
    }
  }

  get drained(): ReadonlyMap<NodeAddress, Leaving> {
    const now = this.#options.wallMs();
    return new Map(this.#orders.drained.map(({ node, quietAt }) => [node, quietAt > now ? 'draining' : 'drained']));
  }

  /** Replaces an earlier pause of the endpoint. */
  pause(endpoint: string, forMs: number): PauseOrder {
    const order = { endpoint, until: this.#options.wallMs() + forMs };
    this.#save({ paused: [...this.#orders.paused.filter((each) => each.endpoint !== endpoint), order] });
    return order;
  }

  /** False where it is not paused. */
  resume(endpoint: string): boolean {
    const paused = this.#orders.paused.filter((each) => each.endpoint !== endpoint);
    if (paused.length === this.#orders.paused.length) return false;
    this.#save({ paused });
    return true;
  }

  /** What is paused now. */
  get pauses(): readonly PauseOrder[] {
    const now = this.#options.wallMs();
    return this.#orders.paused.filter(({ until }) => until > now);
  }

  /** Forgets and returns what has come to its end by itself. */
  expire(): OperatorOrder[] {
    const now = this.#options.wallMs();
    const maintained = this.#orders.maintenance.filter(({ until }) => until !== null && until <= now);
    const paused = this.#orders.paused.filter(({ until }) => until <= now);
    if (maintained.length + paused.length === 0) return [];
    this.#save({
      maintenance: this.#orders.maintenance.filter((each) => !maintained.includes(each)),
      paused: this.#orders.paused.filter((each) => !paused.includes(each)),
    });
    const ended = { state: 'ended', by: 'time-limit' } as const;
    return [
      ...maintained.map(({ node, until }): OperatorOrder => {
        return { order: 'maintenance', of: node ?? this.#options.cluster, ...ended, until: isoTime(until) };
      }),
      ...paused.map(({ endpoint, until }): OperatorOrder => {
        return { order: 'pause', of: endpoint, ...ended, until: isoTime(until) };
      }),
    ];
  }

  #save(change: Partial<StandingOrders>): void {
    const orders = { ...this.#orders, ...change };
    this.#options.store.saveOrders(orders);
    this.#orders = orders;
  }
}
