// Everything in Prometheus' text format. Values are taken from their owners when they are asked for; only what
// exists nowhere else (counts of recoveries and their histograms) is kept here.
import { Counter, Gauge, Histogram, Registry } from '@prometheus-io/client';
import { ANALYSIS_NAMES } from '../cluster/index.ts';
import type { ClusterView } from '../cluster/types.ts';
import { CLOSE_REASONS, PIN_REASONS } from '../messages/index.ts';
import type { RecoveryRecord } from '../recovery/types.ts';
import type { Totals } from './counters.ts';
import type { ClusterStatus } from './status.ts';

const prefix = 'evenkeel_';
const clusterStates = ['healthy', 'holding', 'recovering', 'degraded', 'down'] as const;
const roles = ['primary', 'replica', 'unknown'] as const;
const secondsBuckets = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60];

/** Different counters that workers may name. */
const maxWorkerCounters = 100;

type Setter = (labels: Record<string, string>, value: number) => void;

/** What is true now. */
export interface MetricsSource {
  totals(): Totals;
  clusters(): { status: ClusterStatus; view: ClusterView }[];
  /** Every endpoint, and whether it is paused. */
  paused(): [string, boolean][];
  workersUp(): boolean[];
  workerRestarts(): number;
}

export class Metrics {
  readonly #registry = new Registry();
  readonly #source: MetricsSource;
  readonly #recoveries: Counter<'cluster' | 'kind' | 'outcome'>;
  readonly #durations: Histogram<'cluster' | 'kind'>;
  readonly #stalls: Histogram<'cluster' | 'kind'>;
  /** Names of the workers' own counters. */
  readonly #workerCounters = new Set<string>();

