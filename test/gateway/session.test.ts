// What teaches a session what it has become: OK packets with what servers report, and the text where no server tells.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readRequest, type ServerRequest } from '../../src/gateway/command.ts';
import { learnFromFailure, learnFromText } from '../../src/gateway/learn.ts';
import { AT_LOGIN, hiddenAs } from '../../src/gateway/link-state.ts';
import type { ServerConnection } from '../../src/gateway/server-connection.ts';
import { literalOf, type Pin, SessionState } from '../../src/gateway/session.ts';
import { asPacket, type OkPacket, queryPacket, ServerStatus, type SessionChange } from '../../src/wire/index.ts';
import fc, { seed } from '../seed.ts';

const NOTHING = Buffer.alloc(0);

function ok(status: number = ServerStatus.AUTOCOMMIT): OkPacket {
  const rest = { warnings: 0, info: NOTHING, infoOffset: 7, sessionState: NOTHING };
  return { affectedRows: 0n, insertId: 0n, status, ...rest };
}

// ---- what servers report ----------------------------------------------------------------------------------------------

const CARRIED = ['sql_mode', 'time_zone', 'character_set_client', 'character_set_connection', 'collation_connection'];
const IGNORED = ['statement_id', 'last_gtid', 'autocommit', 'session_track_schema', 'character_set_database'];
const BOUND = ['insert_id', 'gtid_next', 'rand_seed1'];

test('a session has of what is reported the last, but for what is none of its own or cannot travel', () => {
  const variable = (names: string[]): fc.Arbitrary<SessionChange> =>
    fc.record(
      { kind: fc.constant('variable' as const), name: fc.constantFrom(...names), value: fc.constantFrom('A', 'B', '') },
      { noNullPrototype: true },
    );
  const change: fc.Arbitrary<SessionChange> = fc.oneof(
    { weight: 5, arbitrary: variable(CARRIED) },
    variable(IGNORED),
    variable(BOUND),
    fc.constantFrom('one', 'two', '').map((schema) => ({ kind: 'schema' as const, schema })),
    fc.constantFrom<SessionChange>({ kind: 'state' }, { kind: 'gtid', gtid: 'x:1' }),
  );
  const packet = fc.tuple(fc.array(change, { maxLength: 4 }), fc.nat(3));
  fc.assert(
    fc.property(fc.array(packet, { maxLength: 8 }), (packets) => {
      const session = new SessionState(45);
      const variables = new Map<string, string>();
      let schema: string | null = null;
      let bound = false;
      for (const [changes, status] of packets) {
        session.learn(ok(status), changes);
        // A character set brings its default collation, unless another is told with it.
        const names = changes.map((each) => (each.kind === 'variable' ? each.name : each.kind));
        if (names.includes('character_set_connection')) variables.delete('collation_connection');
        for (const each of changes) {
          if (each.kind === 'schema') schema = each.schema || null;
          if (each.kind !== 'variable') continue;
          if (CARRIED.includes(each.name)) variables.set(each.name, each.value);
          bound ||= BOUND.includes(each.name);
        }
        assert.deepEqual(new Map(session.state.variables), variables);
        assert.equal(session.state.schema, schema);
        assert.equal(session.autocommit, (status & ServerStatus.AUTOCOMMIT) !== 0);
        assert.equal(session.inTransaction, (status & ServerStatus.IN_TRANS) !== 0);
        assert.equal(session.pins.has('unmovable-variable'), bound);
      }
      session.reset();
      assert.deepEqual(session.state.variables, AT_LOGIN.variables);
      assert.equal(session.state.schema, schema); // a reset leaves it
      assert.equal(session.hold, null);
    }),
    { seed, numRuns: 1000 },
  );
});

test('a pin ends with the last of its names, or with all of them', () => {
  const pins: Pin[] = ['temporary-table', 'named-lock', 'handler'];
  const step = fc.record({
    pin: fc.constantFrom(...pins),
    name: fc.constantFrom('a', 'b', 'c', null),
    sets: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
      const session = new SessionState(45);
      const model = new Map<Pin, Set<string>>();
      for (const { pin, name, sets } of steps) {
        const names = model.get(pin) ?? new Set();
        if (sets) model.set(pin, names.add(name ?? '*'));
        else if (name === null) model.delete(pin);
        else if (names.delete(name) && names.size === 0) model.delete(pin);
        if (sets) session.pin(pin, name ?? undefined);
        else session.unpin(pin, name ?? undefined);
        assert.deepEqual(new Set(session.pins), new Set(model.keys()));
        for (const each of pins) assert.deepEqual(new Set(session.namesOf(each)), model.get(each) ?? new Set());
        assert.equal(session.hold === null, model.size === 0);
      }
    }),
    { seed, numRuns: 1000 },
  );
});

