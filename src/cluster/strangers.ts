// Servers that answer at the address of a node and are not the node that was known there: after a rebuild the same node has
// another identity. One is taken for the node's rebuilt self after it has replicated in health for long enough.
import type { NodeAddress } from '../messages/index.ts';
import type { NodeView } from './types.ts';

const ACCEPT_MS = 60_000;

export class Strangers {
  readonly #since = new Map<NodeAddress, number>();

  /** Looks at a node of a new view; true where whoever answers there is the node from now on. */
  accepts({ node, observation: { facts }, state }: NodeView, nowMs: number): boolean {
    if (state !== 'identity-changed') {
      if (state !== 'unreachable') this.#since.delete(node);
      return false;
    }
    const follows = facts?.replication?.receiver === 'running' && facts.replication.applier === 'running';
    if (facts === null || !follows || !facts.readOnly) {
      this.#since.delete(node);
      return false;
    }
    const since = this.#since.get(node) ?? nowMs;
    this.#since.set(node, since);
    return nowMs - since >= ACCEPT_MS;
  }
}
