// The pure parts of what keeps writes in flight: what is decided after a loss, what is kept of a transaction, and which
// numbers it gets. A model of servers and clients plays schedules with crashes at any point by a seed, and checks that
// whatever the client was told is true of the server that remains.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readRequest, type ServerRequest } from '../../src/gateway/command.ts';
import { type Interrupted, type Told, whenLost, whenTold } from '../../src/gateway/in-flight/course.ts';
import { beginsReadOnly, mayWrite, opens } from '../../src/gateway/in-flight/opens.ts';
import {
  type AnswerMark,
  chanceFor,
  Recording,
  RecordingBudget,
  sameAnswer,
} from '../../src/gateway/in-flight/recording.ts';
import { claim, commitWithLedger, Witnesses } from '../../src/gateway/in-flight/witness.ts';
import { AT_LOGIN } from '../../src/gateway/link-state.ts';
import { SessionState } from '../../src/gateway/session.ts';
import { asPacket, Command, commandPacket, ServerStatus } from '../../src/wire/index.ts';
import fc, { seed } from '../seed.ts';

const MARK: AnswerMark = { digest: 1, affectedRows: 1n, insertId: 0n, errno: 0 };

function request(sql: string, session = new SessionState(45)): ServerRequest {
  const read = readRequest(asPacket(commandPacket(Command.QUERY, sql)), session, 'mysql', 0);

  if (read.kind !== 'server') throw new Error(read.kind);
  return read;
}

describe('what opens a transaction that can be kept', () => {
  const how = (sql: string, prepare: (session: SessionState) => void = () => {}): string | null => {
    const session = new SessionState(45);
    prepare(session);
    return opens(request(sql, session), session);
  };
  const off = (session: SessionState): void => {
    session.state = { ...session.state, autocommit: false };
  };

  test('an autocommit write gets one of its own', () => {
    assert.equal(how('INSERT INTO t VALUES (1)'), 'own');
    assert.equal(how('REPLACE INTO t VALUES (1)'), 'own');
  });

  test('what is no single write that a rollback undoes gets none', () => {
    for (const sql of [
      'SELECT 1',
      'CREATE TABLE t (n INT)',
      'CREATE TEMPORARY TABLE t (n INT)',
      'CALL p()',
      'INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)',
      "LOAD DATA LOCAL INFILE 'f' INTO TABLE t",
      'INSERT INTO t VALUES (1) RETURNING n',
      "INSERT INTO t VALUES (GET_LOCK('a', 1))",
    ]) {
      assert.equal(how(sql), null, sql);
    }
  });

  test('behind BEGIN, by START TRANSACTION, and with autocommit off a read opens one, too', () => {
    assert.equal(
      how('SELECT n FROM t', (session) => (session.begun = true)),
      'begun',
    );
    assert.equal(how('START TRANSACTION WITH CONSISTENT SNAPSHOT'), 'begin');
    assert.equal(how('SELECT n FROM t', off), 'implicit');
    assert.equal(how('SELECT 1', off), null);
    assert.equal(
      how('CALL p()', (session) => (session.begun = true)),
      null,
    );
  });

  test('a session whose writes are not what they seem is left alone', () => {
    for (const pin of ['table-lock', 'xa', 'unmovable-variable'] as const) {
      assert.equal(
        how('INSERT INTO t VALUES (1)', (session) => session.pin(pin)),
        null,
        pin,
      );
    }
    const under = (name: string, value: string) =>
      how('INSERT INTO t VALUES (1)', (session) => session.setVariable(name, value));
    assert.equal(under('completion_type', 'CHAIN'), null);
    assert.equal(under('group_replication_consistency', 'BEFORE'), null);
    assert.equal(under('group_replication_consistency', 'BEFORE_AND_AFTER'), null);
    assert.equal(under('group_replication_consistency', 'BEFORE_ON_PRIMARY_FAILOVER'), 'own');
    assert.equal(
      how('INSERT INTO t VALUES (1)', (session) => (session.status |= ServerStatus.IN_TRANS)),
      null,
    );
  });

  test('what would not begin, or end, as the server alone would do it is left to the server', () => {
    const shot = (text: string) => (session: SessionState) => (session.oneShot = text);
    const readOnly = (session: SessionState) => session.setVariable('transaction_read_only', 'ON');
    const halfBegun = (session: SessionState): void => {
      off(session);
      session.halfBegun = true;
    };
    assert.equal(how('INSERT INTO t VALUES (1)', shot('SET TRANSACTION READ ONLY')), null);
    assert.equal(how('START TRANSACTION', shot('SET TRANSACTION READ ONLY')), 'begin');
    assert.equal(how('START TRANSACTION READ WRITE', shot('SET TRANSACTION READ ONLY')), null);
    assert.equal(how('START TRANSACTION READ WRITE', readOnly), null);
    assert.equal(how('START TRANSACTION READ WRITE'), 'begin');
    assert.equal(how('INSERT INTO t VALUES (1)', halfBegun), null);
  });

  test('a transaction is read-only by its own words, by those of SET TRANSACTION, or as all of its session are', () => {
    const is = (sql: string, oneShot: string | null, all: boolean): boolean => {
      const session = new SessionState(45);
      session.oneShot = oneShot;
      if (all) session.setVariable('tx_read_only', '1');
      return beginsReadOnly(request(sql, session), session);
    };
    assert.equal(is('START TRANSACTION READ ONLY', null, false), true);
    assert.equal(is('START TRANSACTION', 'SET TRANSACTION READ ONLY', false), true);
    assert.equal(is('START TRANSACTION', 'SET TRANSACTION READ WRITE', true), false);
    assert.equal(is('START TRANSACTION', 'SET TRANSACTION ISOLATION LEVEL SERIALIZABLE', true), true);
    assert.equal(is('START TRANSACTION', null, false), false);
  });

  test('a stored function may write, wherever it is called', () => {
    assert.equal(mayWrite(request('SELECT f(n) FROM t')), true);
    assert.equal(mayWrite(request('SELECT n FROM t FOR UPDATE')), false);
  });
});

