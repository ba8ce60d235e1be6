// Which statements of `route: auto` may leave the primary, as tables: by their text, and by what their session is in.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { changed } from '../../src/gateway/link-state.ts';
import { SessionState } from '../../src/gateway/session.ts';
import { leaves, staysOnReplica } from '../../src/gateway/split.ts';
import { ServerStatus } from '../../src/wire/index.ts';
import { requestOf } from './request-of.ts';

const how = (sql: string, session = new SessionState(45), replays = true): string =>
  leaves(requestOf(sql), session, replays) ?? 'stays';

describe('by its text, a statement', () => {
  const texts: Record<string, string[]> = {
    read: [
      'SELECT 1',
      'select * from t where a = @x',
      '(SELECT a FROM t) UNION SELECT b FROM u',
      'WITH c AS (SELECT 1) SELECT * FROM c',
      'TABLE t',
      'SELECT NOW(), UUID(), RAND(), USER(), DATABASE()',
      'SELECT `mysql`, sys FROM t',
      "SELECT '@@read_only', 'performance_schema.threads'",
    ],
    transaction: ['START TRANSACTION READ ONLY', 'START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY'],
    follow: ['SHOW WARNINGS', 'SHOW COUNT(*) WARNINGS', 'SELECT @@warning_count', 'SELECT FOUND_ROWS()', 'SHOW ERRORS'],
    stays: [
      'BEGIN',
      'START TRANSACTION',
      'COMMIT',
      'INSERT INTO t VALUES (1)',
      'WITH c AS (SELECT 1) UPDATE t SET a = 1',
      'SELECT * FROM t FOR UPDATE',
      'SELECT * FROM t FOR SHARE',
      'SELECT * FROM t LOCK IN SHARE MODE',
      'SELECT a INTO @x FROM t',
      'SELECT @x := 1',
      "SELECT * INTO OUTFILE 'f' FROM t",
      'SELECT own_function(1)',
      "SELECT GET_LOCK('a', 1)",
      "SELECT IS_FREE_LOCK('a')",
      'SELECT LAST_INSERT_ID()',
      'SELECT LAST_INSERT_ID(), FOUND_ROWS()',
      'SELECT SQL_CALC_FOUND_ROWS * FROM t',
      'SELECT @@read_only',
      'SELECT @@global.gtid_executed',
      'SELECT @@version',
      'SELECT * FROM information_schema.tables',
      'SELECT * FROM `performance_schema`.`threads`',
      'SELECT MYSQL.user.user FROM MYSQL . user',
      "SELECT LOAD_FILE('f')",
      'SELECT UUID_SHORT()',
      'SELECT CONNECTION_ID()',
      'SHOW TABLES',
      'SHOW REPLICA STATUS',
      'EXPLAIN SELECT 1',
      'DESCRIBE t',
      'CHECKSUM TABLE t',
      'SELECT 1; SELECT 2',
      'SELECT 1 /*! FOR UPDATE */',
      'SET @a = 1',
      'USE s',
      'CALL p()',
      'DO SLEEP(0)',
      'HANDLER t READ FIRST',
      'GET DIAGNOSTICS @n = ROW_COUNT',
      'XA RECOVER',
      'no such statement',
      '',
    ],
  };
  for (const [expected, sqls] of Object.entries(texts)) {
    for (const sql of sqls) test(`${expected}: ${sql}`, () => assert.equal(how(sql), expected));
  }
});

describe('whatever its text, nothing leaves the primary', () => {
  const sessions: Record<string, (session: SessionState) => void> = {
    'in a transaction': (session) => void (session.status |= ServerStatus.IN_TRANS),
    'behind a BEGIN that was answered': (session) => void (session.begun = true),
    'behind a savepoint': (session) => void (session.savepoint = true),
    'with autocommit off': (session) => void (session.state = changed(session.state, { autocommit: false })),
    'with an isolation level for the next transaction': (session) =>
      void (session.oneShot = 'SET TRANSACTION READ ONLY'),
    'with a temporary table': (session) => session.pin('temporary-table'),
    'with a named lock': (session) => session.pin('named-lock'),
    'with user variables that are not known yet': (session) => session.touchUserVariables(['a']),
    'where writes do not replicate': (session) => session.setVariable('sql_log_bin', 'OFF'),
    'where reads see what is not committed': (session) =>
      session.setVariable('transaction_isolation', 'READ-UNCOMMITTED'),
    'where reads lock': (session) => session.setVariable('tx_isolation', 'SERIALIZABLE'),
    'where a routine may have left what no server tells': (session) => session.hide(),
    'where its client wants it so': (session) =>
      session.setUserVariables([['evenkeel_route', "_utf8mb4 X'7072696D617279' COLLATE utf8mb4_general_ci"]]),
    'in a schema that every server has of its own': (session) => session.chooseSchema('Performance_Schema'),
  };
  for (const [name, prepare] of Object.entries(sessions)) {
    test(name, () => {
      for (const sql of ['SELECT 1', 'START TRANSACTION READ ONLY']) {
        const session = new SessionState(45);
        assert.notEqual(how(sql, session), 'stays');
        prepare(session);
        assert.equal(how(sql, session), 'stays', sql);
      }
    });
  }

  test('of transactions where none can be run again elsewhere', () => {
    assert.equal(how('START TRANSACTION READ ONLY', new SessionState(45), false), 'stays');
  });
});

test('in a read-only transaction on a replica, what locks, writes or is not known goes to the primary', () => {
  const stay = [
    'SELECT * FROM t',
    'SELECT @@port',
    'SHOW TABLES',
    'COMMIT',
    'ROLLBACK',
    'SAVEPOINT a',
    'SET @a = 1',
    'USE s',
  ];
  const go = [
    "SELECT GET_LOCK('a', 1)",
    'SELECT f()',
    'SELECT * FROM t FOR UPDATE',
    'INSERT INTO t VALUES (1)',
    'CALL p()',
  ];
  const more = ['LOCK TABLES t READ', 'CREATE TEMPORARY TABLE t (a INT)', 'SELECT 1; SELECT 2', 'SET timestamp = 1'];
  for (const sql of stay) assert.ok(staysOnReplica(requestOf(sql)), sql);
  for (const sql of [...go, ...more]) assert.ok(!staysOnReplica(requestOf(sql)), sql);
});