test('names beyond what is remembered leave a pin that no name ends', () => {
  const session = new SessionState(45);
  for (let n = 0; n < 1000; n++) session.pin('named-lock', `lock ${n}`);
  assert.ok(session.namesOf('named-lock').size <= 61);
  for (let n = 0; n < 1000; n++) session.unpin('named-lock', `lock ${n}`);
  assert.equal(session.hold, 'named-lock');
  session.unpin('named-lock');
  assert.equal(session.hold, null);
});

test('user variables are carried up to a size together, and NULL is as never set', () => {
  const session = new SessionState(45);
  session.touchUserVariables(['a', 'b']);
  assert.equal(session.hold, 'reading-back');
  session.setUserVariables([
    ['a', '1'],
    ['b', null],
  ]);
  assert.deepEqual([...session.state.userVariables], [['a', '1']]);
  assert.equal(session.hold, null);
  session.setUserVariables([['a', null]]);
  assert.equal(session.state, AT_LOGIN);
  session.setUserVariables([['a', `X'${'61'.repeat(40_000)}'`]]);
  assert.equal(session.hold, 'user-variable');
  assert.equal(session.state, AT_LOGIN);
});

test('what was read back is SQL that means the same everywhere; what is too long is none', () => {
  const bigint = { type: 8, flags: 0 };
  const unsigned = { type: 8, flags: 32 };
  const decimal = { type: 246, flags: 0 };
  const double = { type: 5, flags: 0 };
  const string = { type: 250, flags: 0 };
  const rows: [column: typeof bigint, values: (string | null)[], literal: string | null | undefined][] = [
    [bigint, ['-7', 'x', 'y', 'z'], '-7'],
    [unsigned, ['18446744073709551615'], 'CAST(18446744073709551615 AS UNSIGNED)'],
    [decimal, ['1.50'], '1.50'],
    [decimal, ['15'], 'CAST(15 AS DECIMAL(65))'],
    [double, ['1.5'], '1.5e0'],
    [double, ['1e300'], '1e300'],
    [string, ['a', '61', 'latin1', 'latin1_bin'], "_latin1 X'61' COLLATE latin1_bin"],
    [string, ['a', '61', 'binary', 'binary'], "X'61'"],
    [string, ['', '', 'utf8mb4', 'utf8mb4_bin'], "_utf8mb4 X'' COLLATE utf8mb4_bin"],
    [string, ['long', null, 'latin1', 'latin1_bin'], undefined],
    [string, [null, null, 'binary', 'binary'], null],
    [bigint, [null], 'CAST(NULL AS SIGNED)'],
    [unsigned, [null], 'CAST(NULL AS UNSIGNED)'],
    [decimal, [null], 'CAST(NULL AS DECIMAL(65))'],
  ];
  for (const [column, values, literal] of rows) assert.equal(literalOf(column, values), literal, values.join());
});

test('ids of statements are handed out once, and found again after others are closed', () => {
  const session = new SessionState(45);
  const logical = {} as Parameters<SessionState['addStatement']>[0];
  const [a, b] = [session.addStatement(logical), session.addStatement(logical)];
  assert.notEqual(a.id, b.id);
  session.closeStatement(a.id);
  assert.deepEqual([...session.statements.keys()], [b.id]);
  assert.equal(session.lastPrepared, b);
  session.closeStatement(b.id);
  assert.equal(session.lastPrepared, null);
  assert.notEqual(session.addStatement(logical).id, b.id);
});

// ---- what only the text tells -----------------------------------------------------------------------------------------

const LINK = { insertIdOf: null, insertIdVersion: 0, insertIdValue: 0n } as unknown as ServerConnection;

