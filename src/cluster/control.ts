// The hands of a recovery: NodeControl over connections of its own, one kept open per node so that a failover
// need not log in first. Every call has a deadline for all its round trips together; a statement that is still
// waiting in the server then (for a lock, say) is killed, so that it cannot take effect later, behind our back.
//
// Replicas log in to their source with the user that their channel has; where there is none (a former primary,
// a channel that was reset) with the admin account, which therefore needs REPLICATION SLAVE.
import type { ClusterConfig } from '../config/types.ts';
import { type NodeAddress, splitAddress } from '../messages/index.ts';
import { ConnectionError, ControlConnection } from './connection.ts';
import { type Dialect, isOn, modern, toNumber } from './dialect.ts';
import { parsePosition, reaches } from './gtid.ts';
import { COMMIT_CAUSES, type WaitFacts } from './heartbeat.ts';
import { asksForSemiSync, mayAcknowledge } from './placement.ts';
import { Prober } from './prober.ts';
import type { NodeControl, NodeFacts } from './types.ts';

/** A call on a node that failed; `code` is `deadline` where its time was not enough. */
export class NodeControlError extends Error {
  override readonly name = 'NodeControlError';
  readonly node: NodeAddress;
  readonly operation: string;
  readonly code: ConnectionError['code'] | 'deadline' | 'refused-by-us';
  /** The server's error number, or 0. */
  readonly errno: number;

  constructor(node: NodeAddress, operation: string, code: NodeControlError['code'], errno: number, text: string) {
    super(`${operation} on ${node}: ${text}`);
    this.node = node;
    this.operation = operation;
    this.code = code;
    this.errno = errno;
  }
}

/** How long a closed-up server may take to say so when an overdue statement is killed. */
const KILL_TIMEOUT_MS = 1000;
const LEDGER_THERE =
  "SELECT COUNT(*) AS there FROM information_schema.tables WHERE table_schema='evenkeel' AND table_name='ledger'";
/** Where workers let MariaDB's transactions leave their numbers (design.md section 2). */
const LEDGER = [
  'CREATE DATABASE IF NOT EXISTS evenkeel',
  'CREATE TABLE IF NOT EXISTS evenkeel.ledger (id BINARY(16) NOT NULL PRIMARY KEY, n BIGINT UNSIGNED NOT NULL, ' +
    'at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP) ENGINE=InnoDB',
];
const LEDGER_OLD = 'at < NOW() - INTERVAL 7 DAY';
/** How many rows are cleared in one round trip, and in how many. */
const LEDGER_BATCH = 500;
const LEDGER_BATCHES = 20;
const POLL_MS = 10;

interface Work {
  prober: Prober;
  connection: ControlConnection;
  dialect: Dialect;
  /** Milliseconds that are left; throws when there are none. */
  left: () => number;
}

type HandsConfig = Pick<ClusterConfig, 'admin' | 'serverTls' | 'durability' | 'semisync' | 'nodes'>;

type SemiSyncNames = { source: string; sourceIsOn: boolean; replica: string };

/** What we ask or order. Who does something else with our account is a client: it writes, as our heartbeat does. */
const OWN_WORK = /^\s*(?:$|(?:SELECT|SHOW|SET|KILL|STOP|START|CHANGE|RESET|FLUSH|DO|CLONE|INSTALL)\b)/i;
/** What a session's state says while its commit waits for a replica. */
const SEMI_SYNC_WAIT = /waiting for semi-sync ack from/i;
const OWN_STATE =
  'SELECT MEMBER_STATE AS state FROM performance_schema.replication_group_members WHERE MEMBER_ID = @@server_uuid';
/** Statements and replication commands that belong to the server itself or to its replicas. */
const NOT_CLIENTS = /^(?:Binlog Dump|Daemon|Slave_|Replica_|Group_)/i;

export class Hands implements NodeControl {
  readonly #config: HandsConfig;
  readonly #idle = new Map<NodeAddress, Prober>();
  /** With durability `detect`: whether this cluster uses semi-sync. */
  readonly #usesSemiSync: () => boolean;

  constructor(config: HandsConfig, usesSemiSync: () => boolean) {
    this.#config = config;
    this.#usesSemiSync = usesSemiSync;
  }

