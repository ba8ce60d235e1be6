// One cluster as a worker has it behind its routes: a pool of server connections for each node, what these must be brought up
// to, and what is asked and kept of the cluster beside the clients' statements.
import type { Logger } from 'pino';
import type { GatewaySettings, NodeAddress } from '../messages/index.ts';
import { PlaintextCache } from '../wire/index.ts';
import { Accepted, type BringUpOptions, readInsertId, setUp } from './bring-up.ts';
import type { Costs } from './costs.ts';
import type { Directory } from './directory.ts';
import type { Flusher } from './flusher.ts';
import { Holes, Witnesses } from './in-flight/index.ts';
import { NodePool, type PoolHooks, type PoolLimits } from './pool.ts';
import { PrimaryPosition } from './primary-position.ts';
import { runQuietly } from './quiet.ts';
import type { ClusterRouting } from './routes.ts';
import { type Connect, describeLoss, ServerConnection, type ServerConnectionOptions } from './server-connection.ts';
import { Warmer } from './warm.ts';

/** Passwords that are known, of one cluster's accounts. */
const MAX_PLAINTEXTS = 10_000;

/** What its worker has for all clusters. */
export interface BackendOptions {
  settings: Pick<GatewaySettings, 'pool' | 'limits' | 'serverTls'>;
  workers: number;
  log: Logger;
  nowMs: () => number;
  directory: Directory;
  costs: Costs;
  flusher: Flusher;
}

export class Backend {
  readonly cluster: string;
  readonly plaintexts = new PlaintextCache(MAX_PLAINTEXTS);
  readonly warmer: Warmer;
  /** Who is asked before reads that are to see what anybody has written. */
  readonly position: PrimaryPosition;
  /** Numbers that were given to another cluster's transactions would be holes among its own. */
  readonly witnesses: Witnesses;
  /** For connections that are no pool's. */
  readonly connect: Connect;
  #pools = new Map<NodeAddress, NodePool>();
  #holes: Holes;
  #bringUp: BringUpOptions | null = null;
  #routing: ClusterRouting;
  #options: BackendOptions;

  constructor(routing: ClusterRouting, options: BackendOptions) {
    const { log, nowMs } = options;
    this.cluster = routing.cluster;
    this.#routing = routing;
    this.#options = options;
    this.connect = (node, profile, events) => this.#connect({ node, profile, flusher: null, ...events });
    this.warmer = new Warmer(this.connect);
    this.position = new PrimaryPosition(this.connect);
    this.witnesses = new Witnesses(() => routing.route?.nodes ?? []);
    const closed = (count: number): void =>
      log.info({ cluster: this.cluster, count }, 'holes in gtid_executed are closed');
    this.#holes = new Holes(this.witnesses, { nowMs, connect: this.connect, closed });
  }

  /** The node's, made where it is not there yet. */
  pool(node: NodeAddress): NodePool {
    let pool = this.#pools.get(node);
    if (pool === undefined) {
      pool = new NodePool(node, this.#poolLimits(), this.#poolHooks(node));
      this.#pools.set(node, pool);
    }
    return pool;
  }

  /** The node's, if there is one. */
  known(node: NodeAddress): NodePool | undefined {
    return this.#pools.get(node);
  }

  get pools(): ReadonlyMap<NodeAddress, NodePool> {
    return this.#pools;
  }

  /** What bringing a server connection up to a session's state needs to know. */
  get bringUp(): BringUpOptions {
    const { cluster } = this;
    const { directory } = this.#options;
    const flavor = directory.flavor(cluster);
    if (this.#bringUp?.flavor !== flavor) {
      const tracksGtids = this.#routing.gates.some(({ split }) => split !== null && split.causal !== 'none');
      this.#bringUp = { flavor, cluster, directory, accepted: new Accepted(), tracksGtids };
    }
    return this.#bringUp;
  }

  tick(): void {
    for (const pool of this.#pools.values()) pool.tick();
  }

  everySecond(): void {
    for (const pool of this.#pools.values()) pool.trim();
    this.#holes.tick(this.#routing.route);
  }

  close(): void {
    for (const pool of this.#pools.values()) pool.closeAll();
    this.position.close();
    this.#holes.close();
    this.plaintexts.clear();
  }

  #connect(options: Omit<ServerConnectionOptions, 'tls' | 'connectTimeoutMs' | 'maxPacketBytes'>): ServerConnection {
    const { pool, limits, serverTls } = this.#options.settings;
    return new ServerConnection({
      ...options,
      tls: serverTls[this.cluster] ?? { mode: 'as-client' },
      connectTimeoutMs: pool.connectTimeoutMs,
      maxPacketBytes: limits.maxPacketBytes,
    });
  }

  #poolHooks(node: NodeAddress): PoolHooks {
    const { costs, flusher, nowMs } = this.#options;
    return {
      nowMs,
      connect: (profile, events) => this.#connect({ node, profile, flusher, ...events }),
      setUp: (link, ready) => setUp(link, this.bringUp, ready),
      onIdleClosed: (from, loss) => this.#routing.suspect(from, 'idle-closed', describeLoss(loss), nowMs()),
      readInsertId: (link) => {
        if (link.insertIdOf === null) return;
        runQuietly(link, [readInsertId(link, link.insertIdOf)], () => {});
        link.lastSession = null; // whose ROW_COUNT() this has just taken
      },
      onProgress: (ended, eachUs) => {
        const now = nowMs();
        for (const { costSlot } of ended) if (costSlot >= 0) costs.observe(costSlot, eachUs, now);
      },
    };
  }

  #poolLimits(): PoolLimits {
    const { settings, workers } = this.#options;
    const { pool, limits } = settings;
    const share = (total: number): number => Math.max(1, Math.floor(total / workers));
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
}
