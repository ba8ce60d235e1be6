// The statements that sequences are made of, by topic: what changes a session and what shows it. Every text may fail; then
// the error is what is compared. The first of a list is the simplest, which shrinking prefers.
import type { Flavor } from '../../../src/messages/index.ts';

type Texts = readonly string[];

/** Session variables and values for them, as SQL. */
const VARIABLES: Readonly<Record<string, Texts>> = {
  sql_mode: [
    "''",
    "'ANSI_QUOTES'",
    "'STRICT_TRANS_TABLES'",
    "'NO_BACKSLASH_ESCAPES'",
    "'PIPES_AS_CONCAT,NO_ZERO_DATE'",
    "'ANSI'",
    "'NO_AUTO_VALUE_ON_ZERO'",
    "CONCAT(@@sql_mode, ',ANSI_QUOTES')",
    "(SELECT 'PIPES_AS_CONCAT')",
    '@mode',
    'DEFAULT',
    "'NO_SUCH_MODE'",
  ],
  time_zone: ["'+02:00'", "'-05:30'", "'SYSTEM'", 'DEFAULT', "'nowhere'"],
  group_concat_max_len: ['4', '1024', '2', 'DEFAULT', "'many'"],
  '{t}': ["'READ-COMMITTED'", "'READ-UNCOMMITTED'", "'SERIALIZABLE'", "'REPEATABLE-READ'", 'DEFAULT'],
  foreign_key_checks: ['0', '1', 'OFF', 'DEFAULT'],
  unique_checks: ['0', '1'],
  sql_safe_updates: ['1', '0'],
  character_set_client: ['latin1', 'utf8mb4', "'ucs2'"],
  character_set_connection: ['latin1', 'utf8mb4', 'DEFAULT'],
  character_set_results: ['latin1', 'NULL', 'utf8mb4', 'utf16'],
  collation_connection: ['utf8mb4_bin', 'latin1_german2_ci', 'utf8mb4_unicode_ci'],
  sql_select_limit: ['2', '1', 'DEFAULT'],
  div_precision_increment: ['8', '0', 'DEFAULT'],
  auto_increment_increment: ['3', '1'],
  auto_increment_offset: ['2', '1'],
  lc_time_names: ["'de_DE'", "'ja_JP'", 'DEFAULT', "'xx_XX'"],
  lc_messages: ["'de_DE'", 'DEFAULT'],
  sql_auto_is_null: ['1', '0'],
  sql_notes: ['0', '1'],
  sql_warnings: ['1', '0'],
  max_error_count: ['1', '0', '64'],
  sql_quote_show_create: ['0', '1'],
  wait_timeout: ['1000', '@@wait_timeout + 1', 'DEFAULT'],
  lock_wait_timeout: ['19', '@@lock_wait_timeout', 'DEFAULT'],
  innodb_lock_wait_timeout: ['2', 'DEFAULT'],
  default_week_format: ['3', '0'],
  max_sort_length: ['8', '1024'],
  sort_buffer_size: ['65536', '300000', 'DEFAULT'],
  timestamp: ['1700000000', '1700000000.25'],
  default_storage_engine: ["'MyISAM'", "'InnoDB'", "'none'"],
  optimizer_switch: ["'mrr=off'", "'mrr=on,index_merge=off'", 'DEFAULT'],
  big_tables: ['1', '0'],
  max_join_size: ['1', 'DEFAULT'],
  profiling_history_size: ['10'],
  net_read_timeout: ['31', 'DEFAULT'],
  old_alter_table: ['1', '0'],
  updatable_views_with_limit: ['0', '1'],
};

/** All ways to write an assignment, and what else sets variables. */
export const SETTINGS: Texts = Object.entries(VARIABLES).flatMap(([name, values]) =>
  values.flatMap((value, i) => {
    const forms = ['SET ', 'SET SESSION ', 'SET @@session.', 'SET @@'].map((how) => `${how}${name} = ${value}`);
    return [forms[0], forms[1 + (i % 3)]].filter((form) => form !== undefined);
  }),
);

