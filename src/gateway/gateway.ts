// The data plane's process, put together: listeners, clients, pools, routes. It decides nothing about the cluster: it
// does what the routing table says, and tells the control process what it sees.
import { randomBytes } from 'node:crypto';
import net, { type Server, type Socket } from 'node:net';
import tls, { type SecureContext } from 'node:tls';
import type { Logger } from 'pino';
import type {
  Account,
  ClusterRoute,
  EndpointSettings,
  EvidenceKind,
  Flavor,
  FromWorker,
  GatewaySettings,
  KillOutcome,
  NodeAddress,
  QuiesceTarget,
  Replaced,
  ToWorker,
  WorkerCounters,
} from '../messages/index.ts';
import {
  type ErrPacket,
  encodeErr,
  frame,
  loadRsaKeys,
  makeNonce,
  PlaintextCache,
  type Refusal,
  refusal,
  type ServerAuthServices,
} from '../wire/index.ts';
import { Accepted, type BringUpOptions, readInsertId, setUp } from './bring-up.ts';
import { Causality } from './causality.ts';
import { Client } from './client.ts';
import { Costs } from './costs.ts';
import { keepReplaced } from './defaults.ts';
import { Digests } from './digests.ts';
import { Directory } from './directory.ts';
import { Drain } from './drain.ts';
import { Flusher } from './flusher.ts';
import { HoldBudget, type HoldLimits } from './hold.ts';
import { ImpactMeter } from './impact.ts';
import { Holes, RecordingBudget, WitnessedAccounts, Witnesses } from './in-flight/index.ts';
import { KillOrders, killVictim, PROXY_ID_BASE } from './kill.ts';
import { countPins } from './pins.ts';
import { NodePool, type PoolHooks, type PoolLimits } from './pool.ts';
import { StatementBook } from './prepared.ts';
import { PrimaryPosition } from './primary-position.ts';
import { Quiesce } from './quiesce.ts';
import { runQuietly } from './quiet.ts';
import { RandomPool } from './random-pool.ts';
import { type Gate, RoutingTable } from './routes.ts';
import { Rules } from './rules.ts';
import { type Connect, describeLoss, ServerConnection, type ServerConnectionOptions } from './server-connection.ts';
import { SessionState } from './session.ts';
import { wayOf } from './split.ts';
import { Warmer } from './warm.ts';

const TICK_MS = 20;
const SECOND_MS = 1000;
/** Replicas hear of a GRANT later. */
const RENEW_AGAIN_MS = 10_000;
/** A statement that was held may run for longer than anybody wants to wait for the report. */
const IMPACT_WAIT_MS = 500;
/** Passwords that are known, of one cluster's accounts. */
const MAX_PLAINTEXTS = 10_000;
/** Of all open transactions together. */
const MAX_RECORDED_BYTES = 256 * 1024 * 1024;
/** Held statements that are let go at once when a gate opens. */
const RELEASE_CONCURRENCY = 64;

export interface GatewayOptions {
  worker: number;
  workers: number;
  settings: GatewaySettings;
  log: Logger;
  send(message: FromWorker): void;
  /** Is there a control process to listen? */
  controlled(): boolean;
  nowMs: () => number;
}

interface EndpointState {
  settings: EndpointSettings;
  gate: Gate;
  server: Server;
  clients: number;
  held: number;
  statements: number;
  errors: number;
}