  constructor(source: MetricsSource) {
    this.#source = source;
    const registers = [this.#registry];
    this.#recoveries = new Counter({
      name: `${prefix}recoveries_total`,
      help: 'Recoveries that ended, by kind and outcome.',
      labelNames: ['cluster', 'kind', 'outcome'],
      registers,
    });
    this.#durations = new Histogram({
      name: `${prefix}recovery_duration_seconds`,
      help: 'From the beginning of a recovery to its end.',
      labelNames: ['cluster', 'kind'],
      buckets: secondsBuckets,
      registers,
    });
    this.#stalls = new Histogram({
      name: `${prefix}recovery_longest_stall_seconds`,
      help: 'The longest wait of one statement during a recovery.',
      labelNames: ['cluster', 'kind'],
      buckets: secondsBuckets,
      registers,
    });
    this.#defineWorkers();
    this.#defineClusters();
  }

  recoveryEnded(record: RecoveryRecord): void {
    const { cluster, kind, outcome } = record;
    this.#recoveries.inc({ cluster, kind, outcome });
    this.#durations.observe({ cluster, kind }, record.durationMs / 1000);
    this.#stalls.observe({ cluster, kind }, record.longestStallMs / 1000);
  }

  /** Text exposition format 0.0.4. */
  async text(): Promise<string> {
    for (const name of this.#source.totals().events.keys()) this.#eventCounter(name);
    return this.#registry.metrics();
  }

  /**
   * A metric whose values are all taken anew at each scrape, so that what is gone leaves no stale line. What ends in
   * `_total` is a counter: its owners see to it that it never goes back.
   */
  #define(name: string, help: string, labelNames: string[], collect: (set: Setter) => void): void {
    const configuration = { name: prefix + name, help, labelNames, registers: [this.#registry] };
    if (name.endsWith('_total')) {
      const counter: Counter<string> = new Counter({
        ...configuration,
        collect() {
          counter.reset();
          collect((labels, value) => counter.inc(labels, value));
        },
      });
      return;
    }
    const gauge: Gauge<string> = new Gauge({
      ...configuration,
      collect() {
        gauge.reset();
        collect((labels, value) => gauge.set(labels, value));
      },
    });
  }

  #defineWorkers(): void {
    const totals = () => this.#source.totals();
    const perEndpoint = (name: string, help: string, key: 'clients' | 'held' | 'statements' | 'errors') =>
      this.#define(name, help, ['endpoint'], (set) => {
        for (const [endpoint, sum] of totals().endpoints) set({ endpoint }, sum[key]);
      });
    perEndpoint('endpoint_clients', 'Clients that are connected.', 'clients');
    perEndpoint('endpoint_held_statements', 'Statements that are being held.', 'held');
    perEndpoint('endpoint_statements_total', 'Statements received from clients.', 'statements');
    perEndpoint('endpoint_errors_total', 'Errors that Evenkeel itself answered.', 'errors');
    this.#define('endpoint_paused', '1 while an operator holds its statements.', ['endpoint'], (set) => {
      for (const [endpoint, paused] of this.#source.paused()) set({ endpoint }, Number(paused));
    });
    this.#define('server_connections', 'Connections to servers, by state.', ['node', 'state'], (set) => {
      for (const [node, { open, inUse, connecting }] of totals().serverConnections) {
        set({ node, state: 'in-use' }, inUse);
        set({ node, state: 'idle' }, open - inUse);
        set({ node, state: 'connecting' }, connecting);
      }
    });
    this.#define('pinned_sessions', 'Sessions that keep a server connection.', ['endpoint', 'reason'], (set) => {
      for (const [endpoint, { pinned }] of totals().endpoints) {
        for (const reason of PIN_REASONS) set({ endpoint, reason }, pinned[reason] ?? 0);
      }
    });
    this.#definePools();
    this.#define('workers_cpu_seconds_total', 'Processor time of all workers.', [], (set) =>
      set({}, totals().cpuUs / 1e6),
    );
    this.#define('workers_resident_bytes', 'Resident memory of all workers.', [], (set) =>
      set({}, totals().residentBytes),
    );
    this.#define('worker_up', 'Whether a worker listens.', ['worker'], (set) => {
      for (const [worker, up] of this.#source.workersUp().entries()) set({ worker: String(worker) }, Number(up));
    });
    this.#define('worker_restarts_total', 'Workers that ended unasked and were started again.', [], (set) =>
      set({}, this.#source.workerRestarts()),
    );
  }

  #definePools(): void {
    const perNode = (name: string, help: string, key: 'shared' | 'waiting' | 'opened' | 'joined') =>
      this.#define(name, help, ['node'], (set) => {
        for (const [node, counts] of this.#source.totals().serverConnections) set({ node }, counts[key]);
      });
    perNode('server_connections_shared', 'Of those in use: with reads that others may join.', 'shared');
    perNode('server_connections_waited_for', 'Statements that wait for a server connection.', 'waiting');
    perNode('server_connections_opened_total', 'Server connections that logged in.', 'opened');
    perNode('pipelined_statements_total', "Statements that were queued behind another session's.", 'joined');
    this.#define('server_connections_closed_total', 'Server connections that ended.', ['node', 'reason'], (set) => {
      for (const [node, { closed }] of this.#source.totals().serverConnections) {
        for (const reason of CLOSE_REASONS) set({ node, reason }, closed[reason]);
      }
    });
  }

  #defineClusters(): void {
    const perNode = (
      name: string,
      help: string,
      value: (node: ClusterView['nodes'][number]) => number | null | undefined,
    ) =>
      this.#define(name, help, ['cluster', 'node'], (set) => {
        for (const { view } of this.#source.clusters()) {
          for (const node of view.nodes) {
            const found = value(node);
            if (found !== null && found !== undefined) set({ cluster: view.cluster, node: node.node }, found);
          }
        }
      });
    perNode('node_up', 'Whether the last probe was answered.', (node) => Number(node.observation.reach.state === 'up'));
    perNode('node_lag_seconds', 'Replication lag, where it is known.', (node) =>
      node.lagMs === null ? null : node.lagMs / 1000,
    );
    perNode('node_probe_rtt_seconds', 'Round trip of the last answered probe.', ({ observation: { reach } }) =>
      reach.state === 'up' ? reach.rttMs / 1000 : null,
    );
    this.#define('node_role', '1 for the role that a node has.', ['cluster', 'node', 'role'], (set) => {
      for (const { view } of this.#source.clusters()) {
        for (const { node, role } of view.nodes) {
          for (const each of roles) set({ cluster: view.cluster, node, role: each }, Number(role === each));
        }
      }
    });
    this.#define(
      'problems',
      'Problems by analysis (docs/analyses.md); every one is there.',
      ['cluster', 'code'],
      (set) => {
        for (const { status } of this.#source.clusters()) {
          for (const code of ANALYSIS_NAMES) {
            set({ cluster: status.name, code }, status.problems.filter((problem) => problem.code === code).length);
          }
        }
      },
    );
    this.#define('cluster_epoch', 'Grows by one with every change of primary.', ['cluster'], (set) => {
      for (const { status } of this.#source.clusters()) set({ cluster: status.name }, status.epoch);
    });
    this.#define(
      'maintenance',
      '1 for a node, or a cluster (no node), that nothing is recovered of.',
      ['cluster', 'node'],
      (set) => {
        for (const { status } of this.#source.clusters()) {
          if (status.maintenance !== null) set({ cluster: status.name, node: '' }, 1);
          for (const { node, maintenance } of status.nodes)
            if (maintenance !== null) set({ cluster: status.name, node }, 1);
        }
      },
    );
    this.#define('cluster_state', '1 for the state that a cluster is in.', ['cluster', 'state'], (set) => {
      for (const { status } of this.#source.clusters()) {
        for (const state of clusterStates) {
          set({ cluster: status.name, state }, Number(status.state === state));
        }
      }
    });
  }

  /** Exposes a counter of the workers' own when it is first named. */
  #eventCounter(name: string): void {
    if (this.#workerCounters.has(name) || !/^[a-z][a-z0-9_]{0,60}$/.test(name)) return;
    if (this.#workerCounters.size >= maxWorkerCounters) return;
    if (this.#registry.getSingleMetric(`${prefix}${name}_total`)) return;
    this.#workerCounters.add(name);
    this.#define(`${name}_total`, `${name.replaceAll('_', ' ')}, counted by the workers.`, ['reason'], (set) => {
      for (const [reason, count] of this.#source.totals().events.get(name) ?? []) set({ reason }, count);
    });
  }
}