  /** Opens the kept connection ahead of need. Never rejects. */
  async warm(node: NodeAddress, timeoutMs: number): Promise<void> {
    if (this.#idle.has(node)) return;
    await this.#work('connect', node, timeoutMs, async () => {}).catch(() => {});
  }

  forget(node: NodeAddress): void {
    this.#idle.get(node)?.connection.close();
    this.#idle.delete(node);
  }

  close(): void {
    for (const node of this.#idle.keys()) this.forget(node);
  }

  /** Runs `work` with a connection of its own within `timeoutMs`; turns what goes wrong into a NodeControlError. */
  async #work<T>(
    operation: string,
    node: NodeAddress,
    timeoutMs: number,
    work: (hands: Work) => Promise<T>,
    how: { changesNothing?: boolean } = {},
  ): Promise<T> {
    const deadline = performance.now() + timeoutMs;
    const left = (): number => {
      const ms = deadline - performance.now();
      if (ms <= 0) throw new NodeControlError(node, operation, 'deadline', 0, `not done within ${timeoutMs} ms`);
      return ms;
    };
    let prober: Prober | null = null;
    try {
      prober = await this.#take(node, left);
      const { connection, dialect } = prober;
      const result = await work({ prober, connection, dialect, left });
      this.#giveBack(node, prober);
      return result;
    } catch (error) {
      // What may change the node is over when this rejects, as far as that can be had.
      const ended = prober === null ? null : this.#abandon(prober);
      if (how.changesNothing !== true) await ended;
      if (error instanceof NodeControlError) throw error;
      if (error instanceof ConnectionError) {
        throw new NodeControlError(node, operation, error.code, error.errno, error.message);
      }
      throw error;
    }
  }

  async #take(node: NodeAddress, left: () => number): Promise<Prober> {
    const idle = this.#idle.get(node);
    this.#idle.delete(node);
    if (idle !== undefined && idle.connection.closed === null) return idle;
    const { admin, serverTls } = this.#config;
    const settings = { node, user: admin.user, password: admin.password, tls: serverTls };
    const prober = new Prober(await ControlConnection.open(settings, left()));
    try {
      await prober.constants(left());
    } catch (error) {
      prober.connection.close();
      throw error;
    }
    return prober;
  }

  #giveBack(node: NodeAddress, prober: Prober): void {
    if (prober.connection.closed !== null) return;
    if (this.#idle.has(node)) {
      prober.connection.close();
      return;
    }
    prober.connection.onClose = () => {
      if (this.#idle.get(node) === prober) this.#idle.delete(node);
    };
    this.#idle.set(node, prober);
  }

