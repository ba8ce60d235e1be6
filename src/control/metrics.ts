// Everything in Prometheus' text format. Values are taken from their owners when they are asked for; only what
// exists nowhere else (counts of recoveries and their histograms) is kept here.
import { Counter, Gauge, Histogram, Registry } from '@prometheus-io/client';
import type { ClusterView } from '../cluster/types.ts';
import type { RecoveryRecord } from '../recovery/types.ts';
import type { Totals } from './counters.ts';
import type { ClusterStatus } from './status.ts';

const prefix = 'evenkeel_';
const clusterStates = ['healthy', 'holding', 'recovering', 'degraded', 'down'] as const;
const roles = ['primary', 'replica', 'unknown'] as const;
const secondsBuckets = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60];

/** What is true now. */
export interface MetricsSource {
  totals(): Totals;
  clusters(): { status: ClusterStatus; view: ClusterView }[];
  workersUp(): boolean[];
  workerRestarts(): number;
}

export class Metrics {
  readonly #registry = new Registry();
  readonly #source: MetricsSource;
  readonly #gauges: Gauge<string>[] = [];
  readonly #recoveries: Counter<'cluster' | 'kind' | 'outcome'>;
  readonly #durations: Histogram<'cluster' | 'kind'>;
  readonly #stalls: Histogram<'cluster' | 'kind'>;
  /** The workers' own counters, made when they are first named. */
  readonly #workerCounters = new Map<string, Gauge<string>>();

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
    for (const [name, labels] of this.#source.totals().events) this.#eventCounter(name, labels);
    return this.#registry.metrics();
  }

  /** A gauge whose values are all taken anew at each scrape, so that what is gone leaves no stale line. */
  #gauge(name: string, help: string, labelNames: string[], collect: (gauge: Gauge<string>) => void): void {
    this.#gauges.push(
      new Gauge({
        name: prefix + name,
        help,
        labelNames,
        registers: [this.#registry],
        collect() {
          this.reset();
          collect(this);
        },
      }),
    );
  }

  #defineWorkers(): void {
    const totals = () => this.#source.totals();
    const perEndpoint = (name: string, help: string, key: 'clients' | 'held' | 'statements' | 'errors') =>
      this.#gauge(name, help, ['endpoint'], (gauge) => {
        for (const [endpoint, sum] of totals().endpoints) gauge.set({ endpoint }, sum[key]);
      });
    perEndpoint('endpoint_clients', 'Clients that are connected.', 'clients');
    perEndpoint('endpoint_held_statements', 'Statements that are being held.', 'held');
    perEndpoint('endpoint_statements_total', 'Statements received from clients.', 'statements');
    perEndpoint('endpoint_errors_total', 'Errors that Evenkeel itself answered.', 'errors');
    this.#gauge('server_connections', 'Connections to servers, by state.', ['node', 'state'], (gauge) => {
      for (const [node, { open, inUse, connecting }] of totals().serverConnections) {
        gauge.set({ node, state: 'in-use' }, inUse);
        gauge.set({ node, state: 'idle' }, open - inUse);
        gauge.set({ node, state: 'connecting' }, connecting);
      }
    });
    this.#gauge('workers_cpu_seconds_total', 'Processor time of all workers.', [], (gauge) =>
      gauge.set(totals().cpuUs / 1e6),
    );
    this.#gauge('workers_resident_bytes', 'Resident memory of all workers.', [], (gauge) =>
      gauge.set(totals().residentBytes),
    );
    this.#gauge('worker_up', 'Whether a worker listens.', ['worker'], (gauge) => {
      for (const [worker, up] of this.#source.workersUp().entries()) gauge.set({ worker: String(worker) }, Number(up));
    });
    this.#gauge('worker_restarts_total', 'Workers that ended unasked and were started again.', [], (gauge) =>
      gauge.set(this.#source.workerRestarts()),
    );
  }

  #defineClusters(): void {
    const perNode = (
      name: string,
      help: string,
      value: (node: ClusterView['nodes'][number]) => number | null | undefined,
    ) =>
      this.#gauge(name, help, ['cluster', 'node'], (gauge) => {
        for (const { view } of this.#source.clusters()) {
          for (const node of view.nodes) {
            const found = value(node);
            if (found !== null && found !== undefined) gauge.set({ cluster: view.cluster, node: node.node }, found);
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
    this.#gauge('node_role', '1 for the role that a node has.', ['cluster', 'node', 'role'], (gauge) => {
      for (const { view } of this.#source.clusters()) {
        for (const { node, role } of view.nodes) {
          for (const each of roles) gauge.set({ cluster: view.cluster, node, role: each }, Number(role === each));
        }
      }
    });
    this.#gauge('cluster_epoch', 'Grows by one with every change of primary.', ['cluster'], (gauge) => {
      for (const { status } of this.#source.clusters()) gauge.set({ cluster: status.name }, status.epoch);
    });
    this.#gauge('cluster_state', '1 for the state that a cluster is in.', ['cluster', 'state'], (gauge) => {
      for (const { status } of this.#source.clusters()) {
        for (const state of clusterStates) {
          gauge.set({ cluster: status.name, state }, Number(status.state === state));
        }
      }
    });
  }

  /** Exposes a counter that the workers name. Its type line says gauge: the sums are made elsewhere. */
  #eventCounter(name: string, labels: Map<string, number>): void {
    if (!/^[a-z][a-z0-9_]{0,60}$/.test(name)) return;
    let gauge = this.#workerCounters.get(name);
    if (!gauge) {
      gauge = new Gauge({
        name: `${prefix}${name}_total`,
        help: `${name.replaceAll('_', ' ')}, counted by the workers.`,
        labelNames: ['reason'],
        registers: [this.#registry],
      });
      this.#workerCounters.set(name, gauge);
    }
    for (const [reason, count] of labels) gauge.set({ reason }, count);
  }
}