export const SEVERAL_SETTINGS: Texts = [
  "SET sql_mode = 'ANSI_QUOTES', @a = 7, time_zone = '+03:00'",
  "SET @a = 1, LOCAL group_concat_max_len = 3, @b = 'two'",
  'SET @b = @a, @a = 5, group_concat_max_len = @a',
  // The second part fails: nothing, or the first part, is set.
  "SET @a = 99, @@sql_mode = 'NO_SUCH_MODE'",
  "SET group_concat_max_len = 8, time_zone = 'nowhere'",
  "SET time_zone = '+09:00', no_such_variable = 1",
  'SET @c = 1, @c = (SELECT n FROM missing)',
  'SET @@max_connections = 200',
  'SET GLOBAL max_connections = 200',
  'SET @@global.sql_mode = DEFAULT, @a = 3',
  'SET SESSION sql_log_bin = 0',
  'SET @@no_such_variable = 1',
  'SET @@version = 1',
  "SET @mode = 'ANSI_QUOTES,PIPES_AS_CONCAT'",
  "SET /* comment */ sql_mode = /*!50000 'ANSI' */",
];

export const NAMES: Texts = [
  'SET NAMES utf8mb4',
  'SET NAMES latin1',
  'SET NAMES utf8mb4 COLLATE utf8mb4_bin',
  'SET NAMES latin1 COLLATE latin1_german2_ci',
  'SET NAMES DEFAULT',
  'SET CHARACTER SET latin1',
  'SET CHARACTER SET utf8mb4',
  'SET CHARSET DEFAULT',
  "SET NAMES 'none'",
  'SET NAMES utf8mb4 COLLATE latin1_bin',
  'SET NAMES binary',
];

export const SCHEMAS: Texts = ['USE {b}', 'USE {a}', 'USE {c}', 'USE `{a}`', 'USE nowhere'];

const VALUES: Texts = [
  '1',
  "'text'",
  'NULL',
  '-7',
  '1.50',
  '-0.000100',
  '1e10',
  '2.5e-3',
  '18446744073709551615',
  'TRUE',
  "''",
  "x'00ff27'",
  "b'101'",
  "_latin1 x'e4'",
  "_utf8mb4'ä' COLLATE utf8mb4_bin",
  "_binary 'bin'",
  `'quo''te"\\\\ back'`,
  "'日本 🎉'",
  "CAST('2024-02-29' AS DATE)",
  "CAST('2024-02-29 12:00:00.5' AS DATETIME(3))",
  "CAST('-12:34:56' AS TIME)",
  'CAST(3 AS UNSIGNED)',
  'CAST(3 AS DECIMAL(20,5))',
  '@b',
  '@a',
  '@a + 1',
  '@a * 1.5',
  "CONCAT(@a, 'x')",
  'CONCAT(@a, @c)',
  '@@sql_mode',
  '(SELECT MAX(id) FROM t)',
  'mark(8)',
  'LAST_INSERT_ID()',
  "REPEAT('long ', 200)",
];

export const USER_VARIABLES: Texts = [
  ...VALUES.map((value) => `SET @a = ${value}`),
  ...VALUES.filter((_, i) => i % 3 === 0).map((value) => `SET @b := ${value}`),
  ...VALUES.filter((_, i) => i % 4 === 1).map((value) => `SELECT @c := ${value}`),
  'SELECT @a := @a + 1',
  'SELECT @a := n FROM u ORDER BY id',
  'SELECT id, n FROM u WHERE id = 2 INTO @a, @b',
  'SELECT n INTO @b FROM u WHERE id = 1',
  'SELECT n INTO @b FROM u WHERE id = 77',
  'SELECT n INTO @b FROM u',
  "SELECT 'x' COLLATE utf8mb4_bin INTO @c",
  'SET @`odd name` = 1, @\'quoted\' = 2, @"double" = 3',
  'SET @A = 12',
  'DO @b := 5',
  'UPDATE u SET n = (@c := n) WHERE id = 1',
];

