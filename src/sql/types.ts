// What one pass over a statement's text tells. When in doubt the lexer says so (`unknown`); it never guesses.

export type StatementKind =
  | 'read' // SELECT/TABLE/VALUES/SHOW/DESCRIBE/EXPLAIN … without an effect that we can see
  | 'locking-read' // SELECT … FOR UPDATE/SHARE, LOCK IN SHARE MODE; EXPLAIN of a write (changes nothing, but belongs on the primary)
  | 'write' // INSERT, UPDATE, DELETE, REPLACE, LOAD, DDL, GRANT …; also EXPLAIN ANALYZE of a write
  | 'begin' // BEGIN, START TRANSACTION
  | 'commit' // COMMIT, including AND CHAIN / RELEASE (see flags)
  | 'rollback' // ROLLBACK, not TO SAVEPOINT
  | 'savepoint' // SAVEPOINT, ROLLBACK TO, RELEASE SAVEPOINT
  | 'set' // SET of variables, names, character set, transaction, role; SET PASSWORD and DEFAULT ROLE are `write`
  | 'use'
  | 'kill'
  | 'call' // CALL, DO; SELECT of a stored or unknown function is `read` with `unknownFunction`
  | 'prepare' // PREPARE, EXECUTE, DEALLOCATE in SQL
  | 'lock' // LOCK TABLES, FLUSH TABLES WITH READ LOCK, LOCK INSTANCE
  | 'unlock'
  | 'xa'
  | 'admin' // SET GLOBAL, SHUTDOWN, CHANGE REPLICATION …, STOP REPLICA, RESET …, PURGE …
  | 'multi' // several statements in one text
  | 'empty' // nothing but comments and blanks
  | 'unknown';

/** What the text must be read with. A dialect that is not the session's own gives wrong answers for odd texts. */
export interface ClassifyOptions {
  flavor: 'mysql' | 'mariadb';
  /** The session's sql_mode as far as it changes the lexer; both false where absent. */
  sqlMode?: { ansiQuotes: boolean; noBackslashEscapes: boolean };
  /** character_set_client is one whose second byte may be a backslash or a quote (gbk, gb18030, sjis, cp932, big5): all is `unknown`. */
  multiByteUnsafe?: boolean;
}

export interface StatementFlags {
  /** CREATE TEMPORARY TABLE (DROP TEMPORARY too). */
  temporaryTable: boolean;
  /** GET_LOCK, RELEASE_LOCK, RELEASE_ALL_LOCKS, IS_USED_LOCK … */
  namedLock: boolean;
  /** Writes a user variable: SET @a, SELECT @a := , INTO @a. */
  setsUserVariable: boolean;
  /** Mentions a user variable at all. */
  usesUserVariable: boolean;
  /** Asks about the statements before, in any of the ways that the flags from `asksInsertId` on tell apart. */
  asksPrevious: boolean;
  /** SQL_CALC_FOUND_ROWS. */
  calcFoundRows: boolean;
  /** A call of anything that is not a built-in known to be free of effects; in several statements also CALL, EXECUTE. */
  unknownFunction: boolean;
  /** AND CHAIN on COMMIT/ROLLBACK. */
  chain: boolean;
  /** RELEASE on COMMIT/ROLLBACK: the server closes the connection after it. */
  release: boolean;
  /** START TRANSACTION READ ONLY. */
  readOnly: boolean;
  /** LAST_INSERT_ID(expr), MariaDB's … RETURNING: the answer does not tell what it is then. */
  setsLastInsertId: boolean;
  /** Implicitly commits an open transaction (DDL, LOCK TABLES …). */
  implicitCommit: boolean;
  /** SET TRANSACTION (or SET @@transaction_isolation …) without a scope: counts for the next transaction only. */
  setsOneShotTransaction: boolean;
  /** SET GLOBAL, SET PERSIST: kind is `admin`. */
  globalScope: boolean;
  /** Sets a session_track_* variable. */
  touchesSessionTracking: boolean;
  /** LAST_INSERT_ID() without argument, @@identity, @@last_insert_id; also what `asksConnection` says of writes. */
  asksInsertId: boolean;
  /** SHOW WARNINGS/ERRORS, also as COUNT(*), GET DIAGNOSTICS, @@warning_count, @@error_count; SHOW PROFILE. */
  asksDiagnostics: boolean;
  /** FOUND_ROWS(), ROW_COUNT(). */
  asksCounts: boolean;
  /** Asks for what only the server connection itself knows, whatever is carried to another: LASTVAL(s), PREVIOUS VALUE FOR s, @@last_gtid, WSREP_LAST_…(), SHOW PROFILE. */
  asksConnection: boolean;
  /** CONNECTION_ID(), @@pseudo_thread_id. */
  connectionId: boolean;
  /** SET ROLE. */
  setsRole: boolean;
  /** SET NAMES or SET CHARACTER SET, also as one of several assignments: servers do not report collation_connection. */
  setsNames: boolean;
  /** HANDLER … OPEN, READ, CLOSE. */
  handler: boolean;
  /** RELEASE_LOCK, RELEASE_ALL_LOCKS. */
  mayRelease: boolean;
  /** DROP TABLE, with TEMPORARY or without: may drop a temporary table. */
  dropsTable: boolean;
  /** ALTER … RENAME, RENAME TABLE: a temporary table may have another name after it. */
  renamesTable: boolean;
  /** SET of a variable that counts for one statement only or of which servers report a wrong value: timestamp, insert_id, rand_seed1, rand_seed2, pseudo_thread_id, gtid_next, gtid_seq_no; MariaDB's SET STATEMENT … FOR, and WAIT n or NOWAIT behind DDL and locking reads. */
  setsUnreported: boolean;
  /** What it reads is the server's own, and not alike on all that have the same data: `@@` variables, SHOW, EXPLAIN, the schemas of the system, LOAD_FILE() and its like. */
  asksServer: boolean;
}

/** Results are shared between equal statements: never change one. */
export interface Classification {
  readonly kind: StatementKind;
  /** May be run a second time by us if nothing of its answer was forwarded, outside a transaction: reads free of effects. */
  readonly rerunnable: boolean;
  /** Lock, state or value that lives in the server connection only; see the comments. */
  readonly flags: Readonly<StatementFlags>;
  /** KILL [CONNECTION|QUERY] n: set only where n is a literal. */
  readonly kill?: { connectionId: number; queryOnly: boolean };
  /** The user variables that are written, lower case without `@`. */
  readonly userVariables: readonly string[];
}