describe('a recording', () => {
  const begin = { start: AT_LOGIN, oneShot: null, begun: true };
  const limits = { maxStatements: 3, maxBytes: 100_000 };
  const add = (recording: Recording, sql: string): void => {
    const packet = asPacket(commandPacket(Command.QUERY, sql));
    recording.add(
      packet,
      request(sql),
      null,
      { sentAtMs: 0, chance: null, insertId: null, rowCount: 0n, foundRows: 0 },
      MARK,
    );
  };

  test('that grew too long has a fault, and its memory is free', () => {
    const budget = new RecordingBudget(1_000_000);
    const recording = new Recording(begin, limits, budget);
    for (let n = 0; n < 3; n++) add(recording, `UPDATE t SET n = ${n}`);
    assert.equal(recording.fault, null);
    assert.ok(budget.bytes > 0);
    add(recording, 'UPDATE t SET n = 3');
    assert.equal(recording.fault, 'replay.maxStatements');
    assert.equal(recording.statements.length, 0);
    assert.equal(budget.bytes, 0);
    const large = new Recording(begin, limits, budget);
    add(large, `UPDATE t SET a = '${'x'.repeat(100_000)}'`);
    assert.equal(large.fault, 'replay.maxBytes');
  });

  test('shares the memory of its worker', () => {
    const budget = new RecordingBudget(600);
    const first = new Recording(begin, limits, budget);
    const second = new Recording(begin, limits, budget);
    add(first, 'UPDATE t SET n = 1');
    add(first, 'UPDATE t SET n = 2');
    add(second, 'UPDATE t SET n = 3');
    assert.equal(second.fault, 'the memory that all transactions of this worker may take');
    first.forget();
    assert.equal(budget.bytes, 0);
  });

  test('with a statement that cannot be done twice has a fault', () => {
    for (const sql of [
      'CALL p()',
      'SELECT GET_LOCK("a", 1)',
      'SELECT 1; SELECT 2',
      'CREATE TEMPORARY TABLE t (n INT)',
    ]) {
      const recording = new Recording(begin, limits, new RecordingBudget(1_000_000));
      add(recording, 'UPDATE t SET n = 1');
      add(recording, sql);
      assert.equal(recording.fault, 'a statement that cannot be repeated', sql);
    }
  });

  test('keeps what RAND() began with, of a statement that asks for it', () => {
    const below = (max: number): number => max - 1;
    assert.match(chanceFor(Buffer.from('SELECT RAND()'), below) ?? '', /^SET rand_seed1=\d+, rand_seed2=\d+$/);
    for (const text of ['rand()', 'SELECT 1 + Rand ( 3)', 'SELECT (1) < RAND\n()']) {
      assert.ok(chanceFor(Buffer.from(text), below) !== null, text);
    }
    for (const text of ['SELECT n FROM t', '(', '()', 'AND(', ' AND (1)', 'SELECT rand, (1)', '']) {
      assert.equal(chanceFor(Buffer.from(text), below), null, text);
    }
    assert.equal(chanceFor(null, below), null);
  });

  test('an answer is the same only if all of it is', () => {
    assert.ok(sameAnswer(MARK, { ...MARK }));
    for (const other of [{ digest: 2 }, { affectedRows: 2n }, { insertId: 1n }, { errno: 1062 }]) {
      assert.ok(!sameAnswer(MARK, { ...MARK, ...other }), JSON.stringify(Object.keys(other)));
    }
  });
});