  /** After a time-out the server may still be at it: end that statement by killing its connection. */
  async #abandon({ connection }: Prober): Promise<void> {
    const overdue = connection.closed?.code === 'timeout';
    connection.close();
    if (!overdue) return;
    const { admin, serverTls } = this.#config;
    const settings = { node: connection.node, user: admin.user, password: admin.password, tls: serverTls };
    try {
      const killer = await ControlConnection.open(settings, KILL_TIMEOUT_MS);
      await killer.query(`KILL ${connection.id}`, KILL_TIMEOUT_MS).finally(() => killer.close());
    } catch {
      // A server that cannot be reached for this is the caller's trouble already: the call itself fails.
    }
  }

  async look(node: NodeAddress, timeoutMs: number): Promise<NodeFacts> {
    const probe = async ({ prober, left }: Work): Promise<NodeFacts> => await prober.probe(true, left());
    return await this.#work('look', node, timeoutMs, probe, { changesNothing: true });
  }

  async setReadOnly(node: NodeAddress, timeoutMs: number): Promise<void> {
    await this.#work('set read-only', node, timeoutMs, async ({ connection, dialect, left }) => {
      // May wait for commits that are under way; the server gives up by itself about when we do.
      const seconds = Math.max(1, Math.ceil(timeoutMs / 1000));
      await connection.query(`SET SESSION lock_wait_timeout = ${seconds}`, left());
      for (const statement of dialect.readOnly) await connection.query(statement, left());
    });
  }

  async setWritable(node: NodeAddress, timeoutMs: number): Promise<void> {
    await this.#work('set writable', node, timeoutMs, async ({ connection, dialect, left }) => {
      for (const statement of dialect.writable) await connection.query(statement, left());
    });
  }

  async killClients(node: NodeAddress, timeoutMs: number): Promise<number> {
    return await this.#work('kill clients', node, timeoutMs, async (work) => await this.#killClients(work));
  }

  async #killClients({ connection, left }: Work): Promise<number> {
    const spared = ['system user', 'event_scheduler'];
    let killed = 0;
    for (const row of await connection.query('SHOW PROCESSLIST', left())) {
      const ours = row['User'] === this.#config.admin.user && OWN_WORK.test(row['Info'] ?? '');
      if (ours || spared.includes(row['User'] ?? '') || NOT_CLIENTS.test(row['Command'] ?? '')) continue;
      try {
        await connection.query(`KILL ${toNumber(row['Id'])}`, left());
        killed++;
      } catch (error) {
        const gone = error instanceof ConnectionError && error.errno === 1094;
        if (!gone) throw error;
      }
    }
    return killed;
  }

  /** What the session `id` waits for, and whether the server writes at all. */
  async commitWait(node: NodeAddress, id: number, timeoutMs: number): Promise<WaitFacts> {
    const wait = await this.#work('look at a commit', node, timeoutMs, async ({ connection, dialect, left }) => {
      const rows = await connection.query('SHOW PROCESSLIST', left());
      // A commit may stand behind another one, whose session alone says what both wait for.
      const causes = rows.map((row) => row['State'] ?? '').filter((each) => COMMIT_CAUSES.test(each));
      const state = causes[0] ?? rows.find((row) => toNumber(row['Id']) === id)?.['State'] ?? null;
      if (dialect.diskFullLog === null) return { state, diskFull: null };
      // Not every version has it, and not every account may read it.
      const log = await connection.query(dialect.diskFullLog, left()).catch(() => []);
      return { state, diskFull: log[0]?.['text'] ?? null };
    });
    // Counters may hang where the disk does: then nothing moves, which is what they would have told.
    const counters = this.#work('read counters', node, timeoutMs, async ({ connection, dialect, left }) =>
      JSON.stringify(await connection.query(dialect.ioCounters, left())),
    );
    return { ...wait, io: await counters.catch(() => '') };
  }

  async waitForGtid(node: NodeAddress, gtid: string, timeoutMs: number): Promise<boolean> {
    if (gtid.trim() === '') return true;
    return await this.#boolean('wait for GTID', node, timeoutMs, async ({ connection, dialect, left }) => {
      const ms = left();
      // The server's own time-out ends a little earlier, so that the connection survives it.
      return await dialect.waitForGtid(connection, gtid, Math.max(1, ms - 50), ms + 100);
    });
  }

  async applyAllReceived(node: NodeAddress, timeoutMs: number): Promise<boolean> {
    return await this.#boolean('apply all received', node, timeoutMs, async (work) => {
      const { connection, dialect, left, prober } = work;
      // With the source side on, the applier itself would wait for acknowledgements from nobody.
      await this.#semiSyncSourceOff(work);
      const before = await prober.probe(true, left());
      if (before.replication === null) return true;
      if (before.replication.receiver !== 'stopped') await connection.query(dialect.stopReceiver, left());
      if (before.replication.applier === 'stopped') await connection.query(dialect.startApplier, left());
      if (dialect.flavor === 'mariadb') return await this.#appliedMariadb(work);
      const { replication } = await prober.probe(true, left());
      const ms = left();
      return await dialect.waitForGtid(connection, replication?.received ?? '', Math.max(1, ms - 50), ms + 100);
    });
  }

  /**
   * Gtid_IO_Pos may name a transaction of which the end was never received, so the applier's own word that it has
   * read all its relay log counts, too.
   */
  async #appliedMariadb({ connection, left }: Work): Promise<boolean> {
    for (;;) {
      const status = (await connection.query('SHOW ALL SLAVES STATUS', left())).map(modern)[0];
      if (status === undefined) return true;
      const [position] = await connection.query('SELECT @@global.gtid_slave_pos AS pos', left());
      const received = parsePosition(status['gtid_io_pos'] ?? '');
      if (received.size > 0 && reaches(parsePosition(position?.['pos'] ?? ''), received)) return true;
      if (/^(?:Slave|Replica) has read all relay log/i.test(status['replica_sql_running_state'] ?? '')) return true;
      if (toNumber(status['last_sql_errno']) !== 0) return false;
      const pauseMs = Math.min(POLL_MS, left());
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  /** False where the deadline, and nothing else, was in the way. */
  async #boolean(
    operation: string,
    node: NodeAddress,
    timeoutMs: number,
    work: (hands: Work) => Promise<boolean>,
  ): Promise<boolean> {
    try {
      return await this.#work(operation, node, timeoutMs, work);
    } catch (error) {
      if (error instanceof NodeControlError && error.code === 'deadline') return false;
      throw error;
    }
  }

  async detachFromSource(node: NodeAddress, timeoutMs: number): Promise<void> {
    await this.#work('detach', node, timeoutMs, async ({ connection, dialect, left }) => {
      await dialect.detach(connection, left());
    });
  }

  async follow(node: NodeAddress, source: NodeAddress, timeoutMs: number): Promise<void> {
    await this.#work('follow', node, timeoutMs, async (work) => {
      const { connection, dialect, left } = work;
      for (const statement of dialect.readOnly) await connection.query(statement, left());
      await this.#setSemiSyncRole(work, 'replica', { acknowledges: mayAcknowledge(this.#config, node, source) });
      const channelUser = await dialect.channelUser(connection, left());
      const { admin, serverTls } = this.#config;
      const tls = serverTls.mode !== 'off' && serverTls.mode !== 'preferred';
      const login = channelUser === null ? admin : null;
      await dialect.follow(connection, { ...splitAddress(source), login, tls }, left());
    });
  }

  async setSemiSyncRole(
    node: NodeAddress,
    role: 'source' | 'replica',
    timeoutMs: number,
    primary?: NodeAddress,
  ): Promise<void> {
    const acknowledges = primary === undefined || mayAcknowledge(this.#config, node, primary);
    await this.#work('set semi-sync role', node, timeoutMs, async (work) => {
      await this.#setSemiSyncRole(work, role, { acknowledges, restartReceiver: true });
    });
  }

  async rotateBinlog(node: NodeAddress, timeoutMs: number): Promise<void> {
    await this.#work('rotate binary log', node, timeoutMs, async ({ connection, left }) => {
      await connection.query('FLUSH LOCAL BINARY LOGS', left());
    });
  }

  async electMember(node: NodeAddress, memberId: string, timeoutMs: number): Promise<void> {
    await this.#work('elect member', node, timeoutMs, async ({ connection, left }) => {
      await connection.query(`SELECT group_replication_set_as_primary(${connection.quote(memberId)})`, left());
    });
  }

  async syncWithCluster(node: NodeAddress, timeoutMs: number): Promise<void> {
    await this.#work('sync with the cluster', node, timeoutMs, async ({ connection, left }) => {
      await connection.queryAll('SET SESSION wsrep_dirty_reads = OFF; SET SESSION wsrep_sync_wait = 1', left());
      try {
        await connection.query('SELECT 1 FROM DUAL', left());
      } finally {
        await connection.queryAll('SET SESSION wsrep_sync_wait = 0; SET SESSION wsrep_dirty_reads = ON', left());
      }
    });
  }

  async joinGroup(node: NodeAddress, timeoutMs: number): Promise<void> {
    await this.#work('join group', node, timeoutMs, async ({ connection, left }) => {
      const [member] = await connection.query(OWN_STATE, left());
      // Where it is out already, somebody may be letting it in just now: that must not be stopped.
      if ((member?.['state'] ?? 'OFFLINE') !== 'OFFLINE') await connection.query('STOP GROUP_REPLICATION', left());
      await connection.query('START GROUP_REPLICATION', left());
    });
  }

  async keepLedger(node: NodeAddress, timeoutMs: number): Promise<void> {
    await this.#work('keep the ledger', node, timeoutMs, async ({ connection, left }) => {
      const [found] = await connection.query(LEDGER_THERE, left());
      // IF NOT EXISTS would be written to the binary log each time.
      if (found?.['there'] !== '1') for (const statement of LEDGER) await connection.query(statement, left());
      else await this.#clearLedger(connection, left);
    });
  }

  /**
   * Rows of workers that are gone; one that is still in use is made anew by its next transaction. They are looked for without
   * a lock and deleted one by one: a DELETE that reads the table would lock all rows, and deadlock with commits.
   */
  async #clearLedger(connection: ControlConnection, left: () => number): Promise<void> {
    const select = `SELECT HEX(id) AS id FROM evenkeel.ledger WHERE ${LEDGER_OLD} LIMIT ${LEDGER_BATCH}`;
    for (let batch = 0; batch < LEDGER_BATCHES; batch++) {
      const rows = await connection.query(select, left());
      const deletions = rows.map(({ id }) => `DELETE FROM evenkeel.ledger WHERE id=X'${id}' AND ${LEDGER_OLD}`);
      if (deletions.length > 0) await connection.queryAll(deletions.join(';'), left());
      if (deletions.length < LEDGER_BATCH) return;
    }
  }

  async #semiSyncNames({ connection, left }: Work): Promise<SemiSyncNames | null> {
    const rows = await connection.query("SHOW GLOBAL VARIABLES LIKE 'rpl\\_semi\\_sync\\_%\\_enabled'", left());
    const values = new Map(rows.map((row) => [Object.values(row)[0] ?? '', Object.values(row)[1]]));
    const names = [...values.keys()];
    const source = names.find((name) => /_(?:source|master)_enabled$/.test(name));
    const replica = names.find((name) => /_(?:replica|slave)_enabled$/.test(name));
    if (source === undefined || replica === undefined) return null;
    return { source, sourceIsOn: isOn(values.get(source)), replica };
  }

  /** How long a commit waits, for how many, and that it is seen by nobody before. MariaDB waits for one. */
  #semiSyncSettings({ dialect }: Work, { source }: SemiSyncNames): string[] {
    const { acks, timeoutMs } = this.#config.semisync;
    const prefix = source.replace(/_enabled$/, '');
    const settings = [`${prefix}_timeout = ${timeoutMs}`, `${prefix}_wait_point = 'AFTER_SYNC'`];
    const others = prefix.endsWith('_master') ? 'slave' : 'replica';
    if (dialect.flavor === 'mysql') settings.push(`${prefix}_wait_for_${others}_count = ${acks}`);
    return settings;
  }

  async #semiSyncSourceOff(work: Work): Promise<void> {
    const names = await this.#semiSyncNames(work);
    if (names !== null) await this.#sourceOff(work, names);
  }

  /**
   * Switching the source side off lets every commit that waits for an acknowledgement succeed unacknowledged: a
   * write that the client believes in and the next primary has not. So these sessions are ended first.
   */
  async #sourceOff(work: Work, names: SemiSyncNames): Promise<void> {
    // Even where it is off already, MySQL may take up to a second over switching it off.
    if (!names.sourceIsOn) return;
    const { connection, left } = work;
    // On MySQL a killed session goes on waiting, but its connection is closed: nobody hears of its success.
    const waiting = async (): Promise<boolean> => {
      const rows = await connection.query('SHOW PROCESSLIST', left());
      return rows.some((row) => row['Command'] !== 'Killed' && SEMI_SYNC_WAIT.test(row['State'] ?? ''));
    };
    if (await waiting()) {
      await this.#killClients(work);
      while (await waiting()) await new Promise((resolve) => setTimeout(resolve, Math.min(POLL_MS, left())));
    }
    await connection.query(`SET GLOBAL ${names.source} = OFF`, left());
  }

  async #setSemiSyncRole(
    work: Work,
    role: 'source' | 'replica',
    how: { acknowledges: boolean; restartReceiver?: boolean },
  ): Promise<void> {
    const names = await this.#semiSyncNames(work);
    if (names === null) return;
    const { connection, dialect, left } = work;
    const { durability } = this.#config;
    const asked = asksForSemiSync(this.#config);
    const wanted = asked || (durability === 'detect' && this.#usesSemiSync());
    if (role === 'source') {
      if (!wanted) return;
      // With `detect` the settings are the operator's.
      const settings = asked ? this.#semiSyncSettings(work, names) : [];
      const all = [`${names.replica} = OFF`, ...settings, `${names.source} = ON`];
      // In one go, and in this order: clients wait for it.
      await connection.query(`SET ${all.map((setting) => `GLOBAL ${setting}`).join(', ')}`, left());
      return;
    }
    await this.#sourceOff(work, names);
    if (!wanted) return;
    await connection.query(`SET GLOBAL ${names.replica} = ${how.acknowledges ? 'ON' : 'OFF'}`, left());
    if (how.restartReceiver !== true) return;
    // A receiver registers for semi-sync only when it connects.
    const { replication } = await work.prober.probe(true, left());
    if (replication === null || replication.receiver === 'stopped' || replication.semiSyncActive === how.acknowledges)
      return;
    await connection.query(dialect.stopReceiver, left());
    await connection.query(dialect.startReceiver, left());
  }

  /** Makes the replica's receiver connect anew: where the source is gone it then knows at once. */
  async restartReceiver(node: NodeAddress, timeoutMs: number): Promise<void> {
    await this.#work('restart receiver', node, timeoutMs, async ({ connection, dialect, left }) => {
      await connection.query(`${dialect.stopReceiver}; ${dialect.startReceiver}`, left());
    });
  }

  async globals(node: NodeAddress, names: readonly string[], timeoutMs: number): Promise<Record<string, string>> {
    const read = async ({ connection, left }: Work): Promise<Record<string, string>> => {
      const list = names.map((name) => connection.quote(name)).join(', ');
      const rows = await connection.query(`SHOW GLOBAL VARIABLES WHERE Variable_name IN (${list})`, left());
      return Object.fromEntries(rows.map((row) => [String(row['Variable_name']), String(row['Value'])]));
    };
    return await this.#work('read global variables', node, timeoutMs, read, { changesNothing: true });
  }

  /** The node's accounts. */
  async accounts(node: NodeAddress, timeoutMs: number): ReturnType<Dialect['accounts']> {
    return await this.#work('read accounts', node, timeoutMs, async ({ connection, dialect, left }) => {
      return await dialect.accounts(connection, left());
    });
  }
}