export class GatewayWorker {
  readonly settings: GatewaySettings;
  readonly log: Logger;
  readonly secureContext: SecureContext;
  #authServices: Omit<ServerAuthServices, 'plaintexts'>;
  /** By cluster: accounts of the same name are different ones. */
  #plaintexts = new Map<string, PlaintextCache>();
  readonly directory: Directory;
  readonly costs = new Costs();
  readonly rules: Rules;
  readonly #random = new RandomPool();
  readonly digests = new Digests();
  readonly statements = new StatementBook();
  readonly flusher = new Flusher();
  readonly witnessed = new WitnessedAccounts();
  readonly recordings = new RecordingBudget(MAX_RECORDED_BYTES);
  #witnesses = new Map<string, Witnesses>();
  #holes = new Map<string, Holes>();
  #bringUp = new Map<string, BringUpOptions>();
  #options: GatewayOptions;
  #routes: RoutingTable;
  #budget = new HoldBudget();
  #pools = new Map<string, Map<NodeAddress, NodePool>>();
  #clients = new Map<number, Client>();
  #nextId = 0;
  #endpoints = new Map<string, EndpointState>();
  #impact = new Map<string, ImpactMeter>();
  #counters = new Map<string, number>();
  #drains = new Set<Drain | Quiesce>();
  #killOrders = new KillOrders();
  #warmers = new Map<string, Warmer>();
  #positions = new Map<string, PrimaryPosition>();
  #timers: NodeJS.Timeout[] = [];
  #retiring = false;
  closed = false;