describe('witnesses', () => {
  test('a number that was not used is used again, one that was used or is in doubt never', () => {
    const witnesses = new Witnesses();
    const [first, second] = [witnesses.take('mysql'), witnesses.take('mysql')];
    witnesses.giveBack(first, 'unused');
    assert.deepEqual(witnesses.take('mysql'), first);
    witnesses.giveBack(second, 'used');
    const third = witnesses.take('mysql');
    assert.equal(third.number, 3);
    assert.match(
      third.kind === 'gtid' ? third.gtid : '',
      /^e7e14ee1-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}:3$/,
    );
  });

  test('two workers never choose the same', () => {
    const uuidOf = (): string => {
      const witness = new Witnesses().take('mysql');
      return witness.kind === 'gtid' ? witness.gtid : '';
    };
    assert.notEqual(uuidOf(), uuidOf());
  });

  test("a ledger's row has one user at a time, and a higher number each time", () => {
    const witnesses = new Witnesses();
    const first = witnesses.take('mariadb');
    const second = witnesses.take('mariadb');
    assert.ok(first.kind === 'ledger' && second.kind === 'ledger');
    assert.notEqual(first.row.id, second.row.id);
    witnesses.giveBack(first, 'used');
    const again = witnesses.take('mariadb');
    assert.ok(again.kind === 'ledger' && again.row === first.row && again.number > first.number);
  });

  test('a row that is not known to be on a node is made there', () => {
    const witness = new Witnesses().take('mariadb');
    assert.ok(witness.kind === 'ledger');
    assert.equal(claim(witness, 'a:1').length, 2);
    witness.row.node = 'a:1';
    assert.equal(claim(witness, 'a:1').length, 1);
    assert.match(commitWithLedger(witness, { node: 'b:1' }), /INSERT IGNORE.*UPDATE.*COMMIT/);
  });
});

// ---- the model ----------------------------------------------------------------------------------------------------

/** What the client did, and where its server died on the way. */
interface Schedule {
  own: boolean;
  writes: number;
  commits: boolean;
  /** After how many of its packets the server died, and whether it had executed the last one. */
  diesAfter: number;
  executedLast: boolean;
  /** It lives on: the connection alone broke. */
  sameServer: boolean;
  replayable: boolean;
  /** What it reads is not what it was any more. */
  differs: boolean;
  canTell: boolean;
}

const schedules: fc.Arbitrary<Schedule> = fc.record({
  own: fc.boolean(),
  writes: fc.integer({ min: 0, max: 3 }),
  commits: fc.boolean(),
  diesAfter: fc.integer({ min: 0, max: 5 }),
  executedLast: fc.boolean(),
  sameServer: fc.boolean(),
  replayable: fc.boolean(),
  differs: fc.boolean(),
  canTell: fc.boolean(),
});

interface End {
  /** `open`: the transaction goes on. */
  told: 'ok' | 'transaction-lost' | 'outcome-unknown' | 'answer-lost' | 'open';
  /** How often the transaction's effect is there. */
  applied: number;
}

/** Plays it with the decisions under test; `replay` and `commit` are what the guard does with them. */
function play(schedule: Schedule): End {
  const own = schedule.own;
  const writes = own ? 1 : schedule.writes;
  const packets = writes + (own || schedule.commits ? 1 : 0);
  let applied = 0;
  const dies = Math.min(schedule.diesAfter, packets);
  const committing = dies === packets && (own || schedule.commits);
  if (committing && schedule.executedLast) applied++;
  const was: Interrupted = {
    sent: committing ? 'commit' : own ? 'own-write' : 'statement',
    own,
    wrote: writes > 0,
    shown: false,
    replayable: own || schedule.replayable,
  };
  const perform = (next: ReturnType<typeof whenLost>): End => {
    switch (next.do) {
      case 'ask': {
        const told: Told = !schedule.canTell ? 'untold' : applied > 0 ? 'executed' : 'not-executed';
        return perform(whenTold(was, told, true));
      }
      case 'answer':
        return { told: 'ok', applied };
      case 'run-again':
        return { told: 'ok', applied: applied + 1 };
      case 'replay':
        if (schedule.differs) return { told: 'transaction-lost', applied };
        return committing ? { told: 'ok', applied: applied + 1 } : { told: 'open', applied };
      case 'fail':
        return { told: next.verdict, applied };
    }
  };
  return perform(whenLost(was));
}

test('whatever the client is told is true, and nothing is there twice', () => {
  fc.assert(
    fc.property(schedules, (schedule) => {
      const { told, applied } = play(schedule);
      const empty = !schedule.own && schedule.writes === 0;
      assert.ok(applied <= 1, 'applied twice');
      if (told === 'ok') assert.ok(applied === 1 || empty, 'called executed, and is not there');
      if (told === 'transaction-lost' && !empty) assert.equal(applied, 0, 'called lost, and is there');
      if (told === 'open') assert.equal(applied, 0, 'goes on, and was committed');
      if (told === 'outcome-unknown') assert.ok(!schedule.canTell, 'unknown, though it could be told');
    }),
    { numRuns: 20_000, seed },
  );
});

test('where a rollback may have left something, the outcome is unknown rather than run again', () => {
  for (const sent of ['own-write', 'commit', 'statement'] as const) {
    const was: Interrupted = { sent, own: sent === 'own-write', wrote: true, shown: false, replayable: true };
    assert.deepEqual(whenTold(was, 'not-executed', false), { do: 'fail', verdict: 'outcome-unknown' }, sent);
  }
});

test('a transaction whose client saw part of an answer is not run again', () => {
  const was: Interrupted = { sent: 'statement', own: false, wrote: false, shown: true, replayable: true };
  assert.deepEqual(whenLost(was), { do: 'fail', verdict: 'transaction-lost' });
});
