// The control process as a whole: takes the state directory, watches the clusters, starts or takes over the workers,
// and gives the API that the HTTP interface and `start` use. Everything is made here and handed to those who need it.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ErrantReport } from '../cluster/index.ts';
import type { ClusterConfig, Config } from '../config/types.ts';
import type { DigestCounts, DigestOrder, FromWorker, NodeAddress } from '../messages/index.ts';
import { concludeUnfinished, type RecoveryRecord } from '../recovery/index.ts';
import type { ClusterMemory, Store } from '../store/types.ts';
import { demotedBy } from './brake.ts';
import { type AddOrder, ClusterControl, type RebuildOrder } from './cluster.ts';
import { CounterBook, topDigests } from './counters.ts';
import { type ControlEvent, Events } from './events.ts';
import { Fleet, type Member } from './fleet.ts';
import { loadMaterial } from './material.ts';
import { Metrics } from './metrics.ts';
import { OrderError } from './order-error.ts';
import { type Clock, errorText, type Log, type Monitor } from './ports.ts';
import { chooseSocketPath, lockStateDir, prepareStateDir } from './processes.ts';
import type { Recoveries } from './recoveries.ts';
import { RouteTable } from './routing.ts';
import { gatewaySettings, settingsHash } from './settings.ts';
import type { DrainReport, OperatorOrder, PauseReport } from './standing.ts';
import { endpointStatus, notReadyReason, type StatusJson } from './status.ts';
import { Supervisor, type SupervisorTimeouts } from './supervisor.ts';

/** What the control process is made of; `startControl` fills in the real ones. */
export interface ControlParts {
  monitor: (options: {
    config: ClusterConfig;
    memory: (ClusterMemory & { demoted: readonly NodeAddress[]; promised: NodeAddress | null }) | null;
    log: Log;
    removed: readonly NodeAddress[];
  }) => Monitor;
  recoveries: Recoveries;
  openStore: (path: string) => Store;
  workerEntry: URL;
  clock: Clock;
  timeouts?: Partial<ControlTimeouts>;
}

export interface ControlTimeouts extends SupervisorTimeouts {
  /** For a worker to apply a route that must be applied. */
  applyMs: number;
  /** For the clusters to be known, before workers are started with what there is. */
  settleMs: number;
}

/** Where the data comes from. */
type From = { from?: NodeAddress };

type DrainOrder = { node: NodeAddress; timeoutMs?: number; to?: NodeAddress; force?: boolean };

/** How long what has begun on a node that is drained may take, where nobody says. */
const drainTimeoutMs = 60_000;
const applyMs = 1000;
const settleMs = 1500;
/** How often clusters are looked at though nothing changed: each, and all of them together. */
const leastTickMs = 250;
const tickMsACluster = 3;

/** Rejects with a sentence for the operator where it cannot run; nothing is left running then. */
export async function startControlWith(config: Config, log: Log, parts: ControlParts): Promise<ControlProcess> {
  prepareStateDir(config.stateDir);
  const unlock = lockStateDir(config.stateDir);
  let store: Store | null = null;
  const release = () => {
    store?.close();
    unlock();
  };
  try {
    store = parts.openStore(join(config.stateDir, 'evenkeel.db'));
    const material = await loadMaterial(config, new Date(parts.clock.wallMs()));
    const settings = gatewaySettings(config, material);
    const hash = settingsHash(settings, config.workers, buildOf(parts.workerEntry));
    const control = new ControlProcess({ config, log, parts, store, settings, hash, release });
    await control.start();
    return control;
  } catch (error) {
    release();
    throw error;
  }
}

/** A worker of another build is not taken over. */
function buildOf(workerEntry: URL): string {
  try {
    return readFileSync(new URL('../../package.json', workerEntry), 'utf8');
  } catch {
    return '';
  }
}

interface ControlOptions {
  config: Config;
  log: Log;
  parts: ControlParts;
  store: Store;
  settings: ReturnType<typeof gatewaySettings>;
  hash: string;
  /** Gives the store and the state directory back. */
  release: () => void;
}

