// One cluster's control: its monitor, its route, its incidents, its evidence and its accounts, joined. Every change
// of what is known comes through `#changed`, which does the same things in the same order each time.
import type { Credentials, ErrantReport } from '../cluster/index.ts';
import type { ClusterView } from '../cluster/types.ts';
import type { ClusterConfig, Config } from '../config/types.ts';
import type { Account, FromWorker, NodeAddress, QuiesceTarget, ToWorker } from '../messages/index.ts';
import type { RecoveryContext, RecoveryRecord, RecoveryStep } from '../recovery/index.ts';
import type { ClusterMemory, Store } from '../store/types.ts';
import { AccountFeed } from './accounts.ts';
import type { Maintenance } from './decide.ts';
import { drainRefusal } from './draining.ts';
import { ClusterGate, type GateFleet } from './gate.ts';
import { Globals } from './globals.ts';
import { Incidents } from './incidents.ts';
import { Ledger } from './ledger.ts';
import { OrderError } from './order-error.ts';
import { type Clock, errorText, type Log, type Monitor } from './ports.ts';
import { Rebuilds } from './rebuilds.ts';
import type { Recoveries } from './recoveries.ts';
import { Reviews } from './reviews.ts';
import { suspectGraceMs } from './routes.ts';
import { ClusterRouting, type RouteTable } from './routing.ts';
import { type DrainReport, isoTime, type OperatorOrder, type PauseReport, Standing } from './standing.ts';
import { type ClusterStatus, clusterStatus } from './status.ts';

/** Of global variables: 10 s, and more where one process watches many clusters. */
const ticksBetweenGlobals = 40;
/** How long the server of a node that was built may take to come back, where nobody says. */
const returnMs = 1_800_000;
const lookMs = 2000;
const detachMs = 10_000;

export interface RebuildOrder {
  node: NodeAddress;
  donor?: NodeAddress;
  force?: boolean;
  returnWaitMs?: number;
}

export interface AddOrder extends Omit<RebuildOrder, 'force'> {
  /** Of an account that the server has now; else the cluster's admin account. */
  credentials?: Credentials;
  /** It has the cluster's data already. */
  keepData?: boolean;
}

export interface DrainOptions {
  timeoutMs: number;
  /** The new primary, where the node is the primary. */
  to?: NodeAddress;
  force?: boolean;
}

export interface ClusterControlOptions {
  config: ClusterConfig;
  /** Of this cluster. */
  endpoints: Config['endpoints'];
  users: Config['users'];
  /** Some endpoint keeps writes in flight, which MariaDB needs a table for. */
  ledger: boolean;
  memory: ClusterMemory;
  monitor: Monitor;
  /** Whom a recovery was about to promote when the process before this one ended. */
  promised: NodeAddress | null;
  store: Store;
  table: RouteTable;
  fleet: GateFleet & {
    setAccounts(cluster: string, accounts: Account[]): void;
    confirmAccounts(cluster: string): void;
    applyPauses(): Promise<boolean>;
    quiesce(of: QuiesceTarget, waitMs: number): Promise<number>;
    broadcast(message: ToWorker): void;
  };
  recoveries: Recoveries;
  clock: Clock;
  log: Log;
  onStarted: (record: RecoveryRecord) => void;
  onStep: (record: RecoveryRecord, step: RecoveryStep) => void;
  onEnded: (record: RecoveryRecord) => void;
  onStatus: (status: ClusterStatus) => void;
  /** Stories have time limits, which no change announces: they are looked at this often. */
  tickMs: number;
  onOrder: (order: OperatorOrder) => void;
}

/** A worker that brought evidence. */
export interface EvidenceSource {
  send(message: ToWorker): boolean;
}

