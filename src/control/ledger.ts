// Sees to it that a MariaDB primary has `evenkeel.ledger`, by which workers find out what became of a commit: once for
// each primary, and again now and then, which clears it of what nobody uses any more.
import type { ClusterView, NodeControl } from '../cluster/types.ts';
import type { NodeAddress } from '../messages/index.ts';
import { type Clock, errorText, type Log } from './ports.ts';

const TIMEOUT_MS = 5_000;
const AGAIN_MS = 3_600_000;
const RETRY_MS = 10_000;

export interface LedgerOptions {
  cluster: string;
  nodes: Pick<NodeControl, 'keepLedger'>;
  clock: Clock;
  log: Log;
}

export class Ledger {
  readonly #options: LedgerOptions;
  #node: NodeAddress | null = null;
  #nextMs = 0;
  #running = false;

  constructor(options: LedgerOptions) {
    this.#options = options;
  }

  /** To be called after every change of the view. */
  evaluate({ flavor, primary, nodes }: ClusterView): void {
    const facts = nodes.find(({ node }) => node === primary)?.observation.facts;
    if (flavor !== 'mariadb' || primary === null || facts?.readOnly !== false || this.#running) return;
    const now = this.#options.clock.nowMs();
    if (primary === this.#node && now < this.#nextMs) return;
    this.#node = primary;
    this.#running = true;
    void this.#keep(primary);
  }

  async #keep(node: NodeAddress): Promise<void> {
    const { cluster, nodes, clock, log } = this.#options;
    let waitMs = AGAIN_MS;
    try {
      await nodes.keepLedger(node, TIMEOUT_MS);
    } catch (error) {
      waitMs = RETRY_MS;
      log.warn({ cluster, node, error: errorText(error) }, 'evenkeel.ledger could not be made or cleared');
    }
    this.#nextMs = clock.nowMs() + waitMs;
    this.#running = false;
  }
}
