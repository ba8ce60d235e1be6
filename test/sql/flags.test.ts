// What a statement asks of the connection it runs on, and what it leaves there: one table, and which flags go together.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type ClassifyOptions, classify, type StatementFlags } from '../../src/sql/index.ts';
import fc from '../seed.ts';
import { MARIADB, MYSQL } from './describe.ts';

const ANSI: ClassifyOptions = { flavor: 'mysql', sqlMode: { ansiQuotes: true, noBackslashEscapes: false } };

/** The flags that these tables are about. */
const SHOWN: (keyof StatementFlags)[] = [
  ...(['asksInsertId', 'asksDiagnostics', 'asksCounts', 'asksConnection', 'connectionId', 'setsRole'] as const),
  ...(['setsNames', 'handler', 'mayRelease', 'dropsTable', 'renamesTable', 'setsUnreported'] as const),
];
const ASKING = ['asksInsertId', 'asksDiagnostics', 'asksCounts', 'asksConnection'] as const;

function shown(text: string, options: ClassifyOptions): string {
  const { flags } = classify(text, options);
  return SHOWN.filter((name) => flags[name]).join(' ');
}

const BOTH: [string, string][] = [
  ['SELECT last_insert_id ( )', 'asksInsertId'],
  ['SELECT LAST_INSERT_ID(/**/)', 'asksInsertId'],
  ['SELECT LAST_INSERT_ID(1)', ''],
  ['SELECT `last_insert_id`()', 'asksInsertId'],
  ['SELECT @@identity, @@LAST_INSERT_ID', 'asksInsertId'],
  ['SELECT @@session.`identity`, @@ `x`', 'asksInsertId'],
  ['SELECT @@`last_insert_id`', 'asksInsertId'],
  ['INSERT INTO t VALUES (LAST_INSERT_ID())', 'asksInsertId'],
  ["SELECT 'LAST_INSERT_ID()', identity, t.last_insert_id FROM t", ''],
  ['SHOW WARNINGS LIMIT 1', 'asksDiagnostics'],
  ['show count( * ) warnings', 'asksDiagnostics'],
  ['SHOW ERRORS', 'asksDiagnostics'],
  ['GET CURRENT DIAGNOSTICS CONDITION 1 @m = MESSAGE_TEXT', 'asksDiagnostics'],
  ['SELECT @@error_count + @@local.warning_count', 'asksDiagnostics'],
  ['SHOW PROFILES', 'asksDiagnostics asksConnection'],
  ['SIGNAL SQLSTATE "45000"', ''],
  ['RESIGNAL', ''],
  ['SELECT FOUND_ROWS(), ROW_COUNT()', 'asksCounts'],
  ['UPDATE t SET a = ROW_COUNT()', 'asksCounts'],
  ['SELECT LAST_INSERT_ID(), FOUND_ROWS(), @@warning_count', 'asksInsertId asksDiagnostics asksCounts'],
  ['SELECT CONNECTION_ID()', 'connectionId'],
  ['select connection_id ()', 'connectionId'],
  ['SELECT `Connection_ID`()', 'connectionId'],
  ['KILL CONNECTION_ID()', 'connectionId'],
  ['SELECT @@pseudo_thread_id', 'connectionId'],
  ['SELECT @@session.pseudo_thread_id', 'connectionId'],
  ['SELECT connection_id, db.connection_id(), db.`connection_id`() FROM t', ''],
  ["SELECT 'CONNECTION_ID()' -- CONNECTION_ID()", ''],
  ['SET ROLE r', 'setsRole'],
  ["SET ROLE ALL EXCEPT 'a'@'b', c@d", 'setsRole'],
  ['SET DEFAULT ROLE r TO u', ''],
  ['SET NAMES utf8', 'setsNames'],
  ['SET @a = 1, NAMES utf8mb4', 'setsNames'],
  ['SET CHARACTER SET utf8', 'setsNames'],
  ['SET timestamp = DEFAULT, @@session.insert_id = 5', 'setsUnreported'],
  ['SET @timestamp = 1', ''],
  ['SET @names = 1', ''],
  ['HANDLER t OPEN', 'handler'],
  ['HANDLER t READ FIRST', 'handler'],
  ['SELECT handler FROM t', ''],
  ["SELECT RELEASE_LOCK('a')", 'mayRelease'],
  ["SELECT `release_lock`('a')", 'mayRelease'],
  ['DO RELEASE_ALL_LOCKS()', 'mayRelease'],
  ["SELECT GET_LOCK('a', 1)", ''],
  ['DROP TABLE IF EXISTS a, b', 'dropsTable'],
  ['DROP TABLES a', 'dropsTable'],
  ['DROP /* x */ TEMPORARY TABLE a', 'dropsTable'],
  ['SELECT 1; DROP TABLE a', 'dropsTable'],
  ['DROP VIEW v', ''],
  ['DROP DATABASE d', ''],
  ['ALTER TABLE a RENAME TO b', 'renamesTable'],
  ['RENAME TABLE a TO b', 'renamesTable'],
  ['ALTER TABLE a ADD COLUMN `rename` INT', ''],
];