interface Said {
  /** Warnings. */
  warnings?: number;
  /** The server says that something changed. */
  changed?: boolean;
  explained?: boolean;
  status?: number;
  /** Variables of the session among it. */
  set?: boolean;
  /** It was in another schema meanwhile. */
  elsewhere?: boolean;
  fails?: boolean;
  errno?: number;
}

/** The statements were executed, one after the other. */
function after(...statements: (string | [string, Said])[]): SessionState {
  const session = new SessionState(45);
  for (const each of statements) {
    const [sql, said] = typeof each === 'string' ? [each, {}] : each;
    const { warnings = 0, changed = false, explained = false, set = false, elsewhere = false } = said;
    const { status, fails = false, errno = 1146 } = said;
    const request = requestOf(sql, session);
    if (fails) {
      learnFromFailure(session, request, false, errno);
      continue;
    }
    session.learn(ok(status), []);
    learnFromText(session, request, { warnings, shared: false, link: LINK, changed, explained, set, elsewhere });
  }
  return session;
}

function requestOf(sql: string, session: SessionState): ServerRequest {
  const request = readRequest(asPacket(queryPacket(sql, 0)), session, 'mysql', 0);
  assert.ok(request.kind === 'server');
  return request;
}

describe('after', () => {
  const OFF = 0;
  const IN_TRANS = ServerStatus.AUTOCOMMIT | ServerStatus.IN_TRANS;
  const rows: [hold: SessionState['hold'], ...statements: (string | [string, Said])[]][] = [
    [null, 'SELECT 1'],
    ['diagnostics', ['SELECT 1/0', { warnings: 1 }]],
    ['diagnostics', ['INSERT INTO nowhere VALUES (1)', { fails: true }]],
    ['transaction', ['BEGIN', { status: IN_TRANS }]],
    [null, ['BEGIN', { status: IN_TRANS }], 'COMMIT'],
    ['temporary-table', 'CREATE TEMPORARY TABLE t (a INT)'],
    [null, 'CREATE TEMPORARY TABLE t (a INT)', 'DROP TABLE t'],
    ['temporary-table', 'CREATE TEMPORARY TABLE t (a INT)', 'DROP TABLE other'],
    ['temporary-table', 'CREATE TEMPORARY TABLE t (a INT)', 'ALTER TABLE t RENAME TO u', 'DROP TABLE t'],
    ['table-lock', 'LOCK TABLES t READ'],
    [null, 'LOCK TABLES t READ', 'UNLOCK TABLES'],
    ['named-lock', "SELECT GET_LOCK('a', 1)"],
    ['named-lock', ["SELECT GET_LOCK('a', 1)", { fails: true }]],
    ['sql-prepare', "PREPARE s FROM 'SELECT 1'"],
    [null, "PREPARE s FROM 'SELECT 1'", 'DEALLOCATE PREPARE s'],
    ['sql-prepare', "PREPARE s FROM 'SELECT 1'", "PREPARE r FROM 'SELECT 1'", 'DEALLOCATE PREPARE s'],
    ['handler', 'HANDLER t OPEN'],
    [null, 'HANDLER t OPEN', 'HANDLER t CLOSE'],
    ['xa', "XA START 'x'"],
    [null, "XA START 'x'", "XA END 'x'", "XA PREPARE 'x'", "XA COMMIT 'x'"],
    ['counts', 'SELECT SQL_CALC_FOUND_ROWS * FROM t LIMIT 1'],
    ['one-shot-transaction', 'SET TRANSACTION READ ONLY'],
    ['one-shot-transaction', 'SET TRANSACTION READ ONLY', 'SELECT 1'],
    [null, 'SET TRANSACTION READ ONLY', 'INSERT INTO t VALUES (1)'],
    ['session-tracking', 'SET SESSION session_track_schema=OFF'],
    ['unknown-effect', ['SELECT f(1)', { changed: true }]],
    [null, ['SELECT f(1)', { changed: false }]],
    ['unknown-effect', ['CALL p()', { changed: true, explained: true }]],
    ['unknown-effect', ['SET ROLE r, s; SET ROLE ?', { fails: true }]],
    // A trigger's doing; of a variable of the session the server says what it is.
    ['unknown-effect', ['INSERT INTO t VALUES (1)', { changed: true, explained: true }]],
    [null, ['INSERT INTO t VALUES (1)', { changed: true, explained: true, set: true }]],
    // A view of another schema: MariaDB tells a change whether or not there is one.
    [null, ['SELECT n FROM away.v', { changed: true, explained: true, elsewhere: true }]],
    ['unknown-effect', ['INSERT INTO away.t VALUES (1)', { changed: true, explained: true, elsewhere: true }]],
    ['unknown-effect', ['ODD 1', { fails: true }]],
    ['unknown-effect', ["BEGIN NOT ATOMIC EXECUTE IMMEDIATE 'SELEC'; END", { fails: true, errno: 1064 }]],
    ['diagnostics', ['SELEC 1', { fails: true, errno: 1064 }]],
    ['reading-back', "SELECT IS_FREE_LOCK('a')"],
    ['reading-back', 'SELECT 1 INTO @a'],
    ['reading-back', "SET @a='x'"],
    [null, 'SET @a=1'],
    ['transaction', ['SAVEPOINT s', { status: OFF }]],
    [null, ['SAVEPOINT s', { status: OFF }], ['ROLLBACK', { status: OFF }]],
    [null, 'SAVEPOINT s'],
  ];
  for (const [hold, ...statements] of rows) {
    const text = statements.map((each) =>
      typeof each === 'string' ? each : `${each[0]} (${JSON.stringify(each[1])})`,
    );
    test(`${text.join('; ')}: ${hold === null ? 'the session may move' : `it stays, for ${hold}`}`, () => {
      assert.equal(after(...statements).hold, hold);
    });
  }

  test('SET of literals they are known; of anything else the server is asked', () => {
    const session = after('SET @a=1, @b=-2.5, @c=NULL', "SET @d='text'", 'SELECT 1 INTO @a');
    assert.deepEqual(
      [...session.state.userVariables].sort(([a], [b]) => a.localeCompare(b)),
      [
        ['a', '1'],
        ['b', '-2.5'],
      ],
    );
    assert.deepEqual(new Set(session.dirtyVariables), new Set(['a', 'd']));
  });

  const hidden: [seen: boolean, ...statements: (string | [string, Said])[]][] = [
    [true, 'SELECT 1'],
    [true, 'DO 0'],
    [true, "PREPARE s FROM 'SELECT 1'", 'DEALLOCATE PREPARE s'],
    [false, 'CALL p()'],
    [false, 'SELECT 1', ['CALL p()', { fails: true }]],
    [false, 'SELECT f(1)'],
    [false, 'INSERT INTO t VALUES (f(1))'],
    [false, "PREPARE s FROM 'SELECT 1'", 'EXECUTE s', 'DEALLOCATE PREPARE s'],
    [false, 'SELECT 1; CALL p()'],
    [false, ['INSERT INTO t VALUES (1)', { changed: true, set: true }]],
  ];
  for (const [seen, ...statements] of hidden) {
    test(`${statements
      .flat()
      .filter((part) => typeof part === 'string')
      .join('; ')}: ${seen ? 'nothing is' : 'something may be'} left that no server tells`, () => {
      const { state } = after(...statements);
      assert.equal(hiddenAs(state, AT_LOGIN) === state, seen);
    });
  }

  test('SET NAMES with a collation it is known, without one it is the default', () => {
    const collation = (sql: string): string | undefined => after(sql).state.variables.get('collation_connection');
    assert.equal(collation('SET NAMES latin1 COLLATE latin1_bin'), 'latin1_bin');
    assert.equal(collation('SET NAMES latin1'), undefined);
  });

  test('SET ROLE the text is kept, and the default is none', () => {
    assert.equal(after('SET ROLE r').state.role, 'SET ROLE `r`');
    assert.equal(after('SET ROLE r', 'SET ROLE DEFAULT').state.role, null);
  });

  test('SET timestamp=DEFAULT the time is the server’s again, whatever it reports', () => {
    const session = new SessionState(45);
    session.setVariable('timestamp', '5');
    const request = requestOf('SET timestamp=DEFAULT', session);
    learnFromText(session, request, {
      warnings: 0,
      shared: false,
      link: LINK,
      elsewhere: false,
      changed: true,
      explained: true,
      set: true,
    });
    assert.equal(session.state.variables.has('timestamp'), false);
  });
});
