// What a rebuild does to servers, over connections of its own: reads errant transactions from a binary log, and clones one
// MySQL server's data onto another (the clone plug-in). A clone destroys what the recipient had from its first moment on.
import type { ClusterConfig } from '../config/types.ts';
import { type Flavor, type NodeAddress, splitAddress } from '../messages/index.ts';
import { BinlogReader, type LoggedTransaction } from './binlog.ts';
import { ConnectionError, ControlConnection, type Row } from './connection.ts';
import { isOn } from './dialect.ts';
import { countGtids, formatGtidSet, parseGtidSet, subtract } from './gtid.ts';
import type { NodeFacts } from './types.ts';

/** Transactions that a node has and the primary has not. */
export interface ErrantReport {
  node: NodeAddress;
  count: number;
  gtids: string;
  /** Those that its binary log still has, in its order; bounded. */
  transactions: LoggedTransaction[];
  /** Why there are fewer than `count`; empty where there are not. */
  note: string;
}

/** How far a clone is. */
export interface CloneProgress {
  /** As `performance_schema.clone_progress` names it, in lower case. */
  stage: string;
  /** Null where the server does not know how much there is. */
  percent: number | null;
  bytes: number;
}

/** Where to log in to a server that does not have the cluster's accounts yet. */
export interface Credentials {
  user: string;
  password: string;
}

/** A server that is to become a node. */
export interface Newcomer {
  flavor: Flavor;
  version: string;
  serverId: number;
  /** Its databases, without the server's own. */
  databases: string[];
}

/** What recovery may do to rebuild a node. */
export interface NodeRebuilder {
  inspect(node: NodeAddress, credentials: Credentials | null): Promise<Newcomer>;
  errant(node: NodeAddress, own: NodeFacts, primary: NodeFacts): Promise<ErrantReport>;
  /** Resolves when the recipient has all data and restarts, or has stopped to be started. Rejects where it did not come so far. */
  clone(
    recipient: NodeAddress,
    donor: NodeAddress,
    credentials: Credentials | null,
    onProgress: (progress: CloneProgress) => void,
  ): Promise<'restarts' | 'stopped'>;
  /** Why the last clone failed, as the recipient itself tells after its restart; null where it did not. */
  cloneError(recipient: NodeAddress): Promise<string | null>;
}

/** `evenkeel` has nobody's data: the heartbeat, and who committed what. */
const OWN_DATABASES = new Set(['mysql', 'sys', 'information_schema', 'performance_schema', 'evenkeel']);
const CONNECT_MS = 5000;
const STATEMENT_MS = 30_000;
/** A clone has no time limit of its own: it takes what the data takes. */
const CLONE_MS = 7 * 86_400_000;
const PROGRESS_MS = 500;
const PAGE_EVENTS = 5000;
const MAX_EVENTS = 500_000;
const MAX_FILES = 50;
const MAX_TRANSACTIONS = 100;

/** `mysqld is not managed by supervisor process`: it has cloned, and cannot restart itself. */
const NO_SUPERVISOR = 3707;
const ALREADY_INSTALLED = new Set([1125, 1968]);

export class Rebuilder implements NodeRebuilder {
  readonly #config: Pick<ClusterConfig, 'admin' | 'serverTls'>;

  constructor(config: Pick<ClusterConfig, 'admin' | 'serverTls'>) {
    this.#config = config;
  }

