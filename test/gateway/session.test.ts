// What a session is made of, and the commands that build it up again on another server connection: every kind of
// state, with values that quoting could get wrong; and what a session learns from OK packets and from its own texts.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { learnFromText } from '../../src/gateway/learn.ts';
import { SessionState, TRACKING_SETUP } from '../../src/gateway/session.ts';
import { classify } from '../../src/sql/index.ts';
import { Command, type OkPacket, ServerStatus, type SessionChange } from '../../src/wire/index.ts';

const NONE = Buffer.alloc(0);
const UTF8MB4 = 45;

function ok(status: number, insertId = 0n): OkPacket {
  return { affectedRows: 0n, insertId, status, warnings: 0, info: NONE, infoOffset: 7, sessionState: NONE };
}

function newSession(...changes: SessionChange[]): SessionState {
  const session = new SessionState(UTF8MB4);
  session.learn(ok(ServerStatus.AUTOCOMMIT), changes);
  return session;
}

const variable = (name: string, value: string): SessionChange => ({ kind: 'variable', name, value });

/** As `QUERY text`, without the two that always come first. */
function restored(session: SessionState, afterReset = false, asAtLogin: string[] = []): string[] {
  const names = new Map<number, string>(Object.entries(Command).map(([name, byte]) => [byte, name]));
  return session
    .restoreCommands(afterReset, asAtLogin)
    .map(({ packet }) => `${names.get(packet[4] as number)} ${packet.toString('utf8', 5)}`.trimEnd())
    .filter((command) => command !== `QUERY ${TRACKING_SETUP}`);
}

function run(session: SessionState, sql: string, warnings = 0, unexplainedChange = false): void {
  const text = Buffer.from(sql);
  learnFromText(session, classify(text, { flavor: 'mysql' }), text, { warnings, unexplainedChange });
}

