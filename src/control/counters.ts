// The workers' counters as one. What a worker counted since its start is lost with the worker; so that sums never go
// back, the last counters of a dead one stay in the sum. Gauges (clients, connections) die with it.
import {
  CLOSE_REASONS,
  type DigestCounts,
  type DigestOrder,
  type NodeAddress,
  noServerConnections,
  PIN_REASONS,
  type PinCounts,
  type ServerConnectionCounts,
  type WorkerCounters,
} from '../messages/index.ts';

/** Different counters that one worker may name; more are ignored, so that a mistake there does no harm here. */
const maxEventSeries = 2000;

export interface EndpointTotals {
  clients: number;
  held: number;
  statements: number;
  errors: number;
  pinned: PinCounts;
}

export interface Totals {
  endpoints: Map<string, EndpointTotals>;
  serverConnections: Map<NodeAddress, ServerConnectionCounts>;
  /** By name, then by label value. */
  events: Map<string, Map<string, number>>;
  cpuUs: number;
  residentBytes: number;
}

function emptyTotals(): Totals {
  return { endpoints: new Map(), serverConnections: new Map(), events: new Map(), cpuUs: 0, residentBytes: 0 };
}

/** Adds what only grows. */
function addSums(totals: Totals, counters: WorkerCounters): void {
  for (const { endpoint, statements, errors } of counters.endpoints) {
    const sum = totals.endpoints.get(endpoint) ?? { clients: 0, held: 0, statements: 0, errors: 0, pinned: {} };
    sum.statements += statements;
    sum.errors += errors;
    totals.endpoints.set(endpoint, sum);
  }
  for (const { name, label, count } of counters.events.slice(0, maxEventSeries)) {
    const labels = totals.events.get(name) ?? new Map<string, number>();
    labels.set(label, (labels.get(label) ?? 0) + count);
    totals.events.set(name, labels);
  }
  for (const [node, { opened, closed, joined }] of Object.entries(counters.serverConnections)) {
    const sum = totals.serverConnections.get(node) ?? noServerConnections();
    sum.opened += opened;
    sum.joined += joined;
    for (const reason of CLOSE_REASONS) sum.closed[reason] += closed[reason];
    totals.serverConnections.set(node, sum);
  }
  totals.cpuUs += counters.cpuUs;
}

function addGauges(totals: Totals, counters: WorkerCounters): void {
  for (const { endpoint, clients, held, pinned } of counters.endpoints) {
    const sum = totals.endpoints.get(endpoint);
    if (!sum) continue;
    sum.clients += clients;
    sum.held += held;
    for (const reason of PIN_REASONS) {
      const count = pinned[reason] ?? 0;
      if (count > 0) sum.pinned[reason] = (sum.pinned[reason] ?? 0) + count;
    }
  }
  for (const [node, counts] of Object.entries(counters.serverConnections)) {
    const sum = totals.serverConnections.get(node);
    if (!sum) continue;
    for (const gauge of ['open', 'inUse', 'shared', 'connecting', 'waiting'] as const) sum[gauge] += counts[gauge];
  }
  totals.residentBytes += counters.residentBytes;
}

/** `K` is one worker process, not one worker number: each starts to count from zero. */
export class CounterBook<K> {
  readonly #dead = emptyTotals();
  readonly #live = new Map<K, WorkerCounters>();

  update(worker: K, counters: WorkerCounters): void {
    this.#live.set(worker, counters);
  }

  ended(worker: K): void {
    const last = this.#live.get(worker);
    if (last) addSums(this.#dead, last);
    this.#live.delete(worker);
  }

  totals(): Totals {
    const totals = structuredClone(this.#dead);
    for (const counters of this.#live.values()) {
      addSums(totals, counters);
      addGauges(totals, counters);
    }
    return totals;
  }
}

/** One entry for each shape, with what all workers counted of it. */
export function mergeDigests(all: readonly DigestCounts[]): DigestCounts[] {
  const merged = new Map<string, DigestCounts>();
  for (const one of all) {
    const key = JSON.stringify([one.endpoint, one.user, one.schema, one.statement]);
    const sum = merged.get(key);
    if (sum === undefined) merged.set(key, { ...one });
    else {
      sum.count += one.count;
      sum.errors += one.errors;
      sum.totalMs += one.totalMs;
      sum.longestMs = Math.max(sum.longestMs, one.longestMs);
    }
  }
  return [...merged.values()];
}

const orders: Record<DigestOrder, (one: DigestCounts) => number> = {
  time: ({ totalMs }) => totalMs,
  count: ({ count }) => count,
  errors: ({ errors }) => errors,
  longest: ({ longestMs }) => longestMs,
};

/** The first `limit` of them, most first. */
export function topDigests(all: readonly DigestCounts[], order: DigestOrder, limit: number): DigestCounts[] {
  const of = orders[order];
  return all.toSorted((a, b) => of(b) - of(a)).slice(0, limit);
}