/** [text, MySQL, MariaDB] */
const DIFFERENT: [string, string, string][] = [
  ['SET STATEMENT max_statement_time=1 FOR SELECT 1', '', 'setsUnreported'],
  ['DROP TABLE t NOWAIT', 'dropsTable', 'dropsTable setsUnreported'],
  ['SELECT * FROM t FOR UPDATE WAIT 5', '', 'setsUnreported'],
  ['SELECT wait, nowait FROM t', '', ''],
  ['SELECT LASTVAL(s)', '', 'asksInsertId asksConnection'],
  ['SELECT PREVIOUS VALUE FOR s', '', 'asksInsertId asksConnection'],
  ['SELECT s.currval', '', 'asksInsertId asksConnection'],
  ['SELECT WSREP_LAST_SEEN_GTID()', '', 'asksInsertId asksConnection'],
];

/** The user variables that a statement writes, wherever it does so. */
const WRITES: [string, string[]][] = [
  ['CALL p(@x, 1, @Y)', ['x', 'y']],
  ['CALL p(@x + 1)', ['x']],
  ['EXECUTE s USING @a, @b', ['a', 'b']],
  ['GET DIAGNOSTICS @x = ROW_COUNT, @y = NUMBER', ['x', 'y']],
  ['GET DIAGNOSTICS CONDITION 1 @p1 = RETURNED_SQLSTATE', ['p1']],
  ["LOAD DATA INFILE 'f' INTO TABLE t (@x, b) SET a = @x", ['x']],
  ["LOAD XML INFILE 'f' INTO TABLE t (@x)", ['x']],
  ['INSERT INTO t SET a = @x := 1', ['x']],
  ['INSERT INTO t VALUES (@x := 1, @y)', ['x']],
  ['INSERT INTO t VALUES (1) RETURNING a, b INTO @x, @y', ['x', 'y']],
  ['TABLE t INTO @x', ['x']],
  ['EXPLAIN FORMAT=JSON INTO @x SELECT 1', ['x']],
  ['SELECT @x = 1', []],
];

describe('what a statement asks of its connection is flagged', () => {
  for (const [text, expected] of BOTH) {
    it(`"${expected}" for ${text}`, () => {
      for (const options of [MYSQL, MARIADB]) assert.equal(shown(text, options), expected);
    });
  }
  for (const [text, mysql, mariadb] of DIFFERENT) {
    it(`as each flavor means it: ${text}`, () => {
      assert.equal(shown(text, MYSQL), mysql);
      assert.equal(shown(text, MARIADB), mariadb);
    });
  }
  it('also for a name that ANSI_QUOTES quotes', () => {
    assert.equal(shown('SELECT "connection_id"(), "found_rows"()', ANSI), 'asksCounts connectionId');
  });
});

describe('a user variable that may be written is named', () => {
  for (const [text, names] of WRITES) {
    it(`${names.join(', ') || 'none'}: ${text}`, () => {
      assert.deepEqual(classify(text, MYSQL).userVariables, names);
      assert.deepEqual(classify(text, MARIADB).userVariables, names);
    });
  }
});

describe('asksPrevious', () => {
  it('is set exactly where one of the flags is that tell what is asked', () => {
    const words = [...BOTH, ...DIFFERENT].flatMap(([text]) => text.split(' '));
    const texts = fc.oneof(
      fc.constantFrom(...[...BOTH, ...DIFFERENT].map(([text]) => text)),
      fc.array(fc.constantFrom(...words), { maxLength: 12 }).map((some) => some.join(' ')),
    );
    fc.assert(
      fc.property(texts, fc.constantFrom(MYSQL, MARIADB), (text, options) => {
        const { flags } = classify(text, options);
        assert.equal(
          flags.asksPrevious,
          ASKING.some((name) => flags[name]),
          text,
        );
      }),
      { numRuns: 2000 },
    );
  });
});