export const INSERTS: Texts = [
  'INSERT INTO t (v) VALUES (1)',
  'INSERT INTO t (v) VALUES (1), (2), (3)',
  'INSERT INTO t (id, v) VALUES (1000, 5)',
  'INSERT INTO t (id, v) VALUES (NULL, 5)',
  'INSERT INTO t (id, v) VALUES (0, 6)',
  'INSERT INTO {b}.t (v) VALUES (9)',
  'INSERT INTO t (v) SELECT n FROM u WHERE n IS NOT NULL',
  'INSERT INTO t (v) SELECT n FROM u WHERE id > 500',
  'INSERT IGNORE INTO u VALUES (1, 1, 1)',
  'INSERT INTO u VALUES (1, 1, 1)',
  'INSERT INTO u VALUES (1, 5, 2) ON DUPLICATE KEY UPDATE d = d + 1',
  'INSERT INTO t (id, v) VALUES (1, 5) ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id), v = 6',
  'REPLACE INTO t (id, v) VALUES (2, 50)',
  'UPDATE u SET n = n + 0 WHERE id < 3',
  'UPDATE u SET d = d + 1',
  'UPDATE t SET v = LAST_INSERT_ID(v + 1) WHERE id = 1',
  'DELETE FROM t WHERE id = 3',
  'SELECT LAST_INSERT_ID(42)',
  'SELECT LAST_INSERT_ID(n) FROM u WHERE id = 2',
  'DO LAST_INSERT_ID(17)',
  'SET last_insert_id = 77',
  'SET insert_id = 5000',
];

export const INSERT_IDS: Texts = [
  'SELECT LAST_INSERT_ID()',
  'SELECT @@last_insert_id, @@identity',
  'SELECT * FROM t WHERE id = LAST_INSERT_ID()',
  'SELECT * FROM t WHERE id IS NULL',
];

/** What the last statement left behind, beside its warnings. */
export const COUNTS: Texts = [
  'SELECT ROW_COUNT()',
  'SELECT FOUND_ROWS()',
  'SELECT ROW_COUNT() AS r, FOUND_ROWS() AS f',
  'SET @a = ROW_COUNT()',
  'DO FOUND_ROWS()',
];

/** With a reset MySQL forgets the login's character set, MariaDB the schema's; through Evenkeel both stay. */
export const AFTER_RESET: Texts = ['SET NAMES utf8mb4 COLLATE utf8mb4_general_ci', 'USE {a}'];
/** Makes FOUND_ROWS() defined: until a connection's first SELECT, MariaDB answers with another connection's. */
export const FIRST = 'SELECT 1 AS first';

export const CALCULATING: Texts = [
  'SELECT SQL_CALC_FOUND_ROWS * FROM u LIMIT 1',
  'SELECT id FROM u LIMIT 2',
  'SELECT SQL_CALC_FOUND_ROWS id FROM u WHERE id > 500',
];

export const WARNING: Texts = [
  'SELECT 1 / 0',
  "SELECT CAST('12abc' AS SIGNED), CAST('z' AS SIGNED)",
  "INSERT INTO narrow VALUES (1000, 'toolong', '2024-02-30')",
  "INSERT IGNORE INTO narrow VALUES (-1000, 'toolong', '2024-01-01')",
  'DROP TABLE IF EXISTS missing',
  'CREATE TABLE IF NOT EXISTS u (x INT)',
  'SELECT 1; ',
  'SELECT GROUP_CONCAT(s) FROM t',
  'SELECT missing FROM u',
];

export const WARNINGS: Texts = [
  'SHOW WARNINGS',
  'SHOW COUNT(*) WARNINGS',
  'SELECT @@warning_count, @@error_count',
  'SHOW ERRORS',
  'SHOW WARNINGS LIMIT 1',
  'GET DIAGNOSTICS @told = NUMBER', // with ROW_COUNT, an error elsewhere
  'GET DIAGNOSTICS CONDITION 1 @told = RETURNED_SQLSTATE, @why = MESSAGE_TEXT',
];