  async errant(node: NodeAddress, own: NodeFacts, primary: NodeFacts): Promise<ErrantReport> {
    const { flavor } = own;
    const wanted = subtract(parseGtidSet(flavor, own.gtidExecuted), parseGtidSet(flavor, primary.gtidExecuted));
    const count = countGtids(wanted);
    const gtids = formatGtidSet(flavor, wanted);
    if (count === 0) return { node, count, gtids, transactions: [], note: '' };
    return await this.#with(node, null, async (connection) => {
      // Newest file first: errant transactions are mostly the last ones.
      const found: LoggedTransaction[][] = [];
      let seen = 0;
      let left = MAX_EVENTS;
      const files = (await connection.query('SHOW BINARY LOGS', STATEMENT_MS)).map((row) => row['Log_name'] ?? '');
      for (const file of files.toReversed().slice(0, MAX_FILES)) {
        const kept = found.reduce((sum, each) => sum + each.length, 0);
        const reader = new BinlogReader(flavor, wanted, MAX_TRANSACTIONS - kept);
        left -= await readFile(connection, file, reader, left);
        found.unshift(reader.found);
        seen += reader.count;
        if (seen >= count || left <= 0) break;
      }
      const transactions = found.flat();
      const shown = transactions.length;
      // Its numbers are shared by all servers of a domain: what lies between two of this one's own may be another's.
      if (flavor === 'mariadb' && seen > 0)
        return { node, count: seen, gtids, transactions, note: onlyLogged(seen, shown) };
      return { node, count, gtids, transactions, note: shortfall(count, seen, shown) };
    });
  }

  async inspect(node: NodeAddress, credentials: Credentials | null): Promise<Newcomer> {
    return await this.#with(node, credentials, async (connection) => {
      const [row] = await connection.query(
        'SELECT VERSION() AS version, @@global.server_id AS server_id',
        STATEMENT_MS,
      );
      const databases = (await connection.query('SHOW DATABASES', STATEMENT_MS)).map(
        (each) => Object.values(each)[0] ?? '',
      );
      const version = row?.['version'] ?? '';
      return {
        flavor: /mariadb/i.test(version) ? 'mariadb' : 'mysql',
        version,
        serverId: Number(row?.['server_id'] ?? 0),
        databases: databases.filter((name) => !OWN_DATABASES.has(name)),
      };
    });
  }

  async clone(
    recipient: NodeAddress,
    donor: NodeAddress,
    credentials: Credentials | null,
    onProgress: (progress: CloneProgress) => void,
  ): Promise<'restarts' | 'stopped'> {
    await this.#with(donor, null, (connection) => installClone(connection, true));
    return await this.#with(recipient, credentials, async (connection) => {
      await connection.query('STOP REPLICA', STATEMENT_MS);
      // No application may write, but the clone itself must: super_read_only would refuse it.
      await connection.query('SET GLOBAL read_only = ON', STATEMENT_MS);
      await connection.query('SET GLOBAL super_read_only = OFF', STATEMENT_MS);
      await installClone(connection, false);
      await connection.query(`SET GLOBAL clone_valid_donor_list = ${connection.quote(donor)}`, STATEMENT_MS);
      const watching = this.#watch(recipient, credentials, onProgress);
      try {
        await connection.query(this.#cloneStatement(connection, donor), CLONE_MS);
        return 'restarts';
      } catch (error) {
        if (!(error instanceof ConnectionError)) throw error;
        if (error.errno === NO_SUPERVISOR) return 'stopped';
        if (error.code === 'lost') return 'restarts';
        await connection.query('SET GLOBAL super_read_only = ON', STATEMENT_MS).catch(() => undefined);
        throw error;
      } finally {
        await watching.stop();
      }
    });
  }

  async cloneError(recipient: NodeAddress): Promise<string | null> {
    const sql = 'SELECT STATE, ERROR_NO, ERROR_MESSAGE FROM performance_schema.clone_status ORDER BY ID DESC LIMIT 1';
    const [row] = await this.#with(recipient, null, (connection) => connection.query(sql, STATEMENT_MS));
    if (row === undefined) return 'the server tells of no clone';
    if (row['STATE'] === 'Completed') return null;
    return `${row['STATE']}: ${row['ERROR_NO']} ${row['ERROR_MESSAGE']}`;
  }

  /** The donor lets the recipient in as the admin. */
  #cloneStatement(connection: ControlConnection, donor: NodeAddress): string {
    const { host, port } = splitAddress(donor);
    const { user, password } = this.#config.admin;
    const from = `${connection.quote(user)}@${connection.quote(host)}:${port}`;
    return `CLONE INSTANCE FROM ${from} IDENTIFIED BY ${connection.quote(password)}`;
  }

  #watch(node: NodeAddress, credentials: Credentials | null, onProgress: (progress: CloneProgress) => void) {
    const stopped = new AbortController();
    const run = async (): Promise<void> => {
      await this.#with(node, credentials, async (connection) => {
        while (!stopped.signal.aborted) {
          const rows = await connection.query(PROGRESS, STATEMENT_MS);
          const progress = progressOf(rows);
          if (progress !== null) onProgress(progress);
          await abortableDelay(PROGRESS_MS, stopped.signal);
        }
      });
    };
    // Progress is for people: the end of the clone is told by the clone itself.
    const running = run().catch(() => undefined);
    return {
      stop: async (): Promise<void> => {
        stopped.abort();
        await running;
      },
    };
  }

  async #with<T>(
    node: NodeAddress,
    credentials: Credentials | null,
    work: (connection: ControlConnection) => Promise<T>,
  ): Promise<T> {
    const { admin, serverTls } = this.#config;
    const { user, password } = credentials ?? admin;
    const connection = await ControlConnection.open({ node, user, password, tls: serverTls }, CONNECT_MS);
    try {
      return await work(connection);
    } finally {
      connection.close();
    }
  }
}

