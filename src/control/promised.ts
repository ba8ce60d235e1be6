// The node that a recovery without an end was about to promote, and perhaps has: until it is followed or given up, nobody
// is let to the old primary, since what that one acknowledged would be lost.
import type { ClusterView } from '../cluster/types.ts';
import type { NodeAddress } from '../messages/index.ts';
import { forsakeUnfinished, type RecoveryContext } from '../recovery/index.ts';

/** How long clients wait for it where it is away. */
const waitMs = 10_000;

export class Promised {
  readonly #store: RecoveryContext['store'];
  readonly #cluster: string;
  readonly #beganAt: number;
  #node: NodeAddress | null;

  /** `beganAt`: when this process did. */
  constructor(node: NodeAddress | null, store: RecoveryContext['store'], cluster: string, beganAt: number) {
    this.#node = node;
    this.#store = store;
    this.#cluster = cluster;
    this.#beganAt = beganAt;
  }

  /** Null: there is none, or its story has ended. */
  get node(): NodeAddress | null {
    return this.#node;
  }

  /** It was not seen since this process began, and may come back as one that takes writes. */
  isAwaited(view: ClusterView, now: number): boolean {
    if (this.#node === null || now - this.#beganAt > waitMs) return false;
    const seen = view.nodes.find(({ node }) => node === this.#node)?.observation;
    return seen?.reach.state !== 'up' || (seen.factsAt ?? -1) < this.#beganAt;
  }

  /** A change of primary came about. */
  end(): void {
    this.#node = null;
  }

  /** Clients go on at the old primary: a process that comes after does not look for this node either. True where there was one. */
  forsake(): boolean {
    if (this.#node === null) return false;
    forsakeUnfinished(this.#store, this.#cluster);
    this.#node = null;
    return true;
  }
}