/** What shows the session as it is. */
export const PROBES: Texts = [
  'SELECT @a, @b, @c',
  // The type of a NULL does not travel.
  'SELECT IF(@a IS NULL, 0, CHARSET(@a)), IF(@a IS NULL, 0, COLLATION(@a)), IF(@a IS NULL, 0, COERCIBILITY(@a))',
  'SELECT HEX(@a), LENGTH(@b), @c + 0, @a = 1.50, @a + 1, CONVERT(@a USING utf8mb4) COLLATE utf8mb4_bin',
  'SELECT @mode, @`odd name`, @quoted, @double, @marked, @remembered, @copied',
  'SELECT DATABASE(), CURRENT_USER(), USER(), SCHEMA()',
  'SELECT @@sql_mode, @@time_zone, @@group_concat_max_len, @@{t}, @@foreign_key_checks, @@autocommit',
  'SELECT @@character_set_client, @@character_set_connection, @@character_set_results, @@collation_connection',
  'SELECT @@character_set_database, @@collation_database, @@sql_select_limit, @@div_precision_increment',
  'SELECT @@wait_timeout, @@lock_wait_timeout, @@sql_notes, @@max_error_count, @@unique_checks, @@sql_safe_updates',
  'SELECT @@session.auto_increment_increment, @@auto_increment_offset, @@sql_auto_is_null, @@lc_time_names',
  "SHOW VARIABLES LIKE 'character\\_set\\_%'",
  "SHOW SESSION VARIABLES LIKE '%isolation'",
  "SHOW VARIABLES WHERE Variable_name IN ('sql_mode', 'sort_buffer_size', 'optimizer_switch', 'big_tables')",
  "SHOW VARIABLES LIKE 'coll%'",
  'SELECT "v" FROM t LIMIT 1',
  "SELECT 'a' || 'b', 'back\\\\slash'",
  "SELECT 'ä', _latin1 x'e4', CHARSET('x'), COLLATION('x'), LENGTH('ä')",
  'SELECT FROM_UNIXTIME(86400), 1 / 3',
  'SELECT GROUP_CONCAT(n ORDER BY id) FROM u',
  "SELECT DATE_FORMAT('2024-01-07', '%W %M'), WEEK('2024-01-07')",
  'SELECT * FROM u',
  'SELECT id, v, s FROM t ORDER BY id DESC',
  'SELECT u.id FROM u, t',
  'SHOW TABLES',
  'SHOW CREATE TABLE narrow',
  'SELECT * FROM only_here',
  'UPDATE u SET n = n',
  'SELECT mark(3), @marked',
  'SELECT CURRENT_ROLE()',
  'SELECT v FROM eq_shared.undecided WHERE id = 1',
  'SELECT * FROM v',
  "SELECT s FROM t WHERE s = 'ADA'",
];

export const OWN_ID: Texts = ['SELECT CONNECTION_ID() = {id} AS own', 'SELECT IF(connection_id() = {id}, 1, 0) AS own'];

export const FAILING: Texts = [
  'SELEC 1',
  'SELECT * FROM missing',
  'INSERT INTO u VALUES (1, 1, 1)',
  'INSERT INTO u VALUES (5, 10, 1)',
  'CALL no_such_procedure()',
  'SELECT no_such_function(1)',
  'SELECT * FROM nowhere.t',
  "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no further'",
  'DROP TABLE missing',
  'SELECT 1 +',
  '',
  'SELECT (SELECT n FROM u)',
];

export const CALLS: Texts = [
  'CALL two()',
  'CALL bump(@a)',
  'CALL remember(33)',
  'CALL adds(4)',
  'CALL signals()',
  "CALL settles('ANSI_QUOTES')",
  'CALL moves()',
  'DO mark(5)',
];

export const MULTI: Texts = [
  'SELECT 1; SELECT 2',
  "SET @a = 1; SET sql_mode = 'ANSI'; SELECT @a",
  'USE {b}; SELECT DATABASE(); INSERT INTO t (v) VALUES (1)',
  'SELECT 1; SELECT * FROM missing; SET @a = 100',
  'BEGIN; INSERT INTO t (v) VALUES (2); COMMIT',
  'INSERT INTO t (v) VALUES (3); SELECT LAST_INSERT_ID()',
  'CALL two(); SELECT 3',
  'SELECT 1/0; SHOW WARNINGS',
  'SET @b = 5; SELEC',
  ';;',
  "SET time_zone = '+01:00'; ",
];

