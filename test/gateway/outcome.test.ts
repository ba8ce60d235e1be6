// What becomes of a statement whose server was lost: the table at the top of src/gateway/outcome.ts row by row, over
// every kind of statement there is, and the two rules that must hold for anything that may ever be added to it.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type LostStatement, type Outcome, outcomeOfLoss } from '../../src/gateway/outcome.ts';
import { type Classification, classify, type StatementFlags, type StatementKind } from '../../src/sql/index.ts';
import fc, { seed } from '../seed.ts';

/** One text for each kind; the compiler sees to it that none is missing. */
const TEXTS: Record<StatementKind, string> = {
  read: 'SELECT a FROM t',
  'locking-read': 'SELECT a FROM t FOR UPDATE',
  write: 'UPDATE t SET a = 1',
  begin: 'BEGIN',
  commit: 'COMMIT',
  rollback: 'ROLLBACK',
  savepoint: 'SAVEPOINT s',
  set: 'SET SESSION sort_buffer_size = 1000000',
  use: 'USE shop',
  kill: 'KILL QUERY 5',
  call: 'CALL p()',
  prepare: "PREPARE s FROM 'SELECT 1'",
  lock: 'LOCK TABLES t READ',
  unlock: 'UNLOCK TABLES',
  xa: "XA START 'x'",
  admin: 'SET GLOBAL max_connections = 100',
  multi: 'SELECT 1; DELETE FROM t',
  empty: '/* nothing */',
  unknown: 'FROBNICATE THE TABLE',
};
const KINDS = Object.keys(TEXTS) as StatementKind[];

function sqlOf(text: string): Classification {
  return classify(text, { flavor: 'mysql' });
}

function outcome(text: string, lost: Partial<Omit<LostStatement, 'sql'>> = {}): string {
  const calm = { inTransaction: false, autocommit: true, shown: false, fileUnfinished: false };
  return word(outcomeOfLoss({ sql: sqlOf(text), ...calm, ...lost }));
}

function word(result: Outcome): string {
  return result.kind === 'error' ? result.code : result.kind;
}

test('the sample texts are of the kinds that they stand for', () => {
  for (const kind of KINDS) assert.equal(sqlOf(TEXTS[kind]).kind, kind);
});

describe('in a transaction', () => {
  const EXPECTED: Record<StatementKind, string> = {
    read: 'transaction-lost',
    'locking-read': 'transaction-lost',
    write: 'transaction-lost',
    savepoint: 'transaction-lost',
    use: 'transaction-lost',
    kill: 'transaction-lost',
    empty: 'transaction-lost',
    rollback: 'rolled-back',
    begin: 'outcome-unknown', // commits the one before
    commit: 'outcome-unknown',
    set: 'outcome-unknown', // may be SET autocommit=1
    call: 'outcome-unknown',
    prepare: 'outcome-unknown',
    lock: 'outcome-unknown',
    unlock: 'outcome-unknown',
    xa: 'outcome-unknown',
    admin: 'outcome-unknown',
    multi: 'outcome-unknown',
    unknown: 'outcome-unknown',
  };
  for (const kind of KINDS) {
    test(`${kind}: ${EXPECTED[kind]}, with autocommit on or off, something shown or not`, () => {
      for (const autocommit of [true, false]) {
        for (const shown of [true, false]) {
          assert.equal(outcome(TEXTS[kind], { inTransaction: true, autocommit, shown }), EXPECTED[kind]);
        }
      }
    });
  }

  test('DDL, which commits by the way, is unknown; ROLLBACK AND CHAIN is no plain rollback', () => {
    assert.equal(outcome('CREATE TABLE u (a INT)', { inTransaction: true }), 'outcome-unknown');
    assert.equal(outcome('ROLLBACK AND CHAIN', { inTransaction: true }), 'transaction-lost');
    assert.equal(outcome('ROLLBACK TO SAVEPOINT s', { inTransaction: true }), 'transaction-lost');
    assert.equal(outcome('COMMIT AND CHAIN', { inTransaction: true }), 'outcome-unknown');
  });
});

