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
  type Refusal,
  refusal,
  type ServerAuthServices,
} from '../wire/index.ts';
import { Backend } from './backend.ts';
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
import { RecordingBudget, WitnessedAccounts } from './in-flight/index.ts';
import { KillOrders, killVictim, PROXY_ID_BASE } from './kill.ts';
import { countPins } from './pins.ts';
import type { NodePool } from './pool.ts';
import { StatementBook } from './prepared.ts';
import { Quiesce } from './quiesce.ts';
import { RandomPool } from './random-pool.ts';
import { type ClusterRouting, type Gate, RoutingTable } from './routes.ts';
import { Rules } from './rules.ts';
import { SessionState } from './session.ts';
import { wayOf } from './split.ts';

const TICK_MS = 20;
const SECOND_MS = 1000;
/** Replicas hear of a GRANT later. */
const RENEW_AGAIN_MS = 10_000;
/** A statement that was held may run for longer than anybody wants to wait for the report. */
const IMPACT_WAIT_MS = 500;
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
  readonly directory: Directory;
  readonly costs = new Costs();
  readonly rules: Rules;
  readonly #random = new RandomPool();
  readonly digests = new Digests();
  readonly statements = new StatementBook();
  readonly flusher = new Flusher();
  readonly witnessed = new WitnessedAccounts();
  readonly recordings = new RecordingBudget(MAX_RECORDED_BYTES);
  #options: GatewayOptions;
  #routes: RoutingTable;
  #budget = new HoldBudget();
  #backends = new Map<string, Backend>();
  #clients = new Map<number, Client>();
  #nextId = 0;
  #endpoints = new Map<string, EndpointState>();
  #impact = new Map<string, ImpactMeter>();
  #counters = new Map<string, number>();
  #drains = new Set<Drain | Quiesce>();
  #killOrders = new KillOrders();
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
    if (client.profile !== null) this.backend(client.cluster).warmer.addAccount(client.profile);
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
      for (const pool of this.#backends.get(cluster)?.pools.values() ?? []) pool.renew(regranted);
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
    this.#backends.get(cluster)?.known(node)?.renew();
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
        this.backend(route.cluster).warmer.setNodes(
          route.nodes.filter((each) => each.serving).map((each) => each.node),
        );
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
      if (leaving === 'drained' && node !== primary) this.backend(cluster).known(node)?.evacuate();
    }
    if (oldPrimary !== null && (cut || oldPrimary !== primary)) this.backend(cluster).known(oldPrimary)?.evacuate();
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
    const now = primary === null ? undefined : this.backend(cluster).known(primary);
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
    for (const backend of this.#backends.values()) backend.close();
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
    return { ...this.#authServices, plaintexts: this.backend(cluster).plaintexts };
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

  /** What this worker has of a cluster that an endpoint leads to. */
  backend(cluster: string): Backend {
    let backend = this.#backends.get(cluster);
    if (backend === undefined) {
      const { costs, directory, flusher, log, settings } = this;
      const options = { settings, workers: this.#options.workers, log, nowMs: this.clock, directory, costs, flusher };
      backend = new Backend(this.#routes.clusters.get(cluster) as ClusterRouting, options);
      this.#backends.set(cluster, backend);
    }
    return backend;
  }

  pool(cluster: string, node: NodeAddress): NodePool {
    return this.backend(cluster).pool(node);
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
    for (const { pools } of this.#backends.values()) {
      for (const [node, pool] of pools) serverConnections[node] = pool.report();
    }
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
    for (const backend of this.#backends.values()) backend.tick();
    if (this.#drains.size > 0) this.#checkDrains();
  }

  #everySecond(): void {
    const now = this.nowMs();
    for (const client of this.#clients.values()) client.tick(now);
    for (const backend of this.#backends.values()) backend.everySecond();
    this.#options.send({ type: 'counters', counters: this.counters() });
  }

  #load(node: NodeAddress): number {
    let load = 0;
    for (const backend of this.#backends.values()) load += backend.known(node)?.load ?? 0;
    return load;
  }

  #evidence(cluster: string, node: NodeAddress, kind: EvidenceKind, evidence: number, detail: string): void {
    this.log.info({ cluster, node, reason: kind, detail }, 'evidence against a node');
    this.count('evidence', kind);
    this.#options.send({ type: 'evidence', cluster, node, kind, evidence, detail });
  }
}
