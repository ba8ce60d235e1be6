// CONNECTION_ID() becomes the client's id, and nothing else of the answer changes: neither the columns' names nor what a
// number means where it stands. Compared with MySQL 9.7 and MariaDB 10.11 when it was written.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type ClassifyOptions, classify, rewriteConnectionId } from '../../src/sql/index.ts';
import fc from '../seed.ts';
import { MARIADB, MYSQL } from './describe.ts';

const ANSI: ClassifyOptions = { flavor: 'mysql', sqlMode: { ansiQuotes: true, noBackslashEscapes: false } };

function rewritten(text: string, options: ClassifyOptions = MYSQL, id = 77): string | null {
  return rewriteConnectionId(Buffer.from(text), options, id)?.toString() ?? null;
}

const BOTH: [string, string][] = [
  // Alone: the column keeps its name
  ['SELECT CONNECTION_ID()', 'SELECT 77 AS `CONNECTION_ID()`'],
  ['select 1, connection_id ( ) , 3;', 'select 1, 77 AS `connection_id ( )` , 3;'],
  ['SELECT DISTINCT CONNECTION_ID()FROM t', 'SELECT DISTINCT 77  AS `CONNECTION_ID()`FROM t'],
  ['SELECT `connection_id`()', 'SELECT 77 AS ```connection_id``()`'],
  ['SELECT CONNECTION_ID(\n)', 'SELECT 77 AS `CONNECTION_ID(\n)`'],
  ['(SELECT CONNECTION_ID())', '(SELECT 77 AS `CONNECTION_ID()`)'],
  ['SELECT CONNECTION_ID() LIMIT 1', 'SELECT 77 AS `CONNECTION_ID()` LIMIT 1'],
  ['SELECT CONNECTION_ID() INTO @a', 'SELECT 77 AS `CONNECTION_ID()` INTO @a'],
  ['SELECT CONNECTION_ID(); SELECT 1', 'SELECT 77 AS `CONNECTION_ID()`; SELECT 1'],
  ['SELECT * FROM (SELECT CONNECTION_ID()) d', 'SELECT * FROM (SELECT 77 AS `CONNECTION_ID()`) d'],
  ['SELECT CONNECTION_ID() -- x', 'SELECT 77 AS `CONNECTION_ID()` -- x'],
  // In an expression
  ['SELECT CONNECTION_ID()+1', 'SELECT 77+1 AS `CONNECTION_ID()+1`'],
  ['SELECT (SELECT CONNECTION_ID())', 'SELECT (SELECT 77 AS `CONNECTION_ID()`) AS `(SELECT CONNECTION_ID())`'],
  ['SELECT CONNECTION_ID() = `t`.x FROM t', 'SELECT 77 = `t`.x AS `CONNECTION_ID() = ``t``.x` FROM t'],
  ['SELECT CONNECTION_ID() IS NULL', 'SELECT 77 IS NULL AS `CONNECTION_ID() IS NULL`'],
  [
    'SELECT CASE CONNECTION_ID() WHEN 1 THEN 2 END',
    'SELECT CASE 77 WHEN 1 THEN 2 END AS `CASE CONNECTION_ID() WHEN 1 THEN 2 END`',
  ],
  ['SELECT {fn CONNECTION_ID()}', 'SELECT {fn 77} AS `{fn CONNECTION_ID()}`'],
  ['SELECT CONNECTION_ID() + ?', 'SELECT 77 + ? AS `CONNECTION_ID() + ?`'],
  // Named already
  ['SELECT CONNECTION_ID() AS a, CONNECTION_ID() b', 'SELECT 77 AS a, 77 b'],
  ["SELECT CONNECTION_ID()'a', CONNECTION_ID()`b`", "SELECT 77'a', 77`b`"],
  ['SELECT CONNECTION_ID()+1 a, (CONNECTION_ID())"b"', 'SELECT 77+1 a, (77)"b"'],
  // Elsewhere
  ['SELECT a FROM t WHERE id = CONNECTION_ID()', 'SELECT a FROM t WHERE id = 77'],
  ['SELECT a FROM t WHERE id=CONNECTION_ID()AND b', 'SELECT a FROM t WHERE id=77 AND b'],
  ['SELECT a FROM t GROUP BY a HAVING a > CONNECTION_ID()', 'SELECT a FROM t GROUP BY a HAVING a > 77'],
  ['SELECT a FROM t ORDER BY FIELD(CONNECTION_ID(), 1)', 'SELECT a FROM t ORDER BY FIELD(77, 1)'],
  ['INSERT INTO t VALUES (CONNECTION_ID())', 'INSERT INTO t VALUES (77)'],
  ['UPDATE t SET a = CONNECTION_ID() WHERE b', 'UPDATE t SET a = 77 WHERE b'],
  ['SET @a = CONNECTION_ID()', 'SET @a = 77'],
  ['DO CONNECTION_ID()', 'DO 77'],
  ['CALL p(CONNECTION_ID())', 'CALL p(77)'],
  ['KILL QUERY CONNECTION_ID()', 'KILL QUERY 77'],
  // Beside what only looks like it
  [
    "SELECT 'CONNECTION_ID()' AS x, connection_id AS y, db.connection_id() AS z, CONNECTION_ID() AS w /* CONNECTION_ID() */",
    "SELECT 'CONNECTION_ID()' AS x, connection_id AS y, db.connection_id() AS z, 77 AS w /* CONNECTION_ID() */",
  ],
  // In comments that are run
  ['SELECT /*!50000CONNECTION_ID()*/ + 1 AS a', 'SELECT /*!50000 77*/ + 1 AS a'],
  ['SELECT /*!CONNECTION_ID()*/ AS a', 'SELECT /*! 77*/ AS a'],
];