  constructor(options: GatewayOptions) {
    this.#options = options;
    this.settings = options.settings;
    this.log = options.log;
    this.directory = new Directory((cluster, user) => options.send({ type: 'refresh-accounts', cluster, user }));
    const { hold, tls: certificate, endpoints } = options.settings;
    const { cert, key, minVersion } = certificate;
    this.secureContext = tls.createSecureContext({ cert, key, minVersion });
    this.#authServices = {
      random: randomBytes,
      rsa: loadRsaKeys(options.settings.rsaKey),
      decoyKey: randomBytes(32),
    };
    this.rules = new Rules(options.settings.rules, options.workers, this.nowMs());
    const limits: HoldLimits = { ...hold, releaseConcurrency: RELEASE_CONCURRENCY };
    this.#routes = new RoutingTable(endpoints, limits, this.#budget, {
      evidence: (cluster, node, kind, evidence, detail) => this.#evidence(cluster, node, kind, evidence, detail),
      load: (node) => this.#load(node),
      closing: (cluster) => this.#meter(cluster).begin(this.nowMs()),
    });
  }

  nowMs(): number {
    return this.#options.nowMs();
  }

  /** As `nowMs`, to be handed on: one function for all clients. */
  get clock(): () => number {
    return this.#options.nowMs;
  }

  // ---- listening ------------------------------------------------------------------------------------------------

  async listen(): Promise<void> {
    await Promise.all(this.settings.endpoints.map((endpoint) => this.#listenOn(endpoint)));
    const tick = setInterval(() => this.#tick(), TICK_MS);
    const second = setInterval(() => this.#everySecond(), SECOND_MS);
    this.#timers.push(tick, second);
  }

  async #listenOn(settings: EndpointSettings): Promise<void> {
    const gate = this.#routes.gates.get(settings.name) as Gate;
    const server = net.createServer({ noDelay: true, keepAlive: true }, (socket) => this.#onConnection(state, socket));
    const state: EndpointState = { settings, gate, server, clients: 0, held: 0, statements: 0, errors: 0 };
    this.#endpoints.set(settings.name, state);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen({ host: settings.host, port: settings.port, reusePort: true, backlog: 4096 }, () => {
        server.off('error', reject);
        server.on('error', (error) => this.log.error({ err: error, endpoint: settings.name }, 'listener failed'));
        resolve();
      });
    });
  }

  #onConnection(endpoint: EndpointState, socket: Socket): void {
    const { limits } = this.settings;
    const full =
      this.#clients.size >= limits.maxClients ||
      this.#clients.size - this.#authenticated.size >= limits.maxUnauthenticated;
    if (full || this.#retiring) {
      this.count('refused_connections', full ? 'limit' : 'retiring');
      socket.on('error', () => socket.destroy());
      socket.end(
        frame(encodeErr(refusal({ kind: 'too-many-connections' }, this.flavor(endpoint.settings.cluster))), 0),
      );
      setTimeout(() => socket.destroy(), SECOND_MS).unref();
      return;
    }
    const connectionId = this.#allocateId();
    endpoint.clients++;
    this.#clients.set(connectionId, new Client(this, endpoint.settings, endpoint.gate, endpoint, socket, connectionId));
  }

  /** Ids name their worker, and cannot be taken for a server's own thread ids. */
  #allocateId(): number {
    const { worker, workers } = this.#options;
    for (;;) {
      const id = PROXY_ID_BASE + this.#nextId * workers + worker;
      this.#nextId = (this.#nextId + 1) % Math.floor(PROXY_ID_BASE / workers);
      if (!this.#clients.has(id)) return id;
    }
  }

  loggedIn(client: Client): void {
    this.#authenticated.add(client);
    if (client.profile !== null) this.#warmer(client.cluster).addAccount(client.profile);
  }

  #authenticated = new Set<Client>();

  gone(client: Client): void {
    if (!this.#clients.delete(client.connectionId)) return;
    this.#authenticated.delete(client);
    client.counters.clients--;
    this.#checkDrains();
  }

  // ---- orders of the control process ----------------------------------------------------------------------------

  onMessage(message: ToWorker): void {
    switch (message.type) {
      case 'configure':
        throw new Error('a worker is configured once');
      case 'routes':
        return this.#applyRoutes(message.version, message.clusters);
      case 'accounts':
        return this.#setAccounts(message.cluster, message.accounts);
      case 'drain':
        return this.#drain(message.id, message.cluster, message.drainMs);
      case 'open-ahead':
        return this.#openAhead(message.id, message.cluster, message.node, message.waitMs);
      case 'reviewed':
        return this.#routes.clusters.get(message.cluster)?.reviewed(message.evidence, message.healthy, this.nowMs());
      case 'defaults-replaced':
        return this.#renewDefaults(message.cluster, message.node, message.replaced);
      case 'kill':
        return this.#killFor(message);
      case 'kill-answer':
        return this.#killOrders.answer(message.order, message.outcome);
      case 'impact-report': {
        const { id, cluster, recovery } = message;
        return this.#reportImpact(id, cluster, recovery, this.nowMs() + IMPACT_WAIT_MS);
      }
      case 'pauses':
        this.#routes.applyPauses(message.pauses, this.nowMs());
        return this.#options.send({ type: 'pauses-applied', version: message.version });
      case 'digests-report':
        return this.#options.send({ type: 'digests', id: message.id, digests: this.digests.report() });
      case 'quiesce':
        return this.#quiesce(message.id, message.of, message.waitMs);
      case 'retire':
        return this.#retire(message.drainMs);
    }
  }

  #setAccounts(cluster: string, accounts: Account[] | null): void {
    const regranted = accounts === null ? null : this.directory.regranted(cluster, accounts);
    this.directory.setAccounts(cluster, accounts);
    if (regranted === null || regranted.size === 0) return;
    const renew = (): void => {
      for (const pool of this.pools(cluster)) pool.renew(regranted);
    };
    renew();
    // What was opened meanwhile to replicas that had not heard of it.
    setTimeout(renew, RENEW_AGAIN_MS).unref();
  }

  /** A client of ours has changed who may log in, or what with: that is not to wait for the next time that accounts are read. */
  accountsChanged(cluster: string): void {
    this.directory.refresh(cluster, '', () => {});
  }

  /** A client of ours has set something GLOBAL: for all workers. */
  defaultsReplaced(cluster: string, node: NodeAddress, replaced: Replaced): void {
    this.#renewDefaults(cluster, node, replaced);
    this.#options.send({ type: 'defaults-replaced', cluster, node, replaced });
  }

  #renewDefaults(cluster: string, node: NodeAddress, replaced: Replaced): void {
    this.#pools.get(cluster)?.get(node)?.renew();
    if ('sql_mode' in replaced) this.directory.doubtSqlMode(cluster);
    if (this.#routes.clusters.get(cluster)?.route?.primary !== node) return;
    for (const client of this.#authenticated) {
      if (client.cluster === cluster && client.gate.wantsPrimary) keepReplaced(client.session, replaced);
    }
  }

  #applyRoutes(version: number, clusters: ClusterRoute[]): void {
    for (const route of clusters) {
      const routing = this.#routes.clusters.get(route.cluster);
      if (routing === undefined) continue;
      const oldPrimary = routing.route?.primary ?? null;
      // Before the gate opens: nothing that the old primary still says may reach a client.
      const cut = route.gate.state === 'closed' && route.gate.reason === 'failover';
      if (!routing.apply(route, this.nowMs(), () => this.#leaveOld(routing.cluster, oldPrimary, cut))) {
        this.log.warn({ cluster: route.cluster, epoch: route.epoch }, 'a route of an older epoch was refused');
      }
      if (route.flavor === 'mysql') {
        this.#warmer(route.cluster).setNodes(route.nodes.filter((each) => each.serving).map((each) => each.node));
      }
      const {
        serverVersion,
        collation,
        flavor,
        sessionVariables,
        group = null,
        sqlMode = null,
        autocommit = true,
      } = route;
      const greeting = { serverVersion, collation, flavor, group, sqlMode, autocommit };
      this.directory.setGreeting(route.cluster, greeting, sessionVariables);
    }
    this.#routes.version = version;
    this.#options.send({ type: 'routes-applied', version });
    this.#checkDrains();
  }

  /** Takes clients off nodes that their gates no longer admit; off the primary, too, where a failover has begun. */
  #leaveOld(cluster: string, oldPrimary: NodeAddress | null, cut: boolean): void {
    for (const client of this.#clients.values()) {
      const link = client.activeLink;
      if (link === null || client.cluster !== cluster) continue;
      const way = wayOf(client);
      if (cut && client.gate.wantsPrimary && way === 'primary') client.tether.leaveNode('the primary failed');
      else if (link.busy && client.gate.letsEnd(link.node)) continue;
      else if (!client.gate.admits(link.node, way)) client.tether.leaveNode(`${link.node} left service`);
    }
    const { primary = null, nodes = [] } = this.#routes.clusters.get(cluster)?.route ?? {};
    for (const { node, leaving } of nodes) {
      if (leaving === 'drained' && node !== primary) this.#pools.get(cluster)?.get(node)?.evacuate();
    }
    if (oldPrimary !== null && (cut || oldPrimary !== primary)) this.#pools.get(cluster)?.get(oldPrimary)?.evacuate();
  }

  /** Once the statements that waited have had their answers: only then is it known how long they waited. */
  #reportImpact(id: number, cluster: string, recovery: string, deadlineMs: number): void {
    const gates = this.#routes.clusters.get(cluster)?.gates ?? [];
    if (this.nowMs() < deadlineMs && gates.some((gate) => gate.wantsPrimary && !gate.hold.settledDown)) {
      setTimeout(() => this.#reportImpact(id, cluster, recovery, deadlineMs), TICK_MS);
      return;
    }
    this.#options.send({ type: 'impact', id, cluster, recovery, impact: this.#meter(cluster).take() });
  }

  #warmer(cluster: string): Warmer {
    let warmer = this.#warmers.get(cluster);
    if (warmer === undefined) {
      warmer = new Warmer(this.connector(cluster));
      this.#warmers.set(cluster, warmer);
    }
    return warmer;
  }

  #drain(id: number, cluster: string, drainMs: number): void {
    const drain = new Drain(cluster, this.nowMs() + drainMs, (endedTransactions) => {
      this.#drains.delete(drain);
      this.#options.send({ type: 'drained', id, cluster, endedTransactions });
    });
    this.#drains.add(drain);
    this.#checkDrains();
  }

  #quiesce(id: number, of: QuiesceTarget, waitMs: number): void {
    const quiesce = new Quiesce(of, this.nowMs() + waitMs, (inProgress) => {
      this.#drains.delete(quiesce);
      this.#options.send({ type: 'quiesced', id, inProgress });
    });
    this.#drains.add(quiesce);
    this.#checkDrains();
  }

  #openAhead(id: number, cluster: string, node: NodeAddress, waitMs: number): void {
    const pool = this.pool(cluster, node);
    const primary = this.#routes.clusters.get(cluster)?.route?.primary ?? null;
    const now = primary === null ? undefined : this.#pools.get(cluster)?.get(primary);
    if (now !== undefined && now !== pool) pool.openAhead(now);
    this.#reportAhead(id, pool, this.nowMs() + waitMs);
  }

  /** Once all is open; what is not open in time comes when it is asked for. */
  #reportAhead(id: number, pool: NodePool, deadlineMs: number): void {
    if (pool.opensAhead && this.nowMs() < deadlineMs) {
      setTimeout(() => this.#reportAhead(id, pool, deadlineMs), TICK_MS);
      return;
    }
    this.#options.send({ type: 'opened-ahead', id, open: pool.counts().open });
  }

  #checkDrains(): void {
    for (const drain of this.#drains) drain.check(this.#clients.values(), this.nowMs());
  }

  #retire(drainMs: number): void {
    if (this.#retiring) return;
    this.#retiring = true;
    for (const endpoint of this.#endpoints.values()) endpoint.server.close();
    const deadline = this.nowMs() + drainMs;
    const timer = setInterval(() => {
      const late = this.nowMs() >= deadline;
      for (const client of this.#clients.values()) {
        if (!client.retire() && late) client.close();
      }
      if (this.#clients.size > 0 && !late) return;
      clearInterval(timer);
      this.#options.send({ type: 'retired' });
      this.close();
    }, TICK_MS);
  }

  close(): void {
    this.closed = true;
    for (const timer of this.#timers) clearInterval(timer);
    for (const endpoint of this.#endpoints.values()) endpoint.server.close();
    for (const client of this.#clients.values()) client.close();
    for (const nodes of this.#pools.values()) for (const pool of nodes.values()) pool.closeAll();
    for (const position of this.#positions.values()) position.close();
    for (const holes of this.#holes.values()) holes.close();
    for (const plaintexts of this.#plaintexts.values()) plaintexts.clear();
  }

  /** The control process is gone for good: no new clients; the ones there are stay as long as they like. */
  orphan(onEmpty: () => void): void {
    for (const endpoint of this.#endpoints.values()) endpoint.server.close();
    const timer = setInterval(() => {
      if (this.#clients.size > 0) return;
      clearInterval(timer);
      onEmpty();
    }, SECOND_MS);
  }

  // ---- what clients ask for -------------------------------------------------------------------------------------

  flavor(cluster: string): Flavor {
    return this.directory.flavor(cluster);
  }

  authServices(cluster: string): ServerAuthServices {
    let plaintexts = this.#plaintexts.get(cluster);
    if (plaintexts === undefined) {
      plaintexts = new PlaintextCache(MAX_PLAINTEXTS);
      this.#plaintexts.set(cluster, plaintexts);
    }
    return { ...this.#authServices, plaintexts };
  }

  makeNonce(): Buffer {
    return makeNonce((bytes) => this.#random.take(bytes));
  }

  addressOf(socket: Socket): string {
    return socket.remoteAddress ?? '';
  }

  refusal(client: Client, why: Refusal): ErrPacket {
    return refusal(why, this.flavor(client.cluster));
  }

  pool(cluster: string, node: NodeAddress): NodePool {
    let nodes = this.#pools.get(cluster);
    if (nodes === undefined) {
      nodes = new Map();
      this.#pools.set(cluster, nodes);
    }
    let pool = nodes.get(node);
    if (pool === undefined) {
      pool = new NodePool(node, this.#poolLimits(), this.#poolHooks(cluster, node));
      nodes.set(node, pool);
    }
    return pool;
  }

  #poolHooks(cluster: string, node: NodeAddress): PoolHooks {
    return {
      nowMs: () => this.nowMs(),
      connect: (profile, events) => this.#connect(cluster, { node, profile, flusher: this.flusher, ...events }),
      setUp: (link, ready) => setUp(link, this.bringUpOptions(cluster), ready),
      onIdleClosed: (from, loss) => {
        this.#routes.clusters.get(cluster)?.suspect(from, 'idle-closed', describeLoss(loss), this.nowMs());
      },
      readInsertId: (link) => {
        if (link.insertIdOf === null) return;
        runQuietly(link, [readInsertId(link, link.insertIdOf)], () => {});
        link.lastSession = null; // whose ROW_COUNT() this has just taken
      },
      onProgress: (ended, eachUs) => {
        const now = this.nowMs();
        for (const { costSlot } of ended) if (costSlot >= 0) this.costs.observe(costSlot, eachUs, now);
      },
    };
  }

  #connect(cluster: string, options: Omit<ServerConnectionOptions, 'tls' | 'connectTimeoutMs' | 'maxPacketBytes'>) {
    const { pool, limits, serverTls } = this.settings;
    return new ServerConnection({
      ...options,
      tls: serverTls[cluster] ?? { mode: 'as-client' },
      connectTimeoutMs: pool.connectTimeoutMs,
      maxPacketBytes: limits.maxPacketBytes,
    });
  }

  /** For connections that are no pool's. */
  connector(cluster: string): Connect {
    return (node, profile, events) => this.#connect(cluster, { node, profile, flusher: null, ...events });
  }

  /** What bringing a server connection of the cluster up to a session's state needs to know. */
  bringUpOptions(cluster: string): BringUpOptions {
    let options = this.#bringUp.get(cluster);
    const flavor = this.flavor(cluster);
    if (options === undefined || options.flavor !== flavor) {
      const tracksGtids = [...this.#routes.gates.values()].some(
        ({ cluster: its, split }) => its.cluster === cluster && split !== null && split.causal !== 'none',
      );
      options = { flavor, cluster, directory: this.directory, accepted: new Accepted(), tracksGtids };
      this.#bringUp.set(cluster, options);
    }
    return options;
  }

  /** The client's, who has logged in for the first time or anew. */
  beginSession(client: Client, collation: number): SessionState {
    const session = new SessionState(collation, client.session.causality ?? this.#causality(client));
    session.begin(this.directory.defaults(client.cluster));
    return session;
  }

  /** What the reads of a new session are to be no older than. */
  #causality({ cluster, gate }: Client): Causality | null {
    const { split, cluster: routing } = gate;
    if (split === null || split.causal === 'none') return null;
    return new Causality(this.flavor(cluster), routing.route?.epoch ?? 0);
  }

  /** Who is asked before reads that are to see what anybody has written; null: nobody need be. */
  primaryPosition({ cluster, gate }: Client): PrimaryPosition | null {
    if (gate.split?.causal !== 'global') return null;
    let position = this.#positions.get(cluster);
    if (position === undefined) {
      position = new PrimaryPosition(this.connector(cluster));
      this.#positions.set(cluster, position);
    }
    return position;
  }

  /** A cluster's own: numbers that were given to another's transactions would be holes among its. */
  witnesses(cluster: string): Witnesses {
    let witnesses = this.#witnesses.get(cluster);
    if (witnesses === undefined) {
      witnesses = new Witnesses(() => this.#routes.clusters.get(cluster)?.route?.nodes ?? []);
      this.#witnesses.set(cluster, witnesses);
      this.#holes.set(
        cluster,
        new Holes(witnesses, {
          nowMs: this.clock,
          connect: this.connector(cluster),
          closed: (count) => this.log.info({ cluster, count }, 'holes in gtid_executed are closed'),
        }),
      );
    }
    return witnesses;
  }

  pools(cluster: string): Iterable<NodePool> {
    return this.#pools.get(cluster)?.values() ?? [];
  }

  #poolLimits(): PoolLimits {
    const { pool, limits } = this.settings;
    const share = (total: number): number => Math.max(1, Math.floor(total / this.#options.workers));
    return {
      maxConnections: share(pool.maxPerNode),
      maxConnecting: pool.maxConnecting,
      connectRate: share(pool.connectRate),
      maxWaiting: limits.maxClients,
      idleTimeoutMs: pool.idleTimeoutMs,
      minConnections: pool.minPerAccount,
      maxLifetimeMs: pool.maxLifetimeMs,
    };
  }

  /** Kills by one of our own ids, here or in another worker; calls back once. */
  kill(by: Client, connectionId: number, queryOnly: boolean, callback: (outcome: KillOutcome) => void): void {
    if (this.#isOurs(connectionId)) {
      return callback(killVictim(this, this.#clients.get(connectionId), queryOnly, by));
    }
    const order = this.#killOrders.add(callback);
    if (order === null) return callback('unknown');
    const { cluster, user } = by;
    this.#options.send({ type: 'kill', order, connectionId, queryOnly, cluster, user });
  }

  #killFor({ order, asker, connectionId, queryOnly, ...by }: Extract<ToWorker, { type: 'kill' }>): void {
    if (!this.#isOurs(connectionId)) return;
    const outcome = killVictim(this, this.#clients.get(connectionId), queryOnly, by);
    this.#options.send({ type: 'kill-answer', order, asker, outcome });
  }

  #isOurs(connectionId: number): boolean {
    const { worker, workers } = this.#options;
    return (connectionId - PROXY_ID_BASE) % workers === worker;
  }

  // ---- counting -------------------------------------------------------------------------------------------------

  statementFinished(): void {
    if (this.#drains.size > 0) this.#checkDrains();
  }

  errorFor(client: Client): void {
    client.counters.errors++;
    this.#meter(client.cluster).failed();
  }

  count(name: string, label: string): void {
    const key = `${name}\0${label}`;
    this.#counters.set(key, (this.#counters.get(key) ?? 0) + 1);
  }

  impact(gate: Gate): ImpactMeter {
    return this.#meter(gate.cluster.cluster);
  }

  #meter(cluster: string): ImpactMeter {
    let meter = this.#impact.get(cluster);
    if (meter === undefined) {
      meter = new ImpactMeter();
      this.#impact.set(cluster, meter);
    }
    return meter;
  }

  counters(): WorkerCounters {
    const serverConnections: WorkerCounters['serverConnections'] = {};
    for (const nodes of this.#pools.values()) for (const [node, pool] of nodes) serverConnections[node] = pool.report();
    const pins = countPins(this.#clients.values());
    const events = [...this.#counters].map(([key, count]) => {
      const [name = '', label = ''] = key.split('\0');
      return { name, label, count };
    });
    events.push({ name: 'hold_entered', label: '', count: this.#budget.entered });
    for (const [label, count] of Object.entries(this.#budget.exits)) events.push({ name: 'hold_ended', label, count });
    for (const [label, count] of this.#budget.starts) events.push({ name: 'hold_started', label, count });
    const { user, system } = process.cpuUsage();
    return {
      endpoints: [...this.#endpoints.values()].map(({ settings, clients, held, statements, errors }) => ({
        endpoint: settings.name,
        clients,
        held,
        statements,
        errors,
        pinned: pins.get(settings.name) ?? {},
      })),
      serverConnections,
      events,
      cpuUs: user + system,
      residentBytes: process.memoryUsage.rss(),
    };
  }

  // ---- time -----------------------------------------------------------------------------------------------------

  #tick(): void {
    this.#routes.tick(this.nowMs(), this.#options.controlled());
    for (const nodes of this.#pools.values()) for (const pool of nodes.values()) pool.tick();
    if (this.#drains.size > 0) this.#checkDrains();
  }

  #everySecond(): void {
    const now = this.nowMs();
    for (const client of this.#clients.values()) client.tick(now);
    for (const nodes of this.#pools.values()) for (const pool of nodes.values()) pool.trim();
    for (const [cluster, holes] of this.#holes) holes.tick(this.#routes.clusters.get(cluster)?.route ?? null);
    this.#options.send({ type: 'counters', counters: this.counters() });
  }

  #load(node: NodeAddress): number {
    let load = 0;
    for (const nodes of this.#pools.values()) load += nodes.get(node)?.load ?? 0;
    return load;
  }

  #evidence(cluster: string, node: NodeAddress, kind: EvidenceKind, evidence: number, detail: string): void {
    this.log.info({ cluster, node, reason: kind, detail }, 'evidence against a node');
    this.count('evidence', kind);
    this.#options.send({ type: 'evidence', cluster, node, kind, evidence, detail });
  }
}
