// Writes the heartbeat: a row for each node in `evenkeel.heartbeat`, on the primary alone, over a connection of its
// own. Often while the primary is at work, rarely while it is idle: a primary that dies between a commit and its
// replication keeps a transaction that nobody else has, and an idle one should not die of our writes.
//
// The write carries its own condition: it writes nothing where the server has become read-only, which our account
// may otherwise ignore on MariaDB. So it never makes a transaction on a node that was demoted meanwhile.
import type { ClusterConfig } from '../config/types.ts';
import type { NodeAddress } from '../messages/index.ts';
import type { MonitorClock } from './clock.ts';
import { ConnectionError, ControlConnection } from './connection.ts';
import type { Hands } from './control.ts';
import {
  beat,
  type CommitHealth,
  HEARTBEAT_MARK,
  type HeartbeatEvent,
  type HeartbeatState,
  newHeartbeat,
} from './heartbeat.ts';
import type { ClusterView, NodeFacts, PrimaryHealth } from './types.ts';

const TABLE = 'evenkeel.heartbeat';
const CREATE =
  'CREATE DATABASE IF NOT EXISTS evenkeel;' +
  ` CREATE TABLE IF NOT EXISTS ${TABLE} (node VARCHAR(300) CHARACTER SET ascii NOT NULL PRIMARY KEY,` +
  ' written_at DATETIME(6) NOT NULL) ENGINE=InnoDB';

/** While nobody else commits and nothing runs, this many times less often. */
const IDLE_FACTOR = 10;
/** A write is given up after this; long before it was judged. */
const GIVE_UP_MS = 30_000;
/** After an error (a missing privilege, say) it is tried again after this. */
const RETRY_MS = 10_000;
const LOOK_TIMEOUT_MS = 500;

/** Where to write, and what was last seen of it. */
export interface HeartbeatTarget {
  node: NodeAddress;
  facts: NodeFacts;
  factsAt: number;
}

/** Null where nothing may be written: while we only observe, to a primary in doubt, to groups and on platforms. */
export function heartbeatTarget(
  config: Pick<ClusterConfig, 'recovery'>,
  view: ClusterView,
  primary: NodeAddress | null,
  health: PrimaryHealth,
): HeartbeatTarget | null {
  if (config.recovery !== 'automatic' || health.state !== 'alive') return null;
  if ((view.topology ?? 'replication') !== 'replication') return null;
  const node = view.nodes.find((one) => one.node === primary);
  if (node === undefined || node.state !== 'ok' || node.role !== 'primary') return null;
  const { facts, factsAt } = node.observation;
  return facts === null || factsAt === null ? null : { node: node.node, facts, factsAt };
}

export interface HeartbeatOptions {
  config: Pick<ClusterConfig, 'admin' | 'serverTls' | 'heartbeat'>;
  clock: MonitorClock;
  hands: Pick<Hands, 'commitWait'>;
  /** The primary while it answers and takes writes; null where nothing may be written. */
  target: () => HeartbeatTarget | null;
  onChange: () => void;
}