const NOT: string[] = [
  'SELECT 1',
  'SELECT connection_id FROM t',
  "SELECT 'CONNECTION_ID()'",
  'SELECT 1 -- CONNECTION_ID()',
  'SELECT db.CONNECTION_ID()',
  'SELECT @@pseudo_thread_id',
  // A number would be a column's
  'SELECT a, b FROM t ORDER BY CONNECTION_ID()',
  'SELECT a, b FROM t GROUP BY a, (CONNECTION_ID())',
  'SELECT a FROM t LIMIT CONNECTION_ID()',
  // The call's type counts
  'SELECT CONNECTION_ID() UNION SELECT 1',
  // The name cannot be kept for sure
  'SELECT CONNECTION_ID() /* x */ + 1',
  'SELECT CONNECTION_ID() = a b FROM t',
  "SELECT CONNECTION_ID() = 'a' 'b'",
  'SELECT d + INTERVAL CONNECTION_ID() DAY FROM t',
  "SELECT CONCAT(CONNECTION_ID(), 'é')",
  `SELECT CONCAT(CONNECTION_ID(), '${'x'.repeat(60)}')`,
  // What is defined outlives the connection
  'CREATE VIEW v AS SELECT CONNECTION_ID()',
  'CREATE TEMPORARY TABLE t SELECT CONNECTION_ID() AS a',
  'CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.a = CONNECTION_ID()',
  'ALTER TABLE t ADD COLUMN a INT DEFAULT (CONNECTION_ID())',
  // Not sure what it is
  'SELECT CONNECTION_ID() /*!80000 + 1 */',
  'SELECT /*!40000 CONNECTION_ID*/()',
  'SELECT CONNECTION_ID(1)',
  'SELECT CONNECTION_ID(), (1))',
  "SELECT CONNECTION_ID(), 'open",
  'FROBNICATE CONNECTION_ID()',
  'INSERT INTO connection_id() VALUES (); SELECT CONNECTION_ID()',
];

describe('a call of CONNECTION_ID()', () => {
  for (const [text, expected] of BOTH) {
    it(`is replaced: ${text}`, () => {
      assert.equal(rewritten(text, MYSQL), expected);
      assert.equal(rewritten(text, MARIADB), expected);
    });
  }
  for (const text of NOT) {
    it(`is not there or not surely replaceable: ${text}`, () => {
      assert.equal(rewritten(text, MYSQL), null);
      assert.equal(rewritten(text, MARIADB), null);
    });
  }

  it('is replaced as each flavor reads what stands behind it', () => {
    const locks = 'SELECT CONNECTION_ID() FOR UPDATE';
    assert.equal(rewritten(locks, MYSQL), 'SELECT 77 AS `CONNECTION_ID()` FOR UPDATE');
    assert.equal(rewritten(locks, MARIADB), null);
    const returns = 'DELETE FROM t RETURNING CONNECTION_ID()';
    assert.equal(rewritten(returns, MARIADB), 'DELETE FROM t RETURNING 77 AS `CONNECTION_ID()`');
    assert.equal(rewritten('VALUES (CONNECTION_ID())', MARIADB), null);
  });

  it('is found in double quotes where those quote a name', () => {
    assert.equal(rewritten('SELECT "connection_id"() AS a', ANSI), 'SELECT 77 AS a');
    assert.equal(rewritten('SELECT "connection_id"() AS a', MYSQL), null);
  });

  it('is not replaced by what is no id', () => {
    for (const id of [-1, 1.5, Number.NaN, 2 ** 60]) assert.equal(rewritten('SELECT CONNECTION_ID()', MYSQL, id), null);
  });

  it('keeps bytes that are not UTF-8 as they are', () => {
    const text = Buffer.from("SELECT 'gr\xf6\xdfe' AS a, CONNECTION_ID() AS b", 'latin1');
    assert.equal(rewriteConnectionId(text, MYSQL, 5)?.toString('latin1'), "SELECT 'gr\xf6\xdfe' AS a, 5 AS b");
  });
});

const PIECES =
  `SELECT FROM WHERE ORDER BY GROUP LIMIT , ( ) AS a 'b' \`c\` 1 + . = @v ; -- # /* */ /*! DISTINCT CASE END IN VALUES
  UNION INSERT INTO SET UPDATE "d" CONNECTION_ID connection_id RETURNING`.split(/\s+/);

describe('any text', () => {
  const options = fc.constantFrom(MYSQL, MARIADB, ANSI);
  it('without the call is left alone', () => {
    const pieces = PIECES.filter((piece) => !/connection_id/i.test(piece));
    const texts = fc.array(fc.constantFrom(...pieces), { maxLength: 20 }).map((some) => some.join(' '));
    fc.assert(
      fc.property(texts, options, (text, how) => assert.equal(rewritten(text, how), null)),
      { numRuns: 2000 },
    );
  });

  it('with the call is of the same kind after it, without the call, or is left alone', () => {
    const texts = fc
      .array(fc.constantFrom(...PIECES, 'CONNECTION_ID()', 'connection_id ( )'), { maxLength: 12 })
      .map((some) => `SELECT ${some.join(' ')}`);
    fc.assert(
      fc.property(texts, options, (text, how) => {
        const found = rewriteConnectionId(Buffer.from(text), how, 123456);
        if (found === null) return;
        const before = classify(text, how);
        const after = classify(found, how);
        assert.equal(after.kind, before.kind, text);
        assert.equal(after.flags.connectionId, false, text);
        assert.equal(rewriteConnectionId(found, how, 1), null);
      }),
      { numRuns: 5000 },
    );
  });
});