export const ROLES: Texts = [
  'SET ROLE eq_role',
  'SELECT * FROM eq_hidden.h',
  'SET ROLE NONE',
  'SELECT CURRENT_ROLE()',
  'SET ROLE no_such_role',
  'SET ROLE DEFAULT',
  'SET ROLE ALL',
];

/** For `copied`. */
export const COPIED: Texts = ["SET @copied = 'x'", 'SET @copied = 5', "SET @copied = _latin1'ab' COLLATE latin1_bin"];

export const DEFINITIONS: Texts = [
  'CREATE TABLE fresh (id INT AUTO_INCREMENT PRIMARY KEY, s VARCHAR(5))',
  'INSERT INTO fresh (s) VALUES (1), (2)',
  'SHOW CREATE TABLE fresh',
  'ALTER TABLE fresh ADD COLUMN more INT',
  'SELECT * FROM fresh',
  'DROP TABLE fresh',
  'TRUNCATE TABLE t',
  'CREATE OR REPLACE VIEW v AS SELECT id FROM u',
  'ANALYZE TABLE u',
  'EXPLAIN SELECT 1',
  'CREATE TABLE copied AS SELECT @copied AS a, 1.50 AS b',
  'SHOW COLUMNS FROM copied',
  'DROP TABLE IF EXISTS copied',
];

/** For COM_STMT_PREPARE. */
export const PREPARABLE: Texts = [
  'SELECT ? AS p',
  'SELECT ?, ? + 1, @a',
  'SELECT id, n, d FROM u WHERE id > ? ORDER BY id',
  'INSERT INTO t (v, s) VALUES (?, ?)',
  'SELECT * FROM t',
  'SET @a = ?',
  'UPDATE u SET d = ? WHERE id = ?',
  'SELECT 1',
  'CALL bump(@a)',
  'SELECT LENGTH(?), CHARSET(?)',
  'SELECT * FROM missing',
  'CALL two()',
  'SELECT DATABASE(), "v", @@sql_mode FROM t LIMIT 1',
  'DO 1',
  'SELECT ? / 0',
];

/** SQL's own prepared statements. */
export const SQL_PREPARED: Texts = [
  "PREPARE one FROM 'SELECT ? + 1, @a'",
  'EXECUTE one USING @a',
  'EXECUTE one',
  'SET @text = \'SELECT DATABASE(), "x"\'',
  'PREPARE two FROM @text',
  'EXECUTE two',
  "PREPARE two FROM 'INSERT INTO t (v) VALUES (?)'",
  'EXECUTE two USING @b',
  "PREPARE two FROM 'SELEC'",
  'DEALLOCATE PREPARE two',
  "EXECUTE IMMEDIATE 'SELECT 5'",
];

/** In a transaction, beside everything else. */
export const IN_TRANSACTION: Texts = [
  'INSERT INTO t (v) VALUES (7)',
  'SAVEPOINT one',
  'ROLLBACK TO SAVEPOINT one',
  'ROLLBACK TO one',
  'RELEASE SAVEPOINT one',
  'SELECT COUNT(*) FROM t',
  'SELECT v FROM eq_shared.undecided WHERE id = 1',
  'SELECT * FROM u WHERE id = 1 FOR UPDATE',
  'SELECT @@{t}, @@autocommit',
  'UPDATE u SET d = 9 WHERE id = 1',
  'SET TRANSACTION ISOLATION LEVEL READ COMMITTED',
  'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
  'COMMIT AND CHAIN',
  'ROLLBACK AND CHAIN',
  'BEGIN',
  'SET autocommit = 1',
];

export const BEGINNINGS: Texts = [
  'BEGIN',
  'START TRANSACTION',
  'START TRANSACTION READ ONLY',
  'START TRANSACTION WITH CONSISTENT SNAPSHOT',
  'START TRANSACTION READ WRITE',
  'SET autocommit = 0',
  'BEGIN WORK',
  'SET SESSION autocommit = OFF',
];

export const ENDINGS: Texts = ['COMMIT', 'ROLLBACK', 'COMMIT WORK', 'ROLLBACK AND NO CHAIN'];

/** For the next transaction only. */
export const ONE_SHOT: Texts = [
  'SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED',
  'SET TRANSACTION ISOLATION LEVEL SERIALIZABLE',
  'SET TRANSACTION READ ONLY',
  'SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE',
];