export class HeartbeatWriter {
  readonly #options: HeartbeatOptions;
  #state: HeartbeatState = newHeartbeat;
  #node: NodeAddress | null = null;
  #connection: ControlConnection | null = null;
  #cancel: (() => void) | null = null;
  #busy = false;
  #looking = false;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #nextAt = Number.NEGATIVE_INFINITY;
  /** GTIDs as seen after our own last write, and the least that ever ran at once: more is somebody's work. */
  #quietGtids: string | null = null;
  #quietRunning = Number.POSITIVE_INFINITY;
  #wroteAt = Number.NEGATIVE_INFINITY;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
  }

  get health(): CommitHealth {
    return this.#state.health;
  }

  start(): void {
    if (this.#cancel === null && this.#options.config.heartbeat.enabled) this.#tick();
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = null;
    this.#drop();
  }

  #tick(): void {
    const { clock, config } = this.#options;
    this.#cancel = clock.setTimeout(() => this.#tick(), Math.max(10, config.heartbeat.intervalMs / 5));
    const target = this.#options.target();
    if (target === null || target.node !== this.#node) {
      // A write that hangs is what a fence needs to know of; a primary that is another one begins anew.
      if (target === null && this.#state.health.state === 'stuck') return;
      if (this.#node !== (target?.node ?? null)) this.#drop();
      this.#node = target?.node ?? null;
      if (target === null) return;
    }
    if (this.#busy) this.#lookWhenOverdue(target.node);
    else if (this.#isDue(target)) void this.#write(target);
  }

  #isDue({ facts, factsAt }: HeartbeatTarget): boolean {
    const { clock, config } = this.#options;
    const { intervalMs } = config.heartbeat;
    const now = clock.nowMs();
    if (now < this.#nextAt) return false;
    const running = facts.activity?.running ?? 0;
    this.#quietRunning = Math.min(this.#quietRunning, running);
    if (this.#quietGtids === null && factsAt >= this.#wroteAt) this.#quietGtids = facts.gtidExecuted;
    const idle = facts.gtidExecuted === (this.#quietGtids ?? facts.gtidExecuted) && running <= this.#quietRunning;
    return now - this.#wroteAt >= (idle ? IDLE_FACTOR : 1) * intervalMs;
  }

  async #write(target: HeartbeatTarget): Promise<void> {
    const { clock } = this.#options;
    this.#busy = true;
    try {
      this.#connection ??= await this.#connect(target.node);
      const connection = this.#connection;
      const startedAt = clock.nowMs();
      this.#feed({ type: 'sent' });
      await connection.query(statement(connection, target.node), GIVE_UP_MS);
      this.#wroteAt = clock.nowMs();
      this.#quietGtids = null;
      this.#feed({ type: 'committed', latencyMs: this.#wroteAt - startedAt });
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#busy = false;
    }
  }

  async #connect(node: NodeAddress): Promise<ControlConnection> {
    const { admin, serverTls, heartbeat } = this.#options.config;
    const settings = { node, user: admin.user, password: admin.password, tls: serverTls };
    const connection = await ControlConnection.open(settings, heartbeat.deadlineMs);
    try {
      await this.#prepare(connection);
      return connection;
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  /** Makes the table where there is none: once in the life of a cluster. */
  async #prepare(connection: ControlConnection): Promise<void> {
    const { deadlineMs } = this.#options.config.heartbeat;
    try {
      await connection.query(`SELECT 1 FROM ${TABLE} LIMIT 0`, deadlineMs);
    } catch (error) {
      const missing = error instanceof ConnectionError && (error.errno === 1146 || error.errno === 1049);
      if (!missing) throw error;
      const [row] = await connection.query('SELECT @@global.read_only AS read_only', deadlineMs);
      if (row?.['read_only'] !== '0') throw error;
      this.#feed({ type: 'sent' });
      await connection.queryAll(CREATE, GIVE_UP_MS);
    }
  }

  #failed(error: unknown): void {
    const { clock, config } = this.#options;
    const text = error instanceof Error ? error.message : String(error);
    const answered = error instanceof ConnectionError && error.code === 'server';
    this.#feed(answered ? { type: 'refused', errno: error.errno, error: text } : { type: 'lost', error: text });
    const full = this.#state.fullErrors !== null || this.#state.health.state === 'stuck';
    this.#nextAt = clock.nowMs() + (answered && !full ? RETRY_MS : config.heartbeat.intervalMs);
    this.#connection?.close();
    this.#connection = null;
  }

  #lookWhenOverdue(node: NodeAddress): void {
    const { clock, config, hands } = this.#options;
    const { deadlineMs } = config.heartbeat;
    const { sentAt } = this.#state;
    const now = clock.nowMs();
    if (sentAt === null || this.#connection === null || this.#looking) return;
    if (now - sentAt < deadlineMs / 2 || now - this.#lookedAt < deadlineMs / 4) return;
    this.#looking = true;
    this.#lookedAt = now;
    const { id } = this.#connection;
    hands
      .commitWait(node, id, LOOK_TIMEOUT_MS)
      .then(
        (wait) => this.#feed({ type: 'looked', wait }),
        // Who cannot be asked is the detector's business.
        () => this.#feed({ type: 'tick' }),
      )
      .finally(() => {
        this.#looking = false;
      });
  }

  #feed(event: HeartbeatEvent): void {
    const before = this.#state.health;
    this.#state = beat(this.#state, event, this.#options.config.heartbeat, this.#options.clock.nowMs());
    const { health } = this.#state;
    const pace = (one: CommitHealth) => (one.state === 'ok' ? one.degraded?.since : undefined);
    const changed = before.state !== health.state || pace(before) !== pace(health);
    if (changed || (health.state === 'stuck' && before !== health)) this.#options.onChange();
  }

  #drop(): void {
    this.#connection?.close();
    this.#connection = null;
    this.#state = newHeartbeat;
    this.#node = null;
    this.#nextAt = Number.NEGATIVE_INFINITY;
    this.#wroteAt = Number.NEGATIVE_INFINITY;
    this.#quietGtids = null;
    this.#quietRunning = Number.POSITIVE_INFINITY;
  }
}

function statement(connection: ControlConnection, node: NodeAddress): string {
  return (
    `${HEARTBEAT_MARK} INSERT INTO ${TABLE} (node, written_at)` +
    ` SELECT ${connection.quote(node)}, NOW(6) FROM DUAL WHERE @@global.read_only = 0` +
    ' ON DUPLICATE KEY UPDATE written_at = VALUES(written_at)'
  );
}
