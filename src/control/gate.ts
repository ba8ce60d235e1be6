// The clients of one cluster, as a recovery sees them: a gate that it closes, drains and opens. Each call is a
// message to all workers and the wait for their answers; the promise is what the recovery builds on.
import type { Impact, NodeAddress } from '../messages/index.ts';
import type { ClientGate } from '../recovery/types.ts';
import type { Clock } from './ports.ts';
import type { ClusterRouting, RouteTable } from './routing.ts';

/** The part of Fleet that a gate uses. */
export interface GateFleet {
  drain(cluster: string, drainMs: number): Promise<number>;
  openAhead(cluster: string, node: NodeAddress, waitMs: number): Promise<number>;
  impact(cluster: string, recovery: string): Promise<Impact>;
}

export interface GateOptions {
  routing: ClusterRouting;
  table: RouteTable;
  fleet: GateFleet;
  /** Told of the new primary before it is opened, so that its health is judged from then on. */
  onPrimary: (primary: NodeAddress) => void;
  clock: Clock;
}

/** A worker knows how long a held statement took when it was answered, which is a moment after the gate opened. */
const impactDelayMs = 100;

export class ClusterGate implements ClientGate {
  readonly #options: GateOptions;
  #openedAt = Number.NEGATIVE_INFINITY;

  constructor(options: GateOptions) {
    this.#options = options;
  }

  async close(reason: 'switchover' | 'failover', recovery: string): Promise<void> {
    this.#options.routing.hold({ reason, recovery });
    await this.#options.table.apply(this.#options.routing);
  }

  openAhead(node: NodeAddress, waitMs: number): Promise<number> {
    return this.#options.fleet.openAhead(this.#options.routing.cluster, node, waitMs);
  }

  drain(drainMs: number): Promise<number> {
    return this.#options.fleet.drain(this.#options.routing.cluster, drainMs);
  }

  async open(primary: NodeAddress, recovery: string): Promise<number> {
    const { clock, routing, table, onPrimary } = this.#options;
    const epoch = routing.promote(primary, recovery);
    onPrimary(primary);
    await table.apply(routing);
    this.#openedAt = clock.nowMs();
    return epoch;
  }

  async reopen(): Promise<void> {
    this.#options.routing.release();
    await this.#options.table.apply(this.#options.routing);
    this.#openedAt = this.#options.clock.nowMs();
  }

  async impact(recovery: string): Promise<Impact> {
    const { clock } = this.#options;
    const waitMs = this.#openedAt + impactDelayMs - clock.nowMs();
    if (waitMs > 0) await clock.sleep(waitMs);
    return this.#options.fleet.impact(this.#options.routing.cluster, recovery);
  }
}