const PROGRESS =
  "SELECT STAGE, STATE, ESTIMATE, DATA FROM performance_schema.clone_progress WHERE STATE <> 'Not Started' ORDER BY ID";

/** The stage that runs; else the last one. */
export function progressOf(rows: readonly Row[]): CloneProgress | null {
  const row = rows.find((each) => each['STATE'] === 'In Progress') ?? rows.at(-1);
  if (row === undefined) return null;
  const estimate = Number(row['ESTIMATE'] ?? 0);
  const bytes = Number(row['DATA'] ?? 0);
  const percent = estimate > 0 ? Math.min(100, Math.floor((100 * bytes) / estimate)) : null;
  return { stage: (row['STAGE'] ?? '').toLowerCase(), percent, bytes };
}

/** Not in the binary log: it would be an errant transaction of its own. */
async function installClone(connection: ControlConnection, keepReadOnly: boolean): Promise<void> {
  const installed = await connection.query(
    "SELECT PLUGIN_STATUS FROM information_schema.PLUGINS WHERE PLUGIN_NAME = 'clone'",
    STATEMENT_MS,
  );
  if (installed[0]?.['PLUGIN_STATUS'] === 'ACTIVE') return;
  const [row] = await connection.query('SELECT @@global.super_read_only AS super_read_only', STATEMENT_MS);
  const readOnly = isOn(row?.['super_read_only']);
  await connection.query('SET SESSION sql_log_bin = OFF', STATEMENT_MS);
  if (readOnly) await connection.query('SET GLOBAL super_read_only = OFF', STATEMENT_MS);
  try {
    await connection.query("INSTALL PLUGIN clone SONAME 'mysql_clone.so'", STATEMENT_MS);
  } catch (error) {
    if (!(error instanceof ConnectionError) || !ALREADY_INSTALLED.has(error.errno)) throw error;
  } finally {
    if (readOnly && keepReadOnly) await connection.query('SET GLOBAL super_read_only = ON', STATEMENT_MS);
  }
}

/** Returns how many events there were. */
async function readFile(
  connection: ControlConnection,
  file: string,
  reader: BinlogReader,
  maxEvents: number,
): Promise<number> {
  let position = '4';
  let events = 0;
  while (events < maxEvents) {
    const sql = `SHOW BINLOG EVENTS IN ${connection.quote(file)} FROM ${position} LIMIT ${PAGE_EVENTS}`;
    const rows = await connection.query(sql, STATEMENT_MS);
    reader.take(rows);
    events += rows.length;
    const next = rows.at(-1)?.['End_log_pos'];
    if (rows.length < PAGE_EVENTS || next === undefined || next === null || !/^\d+$/.test(next)) break;
    position = next;
  }
  return events;
}

function shortfall(count: number, seen: number, shown: number): string {
  if (seen < count) return `${count - seen} are not in its binary log, or not in the part that was read`;
  return shown < count ? `only the first ${shown} are shown` : '';
}

function onlyLogged(seen: number, shown: number): string {
  const first = shown < seen ? `only the first ${shown} are shown; ` : '';
  return `${first}MariaDB's numbers do not tell whether there were more before its binary log begins`;
}

async function abortableDelay(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
