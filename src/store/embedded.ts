// The embedded store: one SQLite file (node:sqlite) beside the configuration. WAL, so that a reader never blocks
// the writer; full synchronisation, since an epoch that was given out must not be forgotten by a power cut.
// The schema's version is SQLite's own user_version; each entry of MIGRATIONS brings it up by one.
import { chmodSync, closeSync, openSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import type { RecoveryRecord } from '../recovery/types.ts';
import type { ClusterMemory, StandingOrders, Store } from './types.ts';

/** The newest recoveries that are kept, per cluster; older ones are deleted. */
export const MAX_RECOVERIES_PER_CLUSTER = 1_000;

/** What `history` returns where no limit was given. */
const DEFAULT_HISTORY_LIMIT = 100;

const BUSY_TIMEOUT_MS = 5_000;

/** SQLite's application_id: the letters `EVKL`. A file that has another one is not ours to touch. */
const APPLICATION_ID = 0x45564b4c;

/** Append only: entry n brings a file from version n to n + 1. */
const MIGRATIONS: readonly string[] = [
  `CREATE TABLE cluster (
     cluster TEXT PRIMARY KEY,
     epoch INTEGER NOT NULL,
     memory TEXT NOT NULL
   ) STRICT;
   CREATE TABLE recovery (
     id TEXT PRIMARY KEY,
     cluster TEXT NOT NULL,
     started_at TEXT NOT NULL,
     record TEXT NOT NULL
   ) STRICT;
   CREATE INDEX recovery_by_time ON recovery (cluster, started_at, id);`,
  `CREATE TABLE standing_orders (
     cluster TEXT PRIMARY KEY,
     orders TEXT NOT NULL
   ) STRICT;`,
  // In the order in which they were begun, whatever the clock of the machine said.
  `CREATE TABLE recovery_in_order (
     place INTEGER PRIMARY KEY AUTOINCREMENT,
     id TEXT NOT NULL UNIQUE,
     cluster TEXT NOT NULL,
     record TEXT NOT NULL
   ) STRICT;
   INSERT INTO recovery_in_order (id, cluster, record) SELECT id, cluster, record FROM recovery ORDER BY started_at, id;
   DROP TABLE recovery;
   ALTER TABLE recovery_in_order RENAME TO recovery;
   CREATE INDEX recovery_by_place ON recovery (cluster, place);`,
];

/** Why a store cannot be opened or read. */
export type StoreErrorCode =
  | 'cannot-open' // no such directory, no permission
  | 'corrupt' // SQLite says so, or what is stored does not parse
  | 'foreign' // a database of some other program
  | 'newer' // written by a newer Evenkeel
  | 'busy'; // another process holds the file's lock for longer than the busy timeout

/** Thrown by `openEmbeddedStore` and by the store's own methods. The text names the file and what mends it. */
export class StoreError extends Error {
  readonly code: StoreErrorCode;
  constructor(code: StoreErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'StoreError';
    this.code = code;
  }
}

const SQLITE_BUSY = 5;
const SQLITE_LOCKED = 6;
const SQLITE_CORRUPT = 11;
const SQLITE_NOTADB = 26;

function explain(path: string, error: unknown): StoreError {
  if (error instanceof StoreError) return error;
  const text = error instanceof Error ? error.message : String(error);
  // Extended result codes keep the primary one in their low byte.
  const errcode = error instanceof Error && 'errcode' in error && typeof error.errcode === 'number' ? error.errcode : 0;
  switch (errcode & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return new StoreError(
        'corrupt',
        `store ${path} is damaged or no SQLite file (${text}); move it away and start again: the cluster is discovered anew, the history is lost`,
        error,
      );
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return new StoreError('busy', `store ${path} is locked by another process (${text})`, error);
    default:
      return new StoreError('cannot-open', `store ${path}: ${text}`, error);
  }
}

function pragmaNumber(db: DatabaseSync, name: 'user_version' | 'application_id'): number {
  const row = db.prepare(`PRAGMA ${name}`).get();
  return Number(row?.[name] ?? 0);
}

function migrate(db: DatabaseSync, path: string): void {
  const applicationId = pragmaNumber(db, 'application_id');
  const tables = Number(db.prepare('SELECT count(*) AS n FROM sqlite_schema').get()?.['n'] ?? 0);
  if (applicationId !== APPLICATION_ID && (applicationId !== 0 || tables > 0)) {
    throw new StoreError('foreign', `store ${path} is a database of another program; name another stateDir`);
  }
  const version = pragmaNumber(db, 'user_version');
  if (version > MIGRATIONS.length) {
    throw new StoreError(
      'newer',
      `store ${path} has version ${version}, this Evenkeel knows ${MIGRATIONS.length}: run the newer one, or move the file away`,
    );
  }
  if (version === MIGRATIONS.length) return;
  // Two processes may start at once: the version is looked at again under the write lock.
  db.exec('BEGIN IMMEDIATE');
  try {
    for (let next = pragmaNumber(db, 'user_version'); next < MIGRATIONS.length; next++) {
      db.exec(MIGRATIONS[next] ?? '');
    }
    db.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${MIGRATIONS.length}; COMMIT`);
  } catch (error) {
    db.exec('ROLLBACK');
    throw error;
  }
}

function openDatabase(path: string): DatabaseSync {
  let db: DatabaseSync | null = null;
  try {
    if (path !== ':memory:') {
      // Made before SQLite makes it, so that at no time others may read it; WAL files inherit the mode.
      closeSync(openSync(path, 'a', 0o600));
      chmodSync(path, 0o600);
    }
    db = new DatabaseSync(path);
    db.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
    // Read before the journal mode is changed: a foreign file is left as it was.
    migrate(db, path);
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
    const check = db.prepare('PRAGMA quick_check(1)').get()?.['quick_check'];
    if (check !== 'ok') throw new StoreError('corrupt', `store ${path} is damaged (${String(check)}); move it away`);
    return db;
  } catch (error) {
    db?.close();
    throw explain(path, error);
  }
}

/**
 * Opens or creates the store in the file `path` (`:memory:` for one that is forgotten), mode 0600.
 * Throws a StoreError where the file is damaged, foreign, newer or not to be opened.
 */
export function openEmbeddedStore(path: string): Store {
  const db = openDatabase(path);
  const selectCluster = db.prepare('SELECT memory FROM cluster WHERE cluster = ?');
  // An epoch never goes back, whoever writes last.
  const upsertCluster = db.prepare(
    `INSERT INTO cluster (cluster, epoch, memory) VALUES (?, ?, ?)
     ON CONFLICT (cluster) DO UPDATE SET epoch = excluded.epoch, memory = excluded.memory
     WHERE excluded.epoch >= cluster.epoch`,
  );
  const selectOrders = db.prepare('SELECT orders FROM standing_orders WHERE cluster = ?');
  const upsertOrders = db.prepare(
    `INSERT INTO standing_orders (cluster, orders) VALUES (?, ?)
     ON CONFLICT (cluster) DO UPDATE SET orders = excluded.orders`,
  );
  const upsertRecovery = db.prepare(
    `INSERT INTO recovery (id, cluster, record) VALUES (?, ?, ?)
     ON CONFLICT (id) DO UPDATE SET record = excluded.record`,
  );
  const prune = db.prepare(
    `DELETE FROM recovery WHERE cluster = ?1 AND id IN
       (SELECT id FROM recovery WHERE cluster = ?1 ORDER BY place DESC LIMIT -1 OFFSET ?2)`,
  );
  const selectRecovery = db.prepare('SELECT record FROM recovery WHERE id = ?');
  const selectHistory = db.prepare('SELECT record FROM recovery ORDER BY place DESC LIMIT ?');
  const selectClusterHistory = db.prepare('SELECT record FROM recovery WHERE cluster = ? ORDER BY place DESC LIMIT ?');

  function guarded<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw explain(path, error);
    }
  }
  function parse(text: unknown): unknown {
    try {
      return JSON.parse(String(text));
    } catch (error) {
      throw new StoreError('corrupt', `store ${path} holds an entry that does not parse; move it away`, error);
    }
  }

  return {
    loadCluster(cluster) {
      const row = guarded(() => selectCluster.get(cluster));
      return row === undefined ? null : (parse(row['memory']) as ClusterMemory);
    },
    saveCluster(memory) {
      guarded(() => upsertCluster.run(memory.cluster, memory.epoch, JSON.stringify(memory)));
    },
    loadOrders(cluster) {
      const row = guarded(() => selectOrders.get(cluster));
      return row === undefined ? null : (parse(row['orders']) as StandingOrders);
    },
    saveOrders(orders) {
      guarded(() => upsertOrders.run(orders.cluster, JSON.stringify(orders)));
    },
    saveRecovery(record) {
      guarded(() => {
        upsertRecovery.run(record.id, record.cluster, JSON.stringify(record));
        prune.run(record.cluster, MAX_RECOVERIES_PER_CLUSTER);
      });
    },
    history(options = {}) {
      const limit = Math.max(0, Math.min(options.limit ?? DEFAULT_HISTORY_LIMIT, MAX_RECOVERIES_PER_CLUSTER));
      const rows = guarded(() =>
        options.cluster === undefined ? selectHistory.all(limit) : selectClusterHistory.all(options.cluster, limit),
      );
      return rows.map((row) => parse(row['record']) as RecoveryRecord);
    },
    recovery(id) {
      const row = guarded(() => selectRecovery.get(id));
      return row === undefined ? null : (parse(row['record']) as RecoveryRecord);
    },
    close() {
      if (db.isOpen) db.close();
    },
  };
}