export const SESSION_TRANSACTION: Texts = [
  'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
  'SET SESSION TRANSACTION READ ONLY',
  'INSERT INTO t (v) VALUES (8)',
  'SET SESSION TRANSACTION READ WRITE',
  'SELECT @@{t}',
  'SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ',
];

/** Sequences that keep something at the server and give it back: what stands between is chosen. */
export const HELD: readonly { name: string; begin: Texts; between: Texts; end: Texts }[] = [
  {
    name: 'temporary table',
    begin: ['CREATE TEMPORARY TABLE temp (id INT AUTO_INCREMENT PRIMARY KEY, s VARCHAR(9))'],
    between: ['INSERT INTO temp (s) VALUES (1), (2)', 'SELECT * FROM temp', 'SHOW CREATE TABLE temp', 'USE {b}'],
    end: ['DROP TEMPORARY TABLE IF EXISTS {a}.temp, {b}.temp, {c}.temp'],
  },
  {
    name: 'table lock',
    begin: ['LOCK TABLES {a}.t WRITE, {a}.u READ'],
    between: [
      'INSERT INTO {a}.t (v) VALUES (1)',
      'SELECT * FROM {a}.u',
      'UPDATE {a}.u SET n = 1',
      'SELECT * FROM {b}.t',
    ],
    end: ['UNLOCK TABLES'],
  },
  {
    name: 'named lock',
    begin: ["SELECT GET_LOCK('{k}', 5)"],
    between: ["SELECT IS_FREE_LOCK('{k}')", "SELECT GET_LOCK('{k}', 0)"],
    end: [
      "SELECT RELEASE_LOCK('{k}'), RELEASE_LOCK('{k}'), RELEASE_LOCK('{k}'), RELEASE_LOCK('{k}'), IS_FREE_LOCK('{k}')",
    ],
  },
  {
    name: 'handler',
    begin: ['HANDLER {a}.u OPEN AS h'],
    between: ['HANDLER h READ FIRST', 'HANDLER h READ NEXT', 'HANDLER h READ `PRIMARY` = (2)'],
    end: ['HANDLER h CLOSE'],
  },
  {
    name: 'xa',
    begin: ["XA START '{k}'"],
    between: ['INSERT INTO {a}.t (v) VALUES (1)', 'SELECT COUNT(*) FROM {a}.t', 'COMMIT'],
    end: ["XA END '{k}'", "XA ROLLBACK '{k}'"],
  },
  {
    name: 'xa, one phase',
    begin: ["XA BEGIN '{k}'"],
    between: ['INSERT INTO {a}.t (v) VALUES (1)', 'UPDATE {a}.u SET d = 3'],
    end: ["XA END '{k}'", "XA COMMIT '{k}' ONE PHASE"],
  },
  {
    name: 'xa, prepared',
    begin: ["XA START '{k}'"],
    between: ['INSERT INTO {a}.t (v) VALUES (1)'],
    end: ["XA END '{k}'", "XA PREPARE '{k}'", "XA COMMIT '{k}'"],
  },
  {
    name: 'sql prepare',
    begin: ["PREPARE kept FROM 'SELECT ? + 1, @a, DATABASE()'"],
    between: ['EXECUTE kept USING @a', 'SET @a = 4', 'EXECUTE kept'],
    end: ['DEALLOCATE PREPARE kept'],
  },
  {
    name: 'clock',
    begin: ['SET timestamp = 1700000000.5'],
    between: [
      "SELECT NOW(3) < '2024-01-01' AS early",
      'SELECT UTC_TIMESTAMP(3) + 0 < 20240101000000 AS early, RAND(3)',
    ],
    end: ['SET timestamp = DEFAULT'],
  },
  {
    name: 'chance',
    begin: ['SET rand_seed1 = 10, rand_seed2 = 20', 'SELECT RAND() AS first', 'SELECT RAND() AS second'],
    between: ['DO 1'],
    end: [],
  },
];

export function isolationVariable(flavor: Flavor): string {
  return flavor === 'mysql' ? 'transaction_isolation' : 'tx_isolation';
}