describe('restoring', () => {
  test('a fresh session on a fresh connection needs only what makes the server report', () => {
    const commands = newSession().restoreCommands(false, []);
    assert.deepEqual(
      commands.map(({ packet }) => packet.toString('utf8', 5)),
      [TRACKING_SETUP],
    );
  });

  test('a used connection is reset first, and then speaks the character set of the login again', () => {
    assert.deepEqual(restored(newSession(), true, ['SET character_set_client=latin1']), [
      'RESET_CONNECTION',
      'QUERY SET character_set_client=latin1',
    ]);
    assert.equal(newSession().restoreCommands(true, [])[0]?.packet[4], Command.RESET_CONNECTION);
  });

  test('the order is: schema, variables, autocommit last, then the one-shot isolation level', () => {
    const session = newSession({ kind: 'schema', schema: 'shop' }, variable('time_zone', '+02:00'));
    session.learn(ok(0), []);
    session.userVariables.set('a', "'x'");
    session.lastInsertId = 42n;
    session.multiStatements = 1;
    run(session, 'SET TRANSACTION ISOLATION LEVEL SERIALIZABLE');
    assert.deepEqual(restored(session), [
      'SET_OPTION \u0001\u0000'.trimEnd(),
      'INIT_DB shop',
      "QUERY SET SESSION `time_zone`='+02:00', @`a`='x', SESSION last_insert_id=42, SESSION autocommit=0",
      'QUERY SET TRANSACTION ISOLATION LEVEL SERIALIZABLE',
    ]);
  });

  const VALUES: [name: string, value: string, sql: string][] = [
    ['sort_buffer_size', '262144', '262144'],
    ['long_query_time', '10.000000', '10.000000'],
    ['timestamp', '-1', '-1'],
    ['sql_mode', '', "''"],
    ['sql_mode', 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES', "'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'"],
    ['time_zone', 'Europe/Berlin', "'Europe/Berlin'"],
    ['foreign_key_checks', 'OFF', "'OFF'"],
    ['transaction_isolation', 'READ-COMMITTED', "'READ-COMMITTED'"],
    ['character_set_results', '', 'NULL'],
    ['init', "it's", `CONVERT(0x${Buffer.from("it's").toString('hex')} USING utf8mb4)`],
    ['init', 'C:\\dir', `CONVERT(0x${Buffer.from('C:\\dir').toString('hex')} USING utf8mb4)`],
    ['init', 'größe €', `CONVERT(0x${Buffer.from('größe €').toString('hex')} USING utf8mb4)`],
    ['init', "'; DROP TABLE t; --", `CONVERT(0x${Buffer.from("'; DROP TABLE t; --").toString('hex')} USING utf8mb4)`],
    ['init', '0x41', "'0x41'"],
    ['init', '1e5', "'1e5'"],
    ['init', '1.', "'1.'"],
  ];
  for (const [name, value, sql] of VALUES) {
    test(`${name} = ${JSON.stringify(value)} goes back as ${sql}`, () => {
      assert.deepEqual(restored(newSession(variable(name, value))), [`QUERY SET SESSION \`${name}\`=${sql}`]);
    });
  }

  test('a name cannot break out of its quotes', () => {
    assert.deepEqual(restored(newSession(variable('a`b', '1'))), ['QUERY SET SESSION `a``b`=1']);
  });
});

describe('learning from OK packets', () => {
  test('status, autocommit, schema, the last insert id', () => {
    const session = newSession({ kind: 'schema', schema: 'shop' });
    assert.equal(session.schema, 'shop');
    session.learn(ok(ServerStatus.IN_TRANS, 9n), [{ kind: 'schema', schema: '' }]);
    assert.ok(session.inTransaction && !session.autocommit && session.schema === null);
    session.learn(ok(ServerStatus.AUTOCOMMIT, 0n), []);
    assert.equal(session.lastInsertId, 9n);
  });

  test('what belongs to a statement, to the server or to ourselves is no state', () => {
    const names = ['statement_id', 'last_gtid', 'gtid_next', 'pseudo_thread_id', 'session_track_schema', 'autocommit'];
    assert.deepEqual(restored(newSession(...names.map((name) => variable(name, '1')))), []);
  });

  test('the last value counts', () => {
    assert.deepEqual(restored(newSession(variable('sql_mode', 'A'), variable('sql_mode', 'B'))), [
      "QUERY SET SESSION `sql_mode`='B'",
    ]);
  });
});

describe('a session may move', () => {
  test('not in a transaction, with something pinned, or while the last statement may still be asked about', () => {
    assert.ok(newSession().movable);
    const inTransaction = newSession();
    inTransaction.learn(ok(ServerStatus.AUTOCOMMIT | ServerStatus.IN_TRANS), []);
    assert.ok(!inTransaction.movable);
    inTransaction.transactionEnded();
    assert.ok(inTransaction.movable && inTransaction.autocommit);
    const warned = newSession();
    run(warned, 'SELECT 1/0', 1);
    assert.ok(!warned.movable);
  });

  const PINNING: [sql: string, pin: string, unexplained?: boolean][] = [
    ['CREATE TEMPORARY TABLE t (a INT)', 'temporary-table'],
    ["SELECT GET_LOCK('a', 1)", 'named-lock'],
    ['LOCK TABLES t READ', 'table-lock'],
    ["XA START 'x'", 'xa'],
    ["PREPARE s FROM 'SELECT 1'", 'sql-prepare'],
    ['SELECT @a := 1', 'user-variable'],
    ['SELECT 1 INTO @a', 'user-variable'],
    ['SET @a = @b', 'user-variable'],
    ['SELECT LAST_INSERT_ID(5)', 'last-insert-id'],
    ['FROBNICATE', 'unknown-effect'],
    ['CALL p()', 'unknown-effect', true],
    ['SELECT f()', 'unknown-effect', true],
  ];
  for (const [sql, pin, unexplained] of PINNING) {
    test(`not after ${sql}: ${pin}`, () => {
      const session = newSession();
      run(session, sql, 0, unexplained ?? false);
      assert.deepEqual([...session.pins], [pin]);
      assert.ok(!session.movable);
    });
  }

  test('again after UNLOCK TABLES, and after CALL of what left nothing behind', () => {
    const session = newSession();
    run(session, 'LOCK TABLES t READ');
    run(session, 'UNLOCK TABLES');
    run(session, 'CALL p()');
    assert.ok(session.movable);
  });
});

describe('user variables', () => {
  test('literals travel as they were written', () => {
    const session = newSession();
    run(session, "SET @a = 1, @B = 'it''s', @c = NULL, @d = -2.5, @e = x'00ff'");
    run(session, 'SET @a = "two"'); // an identifier under ANSI_QUOTES
    assert.ok(session.movable);
    assert.deepEqual(restored(session), ["QUERY SET @`a`='two', @`b`='it''s', @`c`=NULL, @`d`=-2.5, @`e`=x'00ff'"]);
  });

  test('a literal whose meaning depends on sql_mode or the character set pins, as it may be read otherwise', () => {
    for (const sql of ["SET @a = 'a\\\\b'", "SET @a = 'größe'", `SET @a = "it's"`]) {
      const session = newSession();
      run(session, "SET @a = 'old'");
      run(session, sql);
      assert.deepEqual([...session.pins], ['user-variable'], sql);
      assert.deepEqual(restored(session), [], 'the old value is not restored');
    }
  });
});

test('the one-shot isolation level counts until the next statement that is none of SET, USE and comment', () => {
  const session = newSession();
  run(session, 'SET TRANSACTION READ ONLY');
  run(session, 'SET @a = 1');
  run(session, 'USE shop');
  assert.ok(session.oneShot);
  run(session, 'SELECT 1');
  assert.equal(session.oneShot, null);
});

test('a reset forgets all but the schema and the login', () => {
  const session = newSession({ kind: 'schema', schema: 'shop' }, variable('sql_mode', 'ANSI'));
  run(session, 'SET @a = 1');
  run(session, 'CREATE TEMPORARY TABLE t (a INT)');
  session.addStatement(NONE, NONE, 0, 0);
  session.learn(ok(ServerStatus.IN_TRANS, 7n), []);
  session.reset();
  assert.ok(session.movable && session.autocommit);
  assert.deepEqual(restored(session), ['INIT_DB shop']);
  assert.equal(session.statements.size, 0);
});

test('statement ids are never given twice while one is open', () => {
  const session = newSession();
  const first = session.addStatement(NONE, NONE, 0, 0);
  const second = session.addStatement(NONE, NONE, 0, 0);
  session.statements.delete(first.id);
  const third = session.addStatement(NONE, NONE, 0, 0);
  assert.equal(new Set([first.id, second.id, third.id]).size, 3);
});