export class ClusterControl {
  readonly name: string;
  readonly incidents: Incidents;
  readonly globals: Globals;
  readonly #options: ClusterControlOptions;
  readonly #routing: ClusterRouting;
  readonly #standing: Standing;
  readonly #rebuilds: Rebuilds;
  readonly #reviews: Reviews<EvidenceSource>;
  readonly #accounts: AccountFeed;
  #unsubscribe: () => void = () => undefined;
  #timer: NodeJS.Timeout | undefined;
  #graceTimer: NodeJS.Timeout | undefined;
  #toldStatus = '';
  readonly #ledger: Ledger | null;
  #changing = false;
  #changedMeanwhile = false;

  constructor(options: ClusterControlOptions) {
    const { clock, config, log, memory, monitor, store, table } = options;
    this.#options = options;
    this.name = config.name;
    const source = {
      view: () => monitor.view(),
      health: () => monitor.primaryHealth(),
      greeting: () => monitor.greeting(),
    };
    this.#standing = new Standing({ cluster: config.name, store, wallMs: () => clock.wallMs() });
    this.#routing = new ClusterRouting({ memory, source, store, clock, drained: () => this.#standing.drained });
    table.add(this.#routing);
    const setPrimary = (node: NodeAddress) => monitor.setPrimary(node);
    const gate = new ClusterGate({ routing: this.#routing, table, fleet: options.fleet, onPrimary: setPrimary, clock });
    const context: RecoveryContext = {
      cluster: config.name,
      view: source.view,
      nodes: monitor.nodeControl,
      gate,
      store,
      clock,
      config,
      log,
      outOfService: () => this.#outOfService(),
    };
    this.#rebuilds = new Rebuilds({
      context,
      run: options.recoveries.rebuild,
      onStarted: options.onStarted,
      onStep: options.onStep,
      onEnded: options.onEnded,
      onChanged: () => this.#changed(),
    });
    this.incidents = new Incidents({
      routing: this.#routing,
      recoveries: options.recoveries,
      context,
      automatic: config.recovery === 'automatic',
      view: source.view,
      health: source.health,
      commit: () => monitor.commitHealth(),
      claim: () => monitor.claim(),
      setPrimary,
      promised: options.promised,
      maintenance: () => this.#maintenance(),
      clock,
      log,
      onStarted: options.onStarted,
      onStep: options.onStep,
      onEnded: options.onEnded,
      onChanged: () => this.#changed(),
    });
    this.#reviews = new Reviews({
      evidence: (kind, node, detail) => monitor.evidence(kind, node, detail),
      look: (node) => monitor.lookNow(node),
      fit: (node, since) => this.#fit(node, since),
      nowMs: () => clock.nowMs(),
    });
    this.globals = new Globals({
      cluster: config.name,
      nodes: monitor.nodeControl,
      clock,
      log,
      everyMs: options.tickMs * ticksBetweenGlobals,
      onReplaced: (node, replaced) =>
        options.fleet.broadcast({ type: 'defaults-replaced', cluster: config.name, node, replaced }),
    });
    this.#ledger = options.ledger ? new Ledger({ cluster: config.name, nodes: monitor.nodeControl, clock, log }) : null;
    this.#accounts = new AccountFeed({
      cluster: config.name,
      users: options.users,
      monitor,
      clock,
      log,
      onAccounts: (accounts) => options.fleet.setAccounts(config.name, accounts),
      onUnchanged: () => options.fleet.confirmAccounts(config.name),
    });
  }

  get routing(): ClusterRouting {
    return this.#routing;
  }

  view(): ClusterView {
    return this.#options.monitor.view();
  }

  /** Begins to watch. Nothing is done about what is seen before `act`. */
  start(): void {
    this.#unsubscribe = this.#options.monitor.onChange(() => this.#changed());
    this.#options.monitor.start();
    this.#accounts.start();
    this.#timer = setInterval(() => this.#changed(), this.#options.tickMs);
    this.#changed();
  }

  /** Ends what runs, then watching. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    clearTimeout(this.#graceTimer);
    this.#accounts.stop();
    await this.incidents.stop();
    this.#unsubscribe();
    await this.#options.monitor.stop();
  }

  /** True once enough is known for a route that would not make a sound cluster's clients wait. */
  settled(): boolean {
    const known = this.#accounts.told && this.#options.monitor.greeting() !== null;
    return known && this.#routing.route().gate.state === 'open';
  }

  evidence(source: EvidenceSource, message: FromWorker & { type: 'evidence' }): void {
    this.#reviews.take(source, message, (evidence, healthy) => {
      source.send({ type: 'reviewed', cluster: this.name, evidence, healthy });
    });
  }

  workerLeft(source: EvidenceSource): void {
    this.#reviews.forget(source);
  }

  refreshAccounts(): void {
    this.#accounts.refresh();
  }

  status(): ClusterStatus {
    const { config, monitor, table } = this.#options;
    return clusterStatus({
      config,
      route: table.routeOf(this.#routing),
      view: monitor.view(),
      health: monitor.primaryHealth(),
      running: this.incidents.running?.kind ?? null,
      problems: this.incidents.problems(),
      maintenance: this.#standing.maintenanceOrders,
      drained: this.#standing.drained,
    });
  }

  /** Begins or ends maintenance of a node, or of all. Throws an OrderError. */
  maintenance({ node, forMs, end }: { node?: NodeAddress; forMs?: number; end?: boolean }): OperatorOrder {
    const of = node ?? null;
    if (end === true) {
      if (!this.#standing.endMaintenance(of))
        throw new OrderError('refused', `${node ?? this.name} is not in maintenance`);
      return this.#orderChanged({
        order: 'maintenance',
        of: node ?? this.name,
        state: 'ended',
        by: 'operator',
        until: null,
      });
    }
    this.#mustKnow(node);
    const { until } = this.#standing.maintain(of, forMs ?? null);
    return this.#orderChanged({
      order: 'maintenance',
      of: node ?? this.name,
      state: 'begun',
      by: 'operator',
      until: isoTime(until),
    });
  }

  #mustKnow(node: NodeAddress | undefined): void {
    if (node === undefined || this.view().nodes.some((each) => each.node === node)) return;
    const known = this.view().nodes.map((each) => each.node);
    throw new OrderError('unknown-node', `${this.name} has no node ${node}; it has ${known.join(', ')}`);
  }

  /** Tells it and acts upon it. */
  #orderChanged(order: OperatorOrder): OperatorOrder {
    this.#options.log.info({ cluster: this.name, ...order }, `${order.order} of ${order.of} ${order.state}`);
    this.#options.onOrder(order);
    this.#changed();
    return order;
  }

  #expireOrders(): void {
    for (const order of this.#standing.expire()) this.#orderChanged(order);
  }

  #outOfService(): ReadonlySet<NodeAddress> {
    return new Set([...this.#standing.drained.keys(), ...this.#maintenance().nodes]);
  }

  /** What operators keep for themselves, and what is being built anew. */
  #maintenance(): Maintenance {
    const { cluster, nodes } = this.#standing.maintenance;
    return { cluster, nodes: new Set([...nodes, ...this.#rebuilds.nodes]) };
  }

  /** What the node has and the primary has not. Rejects where they, or its binary log, cannot be read. */
  async errant(node: NodeAddress): Promise<ErrantReport> {
    const { monitor } = this.#options;
    this.#mustKnow(node);
    const { primary } = this.#routing.memory;
    if (primary === null) throw new OrderError('refused', 'no primary is known to compare with');
    try {
      // The node first and the primary after it, or what is replicated between the two would look errant.
      const own = await monitor.nodeControl.look(node, lookMs);
      const theirs = await monitor.nodeControl.look(primary, lookMs);
      return await monitor.rebuilder.errant(node, own, theirs);
    } catch (error) {
      throw new OrderError('refused', `it could not be read: ${errorText(error)}`);
    }
  }

  /** Builds a node anew. Resolves with the record, however it ended; rejects with an OrderError where it did not begin. */
  async rebuild({ node, returnWaitMs = returnMs, ...rest }: RebuildOrder): Promise<RecoveryRecord> {
    this.#mustKnow(node);
    this.#mustKnow(rest.donor);
    return this.#rebuilds.start({ node, returnWaitMs, rebuilder: this.#options.monitor.rebuilder, ...rest });
  }

  /** Makes a server a node. As `rebuild`. */
  async addNode({ node, donor, credentials, keepData, returnWaitMs = returnMs }: AddOrder): Promise<RecoveryRecord> {
    const { monitor } = this.#options;
    this.#mustKnow(donor);
    if (this.view().nodes.some((each) => each.node === node)) {
      throw new OrderError(
        'refused',
        `${node} is a node of ${this.name} already; to build it anew: evenkeel rebuild ${node}`,
      );
    }
    const added = { credentials: credentials ?? null, keepData: keepData ?? false };
    const from = donor === undefined ? {} : { donor };
    const record = await this.#rebuilds.start({ node, returnWaitMs, rebuilder: monitor.rebuilder, added, ...from });
    if (record.outcome !== 'done') return record;
    this.#standing.admit(node);
    monitor.admitNode(node);
    this.#changed();
    return record;
  }

  /**
   * Takes a node out for good. It must not follow the primary any more: what a node acknowledges that no failover would ask
   * could be lost.
   */
  async removeNode(node: NodeAddress, force: boolean): Promise<OperatorOrder> {
    const { monitor } = this.#options;
    this.#mustKnow(node);
    const topology = this.view().topology ?? 'replication';
    if (topology !== 'replication')
      throw new OrderError('refused', `${this.name} (${topology}) knows its members itself`);
    if (node === this.#routing.memory.primary)
      throw new OrderError('refused', `${node} is the primary: drain it first`);
    if (!this.#standing.drained.has(node) && !force)
      throw new OrderError('refused', `${node} is in service: drain it first`);
    try {
      await monitor.nodeControl.detachFromSource(node, detachMs);
    } catch (error) {
      const text = `${node} was not detached from its source: ${errorText(error)}`;
      if (!force) throw new OrderError('refused', `${text}. If its server never comes back: --force`);
      this.#options.log.warn({ cluster: this.name, node }, text);
    }
    this.#standing.remove(node);
    this.#routing.forgetMember(node);
    monitor.removeNode(node);
    return this.#orderChanged({ order: 'remove-node', of: node, state: 'begun', by: 'operator', until: null });
  }

  /**
   * Takes a node out of service: the primary role away first, then nothing new is sent there, and what has begun may end
   * within `timeoutMs`. Rejects with an OrderError where that is not safe, unless forced.
   */
  async drain(node: NodeAddress, { timeoutMs, to, force }: DrainOptions): Promise<DrainReport> {
    const { config, endpoints, fleet, monitor, table } = this.#options;
    this.#mustKnow(node);
    const { primary } = this.#routing.memory;
    const facts = this.view().nodes.find((each) => each.node === primary)?.observation.facts;
    const semiSync =
      config.durability === 'detect' ? facts?.semiSync?.sourceEnabled === true : config.durability === 'semisync';
    const drained = this.#outOfService();
    const refusal = drainRefusal({ node, primary, view: monitor.view(), drained, endpoints, semiSync });
    if (refusal !== null && force !== true)
      throw new OrderError('refused', `${refusal}. To drain it all the same: --force`);
    const switchover = node === primary ? await this.incidents.switchover(to === undefined ? {} : { to }) : null;
    if (switchover !== null && switchover.outcome !== 'done') {
      throw new OrderError('refused', `${node} is the primary, and it could not be moved: ${switchover.reason}`);
    }
    this.#standing.drain(node, timeoutMs);
    const order = this.#orderChanged({ order: 'drain', of: node, state: 'begun', by: 'operator', until: null });
    await table.apply(this.#routing);
    const ended = await fleet.quiesce({ cluster: this.name, node }, timeoutMs);
    if (this.#standing.drained.has(node)) this.#standing.drain(node, 0);
    await table.apply(this.#routing);
    this.#changed();
    return { ...order, ended, switchover };
  }

  /** Puts a node back into service: it serves as soon as it is sound. Throws an OrderError where it is not drained. */
  undrain(node: NodeAddress): OperatorOrder {
    if (!this.#standing.undrain(node)) throw new OrderError('refused', `${node} is not drained`);
    return this.#orderChanged({ order: 'drain', of: node, state: 'ended', by: 'operator', until: null });
  }

  /** What is paused now, and until when. */
  get pauses(): readonly { endpoint: string; until: number }[] {
    return this.#standing.pauses;
  }

  /**
   * Holds an endpoint's statements in every worker, for `forMs` at most; then waits for what is in progress there, for
   * `waitMs` at most. Rejects with an OrderError where a worker did not follow; nothing is paused then.
   */
  async pause(endpoint: string, forMs: number, waitMs: number): Promise<PauseReport> {
    const { fleet } = this.#options;
    const { until } = this.#standing.pause(endpoint, forMs);
    if (!(await fleet.applyPauses())) {
      this.#standing.resume(endpoint);
      await fleet.applyPauses();
      throw new OrderError(
        'refused',
        'a worker did not say that it holds: nothing is paused; look at the log, try again',
      );
    }
    const order = this.#orderChanged({
      order: 'pause',
      of: endpoint,
      state: 'begun',
      by: 'operator',
      until: isoTime(until),
    });
    return { ...order, inProgress: await fleet.quiesce({ endpoint }, Math.min(waitMs, forMs)) };
  }

  /** Rejects with an OrderError where it is not paused. A worker that does not hear of it resumes when the time is over. */
  async resume(endpoint: string): Promise<OperatorOrder> {
    if (!this.#standing.resume(endpoint)) throw new OrderError('refused', `${endpoint} is not paused`);
    await this.#options.fleet.applyPauses();
    return this.#orderChanged({ order: 'pause', of: endpoint, state: 'ended', by: 'operator', until: null });
  }

  #fit(node: NodeAddress, since: number): boolean {
    const seen = this.#options.monitor.view().nodes.find((each) => each.node === node)?.observation;
    if (seen?.reach.state !== 'up' || seen.factsAt === null || seen.factsAt < since) return false;
    if (node !== this.#routing.memory.primary) return true;
    return this.#routing.route().gate.state === 'open';
  }

  /** Not entered twice: what happens in it may itself be a change. */
  #changed(): void {
    if (this.#changing) {
      this.#changedMeanwhile = true;
      return;
    }
    this.#changing = true;
    try {
      do {
        this.#changedMeanwhile = false;
        // Routes first: a hold must not wait for anything. Then what to do about it, then who asked.
        this.#options.table.refresh(this.#routing);
        this.#expireOrders();
        this.#lookWhenGraceEnds();
        this.incidents.evaluate();
        this.#reviews.settle();
        this.#routing.rememberMembers();
        this.#ledger?.evaluate(this.view());
        this.globals.evaluate(this.view());
        this.#tellStatus();
      } while (this.#changedMeanwhile);
    } catch (error) {
      // The next tick tries again; a store that cannot be written must not end the control process.
      this.#options.log.error({ cluster: this.name, error: errorText(error) }, 'a change could not be handled');
    } finally {
      this.#changing = false;
    }
  }

  /** A suspicion that grows old closes the route, and nothing else happens then. */
  #lookWhenGraceEnds(): void {
    const health = this.#options.monitor.primaryHealth();
    if (health.state !== 'suspect') return;
    const leftMs = health.since + suspectGraceMs - this.#options.clock.nowMs();
    if (leftMs <= 0) return;
    clearTimeout(this.#graceTimer);
    this.#graceTimer = setTimeout(() => this.#changed(), leftMs);
  }

  /** Lag and GTIDs change with every probe: they are no news. */
  #tellStatus(): void {
    const status = this.status();
    const news = JSON.stringify({ ...status, nodes: status.nodes.map(({ node, role, state }) => [node, role, state]) });
    if (news === this.#toldStatus) return;
    this.#toldStatus = news;
    this.#options.onStatus(status);
  }
}