/** What `start` and the HTTP interface use. Satisfies ControlApi of src/http by its shape. */
export class ControlProcess {
  readonly #config: Config;
  readonly #log: Log;
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #settleMs: number;
  readonly #clusters = new Map<string, ClusterControl>();
  readonly #fleet: Fleet;
  readonly #table: RouteTable;
  readonly #supervisor: Supervisor;
  readonly #counters = new CounterBook<Member>();
  readonly #events: Events;
  readonly #metrics: Metrics;
  readonly #release: () => void;
  readonly #failed = Promise.withResolvers<never>();
  /** Rejects where the control process cannot go on. */
  readonly done: Promise<unknown> = this.#failed.promise;
  #stopping = false;

  constructor({ config, hash, log, parts, release, settings, store }: ControlOptions) {
    const { clock, timeouts } = parts;
    this.done.catch(() => undefined);
    this.#release = release;
    this.#config = config;
    this.#log = log;
    this.#store = store;
    this.#clock = clock;
    this.#settleMs = timeouts?.settleMs ?? settleMs;
    this.#events = new Events(log, () => new Date(clock.wallMs()));
    // Milliseconds since 1970: above what an earlier run published, which made far less than one a millisecond.
    this.#fleet = new Fleet({
      log,
      applyTimeoutMs: timeouts?.applyMs ?? applyMs,
      firstVersion: clock.wallMs(),
      pauses: () => this.#pauses(),
    });
    this.#table = new RouteTable(this.#fleet, clock);
    this.#supervisor = new Supervisor({
      stateDir: config.stateDir,
      socketPath: chooseSocketPath(config.stateDir),
      workerEntry: parts.workerEntry,
      workers: config.workers,
      settings,
      settingsHash: hash,
      log,
      clock,
      ...(timeouts ? { timeouts } : {}),
      onJoined: (member) => this.#fleet.joined(member),
      onLeft: (member) => this.#workerLeft(member),
      onMessage: (member, message) => this.#received(member, message),
      onState: (worker, state, detail) => this.#events.worker(worker, state, detail),
      onChannelLost: (error) => this.#failed.reject(error),
    });
    for (const cluster of config.clusters) this.#clusters.set(cluster.name, this.#makeCluster(cluster, parts));
    this.#metrics = new Metrics({
      totals: () => this.#counters.totals(),
      clusters: () => [...this.#clusters.values()].map((each) => ({ status: each.status(), view: each.view() })),
      workersUp: () => this.#supervisor.up(),
      paused: () => this.#config.endpoints.map((each) => [each.name, this.#pausedUntil(each) !== null]),
      workerRestarts: () => this.#supervisor.restarts,
    });
  }

  async start(): Promise<void> {
    for (const cluster of this.#clusters.values()) cluster.start();
    try {
      await this.#settle();
      this.#table.start();
      await this.#supervisor.start();
    } catch (error) {
      await Promise.all([...this.#clusters.values()].map((cluster) => cluster.stop()));
      throw error;
    }
  }

  /** Lets clients finish for at most `drainMs`, ends the workers, saves. */
  async stop(drainMs: number): Promise<void> {
    this.#stopping = true;
    // Workers first: a cluster is watched, and recovered, as long as clients are served.
    await this.#supervisor.stop(drainMs);
    await Promise.all([...this.#clusters.values()].map((cluster) => cluster.stop()));
    this.#release();
  }

  status(): StatusJson {
    const counted = this.#counters.totals().endpoints;
    return {
      clusters: [...this.#clusters.values()].map((cluster) => cluster.status()),
      endpoints: this.#config.endpoints.map((settings) =>
        endpointStatus(settings, counted, this.#pausedUntil(settings)),
      ),
    };
  }

  ready(): { ready: boolean; reasons: string[] } {
    const reasons: string[] = [];
    if (this.#stopping) reasons.push('Evenkeel is stopping');
    if (!this.#supervisor.up().some(Boolean)) reasons.push('no worker listens');
    for (const endpoint of this.#config.endpoints) {
      const cluster = this.#clusters.get(endpoint.cluster);
      const reason = notReadyReason(endpoint, cluster && this.#table.routeOf(cluster.routing));
      if (this.#pausedUntil(endpoint) !== null) reasons.push(`endpoint ${endpoint.name}: paused by an operator`);
      else if (reason !== null) reasons.push(reason);
    }
    return { ready: reasons.length === 0, reasons };
  }

  history(filter: { cluster?: string; limit: number }): RecoveryRecord[] {
    return this.#store.history(filter);
  }

  async digests({ order, limit }: { order: DigestOrder; limit: number }): Promise<DigestCounts[]> {
    return topDigests(await this.#fleet.digests(), order, limit);
  }

  recovery(id: string): RecoveryRecord | null {
    return this.#store.recovery(id);
  }

  async switchover(cluster: string, options: { to?: NodeAddress }): Promise<RecoveryRecord> {
    return this.#cluster(cluster).incidents.switchover(options);
  }

  async failover(cluster: string, options: { to?: NodeAddress; force?: boolean }): Promise<RecoveryRecord> {
    return this.#cluster(cluster).incidents.failover(options);
  }

  maintenance(cluster: string, options: { node?: NodeAddress; forMs?: number; end?: boolean }): OperatorOrder {
    return this.#cluster(cluster).maintenance(options);
  }

  async drain(cluster: string, { node, timeoutMs = drainTimeoutMs, ...rest }: DrainOrder): Promise<DrainReport> {
    return this.#cluster(cluster).drain(node, { timeoutMs, ...rest });
  }

  errant(cluster: string, { node }: { node: NodeAddress }): Promise<ErrantReport> {
    return this.#cluster(cluster).errant(node);
  }

  rebuild(cluster: string, { from, ...rest }: Omit<RebuildOrder, 'donor'> & From): Promise<RecoveryRecord> {
    return this.#cluster(cluster).rebuild({ ...rest, ...(from === undefined ? {} : { donor: from }) });
  }

  addNode(cluster: string, { from, ...rest }: Omit<AddOrder, 'donor'> & From): Promise<RecoveryRecord> {
    return this.#cluster(cluster).addNode({ ...rest, ...(from === undefined ? {} : { donor: from }) });
  }

  removeNode(cluster: string, { node, force }: { node: NodeAddress; force?: boolean }): Promise<OperatorOrder> {
    return this.#cluster(cluster).removeNode(node, force ?? false);
  }

  undrain(cluster: string, { node }: { node: NodeAddress }): OperatorOrder {
    return this.#cluster(cluster).undrain(node);
  }

  async pause(endpoint: string, { forMs, waitMs = 0 }: { forMs: number; waitMs?: number }): Promise<PauseReport> {
    const { name, cluster } = this.#endpoint(endpoint);
    // What arrives when the pause begins waits for all of it, and must not be refused for that.
    const longestMs = Math.floor(0.9 * this.#config.hold.timeoutMs);
    if (forMs > longestMs) {
      const text = `statements are refused after hold.timeout (${this.#config.hold.timeoutMs} ms): pause for at most ${longestMs} ms, or raise it`;
      throw new OrderError('refused', text);
    }
    return this.#cluster(cluster).pause(name, forMs, waitMs);
  }

  async resume(endpoint: string): Promise<OperatorOrder> {
    const { name, cluster } = this.#endpoint(endpoint);
    return this.#cluster(cluster).resume(name);
  }

  metrics(): Promise<string> {
    return this.#metrics.text();
  }

  subscribe(listener: (event: ControlEvent) => void): () => void {
    return this.#events.subscribe(listener);
  }

  /** Pids of the workers that run, for a `start` that is asked for them and for tests. */
  workerPids(): number[] {
    return this.#supervisor.pids();
  }

  #makeCluster(config: ClusterConfig, parts: ControlParts): ClusterControl {
    const remembered = this.#store.loadCluster(config.name);
    const promised = remembered === null ? null : concludeUnfinished(this.#store, remembered);
    const demoted = demotedBy(this.#store.history({ cluster: config.name, limit: 200 }));
    const log = this.#log;
    const removed = this.#store.loadOrders(config.name)?.removed ?? [];
    return new ClusterControl({
      config,
      endpoints: this.#config.endpoints.filter(({ cluster }) => cluster === config.name),
      // Where nothing is to be changed, somebody else makes it: see `evenkeel check`.
      ledger:
        config.recovery === 'automatic' &&
        this.#config.endpoints.some((each) => each.cluster === config.name && each.inFlight === 'exactly-once'),
      users: this.#config.users,
      promised,
      memory: remembered ?? { cluster: config.name, epoch: 0, primary: null, nodes: [] },
      monitor: parts.monitor({ config, memory: remembered && { ...remembered, demoted, promised }, log, removed }),
      store: this.#store,
      table: this.#table,
      fleet: this.#fleet,
      recoveries: parts.recoveries,
      clock: this.#clock,
      log,
      tickMs: Math.max(leastTickMs, this.#config.clusters.length * tickMsACluster),
      onStarted: (record) => this.#events.recoveryStarted(record),
      onStep: (record, step) => this.#events.recoveryStep(record, step),
      onEnded: (record) => {
        this.#metrics.recoveryEnded(record);
        this.#events.recoveryEnded(record);
      },
      onStatus: (status) => this.#events.cluster(status),
      onOrder: (order) => this.#events.operatorOrder(config.name, order),
    });
  }

  /** Waits until every cluster is known, for a while: so that a restart does not make clients wait. */
  async #settle(): Promise<void> {
    const deadline = this.#clock.nowMs() + this.#settleMs;
    const settled = () => [...this.#clusters.values()].every((cluster) => cluster.settled());
    while (!settled() && this.#clock.nowMs() < deadline) await this.#clock.sleep(10);
  }

  #cluster(name: string): ClusterControl {
    const cluster = this.#clusters.get(name);
    if (!cluster) throw new OrderError('unknown-cluster', `there is no cluster ${name}`);
    return cluster;
  }

  #endpoint(name: string): Config['endpoints'][number] {
    const endpoint = this.#config.endpoints.find((each) => each.name === name);
    if (endpoint) return endpoint;
    const known = this.#config.endpoints.map((each) => each.name).join(', ');
    throw new OrderError('unknown-endpoint', `there is no endpoint ${name}; there are: ${known}`);
  }

  #pauses(): { endpoint: string; leftMs: number }[] {
    const now = this.#clock.wallMs();
    return [...this.#clusters.values()].flatMap(({ pauses }) =>
      pauses.map(({ endpoint, until }) => ({ endpoint, leftMs: until - now })),
    );
  }

  #pausedUntil({ name, cluster }: Config['endpoints'][number]): number | null {
    return this.#clusters.get(cluster)?.pauses.find(({ endpoint }) => endpoint === name)?.until ?? null;
  }

  #workerLeft(member: Member): void {
    this.#fleet.left(member);
    this.#counters.ended(member);
    for (const cluster of this.#clusters.values()) cluster.workerLeft(member);
  }

  #received(member: Member, message: FromWorker): void {
    switch (message.type) {
      case 'evidence':
        this.#log.debug(
          { worker: member.index, cluster: message.cluster, node: message.node, reason: message.kind },
          'evidence against a node',
        );
        this.#clusters.get(message.cluster)?.evidence(member, message);
        return;
      case 'refresh-accounts':
        this.#clusters.get(message.cluster)?.refreshAccounts();
        return;
      case 'defaults-replaced':
        this.#clusters.get(message.cluster)?.globals.told(message.node, message.replaced);
        this.#fleet.broadcast(message, member);
        return;
      case 'kill': {
        this.#fleet.broadcast({ ...message, asker: member.index }, member);
        return;
      }
      case 'kill-answer':
        this.#fleet.tell(message.asker, { type: 'kill-answer', order: message.order, outcome: message.outcome });
        return;
      case 'counters':
        this.#counters.update(member, message.counters);
        return;
      case 'routes-applied':
      case 'pauses-applied':
      case 'quiesced':
      case 'digests':
      case 'drained':
      case 'opened-ahead':
      case 'impact':
        this.#fleet.message(member, message);
        return;
      case 'hello':
      case 'listening':
      case 'failed':
      case 'retired':
        throw new Error(`${message.type} is the supervisor's: ${errorText(member.index)}`);
    }
  }
}