describe('outside of a transaction', () => {
  const AGAIN: StatementKind[] = [
    'read',
    'locking-read',
    'begin',
    'commit',
    'rollback',
    'savepoint',
    'set',
    'use',
    'empty',
    'lock',
    'unlock',
  ];
  for (const kind of KINDS) {
    const harmless = AGAIN.includes(kind);
    test(`${kind}: ${harmless ? 'again, or cut off where something was shown' : 'unknown with autocommit'}`, () => {
      assert.equal(outcome(TEXTS[kind]), harmless ? 'again' : 'outcome-unknown');
      assert.equal(outcome(TEXTS[kind], { shown: true }), harmless ? 'answer-cut' : 'outcome-unknown');
      const off = harmless ? 'again' : kind === 'write' ? 'transaction-lost' : 'outcome-unknown';
      const offShown = harmless ? 'answer-cut' : kind === 'write' ? 'transaction-lost' : 'outcome-unknown';
      assert.equal(outcome(TEXTS[kind], { autocommit: false }), off);
      assert.equal(outcome(TEXTS[kind], { autocommit: false, shown: true }), offShown);
    });
  }

  test('reads with an effect, or one that cannot be excluded, are not run again', () => {
    for (const text of ['SELECT my_function(a) FROM t', 'SELECT @a := 1']) {
      assert.equal(outcome(text), 'outcome-unknown', text);
      assert.equal(outcome(text, { autocommit: false }), 'outcome-unknown', text);
    }
  });

  test('a file that a server writes is not written twice unasked', () => {
    assert.equal(outcome("SELECT a INTO OUTFILE '/x' FROM t"), 'outcome-unknown');
  });

  test('DDL is unknown with autocommit off, too', () => {
    assert.equal(outcome('DROP TABLE t', { autocommit: false }), 'outcome-unknown');
  });

  test('SET of a global variable, and of a user variable, is not run again', () => {
    assert.equal(outcome('SET PERSIST max_connections = 10'), 'outcome-unknown');
    assert.equal(outcome('SET @a = @a + 1'), 'outcome-unknown');
  });
});

test('a file that the server did not have whole was not loaded', () => {
  const load = "LOAD DATA LOCAL INFILE 'x' INTO TABLE t";
  for (const shown of [true, false]) {
    assert.equal(outcome(load, { shown, fileUnfinished: true }), 'file-cut');
    assert.equal(outcome(load, { shown, fileUnfinished: true, inTransaction: true }), 'transaction-lost');
    assert.equal(outcome(load, { shown, fileUnfinished: false }), 'outcome-unknown');
  }
});

// ---- rules --------------------------------------------------------------------------------------------------------------

const NO_FLAGS = sqlOf('').flags;
const FLAGS = Object.keys(NO_FLAGS) as (keyof StatementFlags)[];
const flags: fc.Arbitrary<StatementFlags> = fc
  .subarray(FLAGS)
  .map((set) => ({ ...NO_FLAGS, ...Object.fromEntries(set.map((name) => [name, true])) }));
const lostStatement: fc.Arbitrary<LostStatement> = fc.record({
  sql: fc.record({
    kind: fc.constantFrom(...KINDS),
    rerunnable: fc.boolean(),
    flags,
    userVariables: fc.constant([]),
  }),
  inTransaction: fc.boolean(),
  autocommit: fc.boolean(),
  shown: fc.boolean(),
  fileUnfinished: fc.boolean(),
});
const MAY_LAST = new Set<StatementKind>(['kill', 'call', 'prepare', 'xa', 'admin', 'multi', 'unknown']);

test('nothing runs again in a transaction, once something was shown, or if it may have had a lasting effect', () => {
  fc.assert(
    fc.property(lostStatement, (lost) => {
      if (outcomeOfLoss(lost).kind !== 'again') return;
      const { kind, rerunnable, flags: set } = lost.sql;
      assert.ok(!lost.shown && !lost.inTransaction && !lost.fileUnfinished);
      assert.ok(!MAY_LAST.has(kind), kind);
      if (kind === 'read') assert.ok(rerunnable);
      else assert.ok(!set.unknownFunction);
      assert.notEqual(kind, 'write');
      if (kind !== 'read') assert.ok(!set.globalScope && !set.setsUserVariable);
    }),
    { seed, numRuns: 20_000 },
  );
});

test('nothing is called undone that may have been committed', () => {
  const undone = new Set(['transaction-lost', 'rolled-back', 'answer-cut', 'file-cut']);
  fc.assert(
    fc.property(lostStatement, (lost) => {
      if (!undone.has(word(outcomeOfLoss(lost))) || lost.fileUnfinished) return;
      const { kind, flags: set } = lost.sql;
      if (lost.inTransaction) {
        assert.ok(
          !['commit', 'begin', 'call', 'multi', 'admin', 'lock', 'unlock', 'set', 'unknown', 'xa'].includes(kind),
        );
        if (kind !== 'rollback') assert.ok(!set.implicitCommit);
      } else {
        assert.ok(!MAY_LAST.has(kind));
        if (kind === 'write') assert.ok(!lost.autocommit && !set.implicitCommit && !set.unknownFunction);
      }
    }),
    { seed, numRuns: 20_000 },
  );
});
