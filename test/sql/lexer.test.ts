// Strings, comments and bytes that try to hide one statement in another.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type ClassifyOptions, classify, literalUserVariableSet, touchesSessionTracking } from '../../src/sql/index.ts';
import { describeText, MARIADB, MYSQL } from './describe.ts';

const NBE: ClassifyOptions = { flavor: 'mysql', sqlMode: { ansiQuotes: false, noBackslashEscapes: true } };
const ANSI: ClassifyOptions = { flavor: 'mysql', sqlMode: { ansiQuotes: true, noBackslashEscapes: false } };

const LOCKS = 'locking-read';
const READS = 'read again';

/** The same in both flavors. */
const TEXTS: [string, string][] = [
  // Strings
  ["SELECT 'a'' FOR UPDATE'", READS],
  ["SELECT 'a\\' FOR UPDATE'", READS],
  ["SELECT 'a\\\\' FOR UPDATE", LOCKS],
  ["SELECT 'a' ' FOR UPDATE'", READS],
  ['SELECT "a"" FOR UPDATE"', READS],
  ['SELECT "\'" FOR UPDATE -- \'', LOCKS],
  ['SELECT `a`` FOR UPDATE`', READS],
  ['SELECT `a\\` FOR UPDATE', LOCKS],
  ["SELECT N'x', _utf8mb4'x', x'41', X'41', b'01', 0x41, 0b01", READS],
  ["SELECT '/*' FOR UPDATE /* ' */", LOCKS],
  ["SELECT '-- ' FOR UPDATE", LOCKS],
  ["SELECT '; DROP TABLE t'", READS],
  ["SELECT 'é\u{1F600}' FROM `été`", READS],
  ['SELECT größe FROM t', READS],
  // Not finished
  ["SELECT 'a", 'unknown'],
  ["SELECT 'a\\'", 'unknown'],
  ['SELECT `a', 'unknown'],
  ['SELECT /* a', 'unknown'],
  ['SELECT /*! a', 'unknown'],
  ['SELECT 1 /*/', 'unknown'],
  ['SELECT @', 'unknown'],
  ['SELECT @@', 'unknown'],
  ["SELECT @'a", 'unknown'],
  // Comments
  ['/* a */ SELECT /* ; FOR UPDATE */ 1', READS],
  ['SELECT 1 -- FOR UPDATE', READS],
  ['SELECT 1 --\tFOR UPDATE', READS],
  ['SELECT 1 --', READS],
  ['SELECT 1 --1 FOR UPDATE', LOCKS],
  ['SELECT 1--\n FOR UPDATE', LOCKS],
  ['SELECT 1 -- x\rFOR UPDATE', READS],
  ['SELECT 1 # FOR UPDATE', READS],
  ['SELECT 1 # x\n FOR UPDATE', LOCKS],
  ['SELECT 1 /* /* */ FOR UPDATE', LOCKS],
  ['SELECT 1 /* " */ FOR UPDATE -- "', LOCKS],
  ['SELECT/**/1/**/FOR/**/UPDATE', LOCKS],
  ['SELECT 1 /**/ /***/ /* * / */', READS],
  ["SELECT /*+ QB_NAME('*/') */ 1", 'unknown'],
  ['-- x\nSELECT 1', READS],
  ['#\nSELECT 1', READS],
  // Executable comments
  ['SELECT 1 /*! FOR UPDATE */', LOCKS],
  ['/*! SELECT 1 FOR UPDATE */', LOCKS],
  ['SELECT 1 /*!50000 FOR UPDATE */', LOCKS],
  ['SELECT 1 /*!40101FOR UPDATE*/', LOCKS],
  ['SELECT 1 /*!80000 FOR UPDATE */', 'unknown'],
  ['SELECT 1 /*!80000 */', READS],
  ['SELECT 1 /*!999999 */', READS],
  ['/*!80000 SELECT 1 */', 'unknown'],
  ['/*!80000 INSERT INTO t VALUES (1) */', 'unknown'],
  ['INSERT INTO t VALUES (1) /*!80000 , (2) */', 'write'],
  ['INSERT INTO t VALUES (1) /*!80000 ; SET @a = 1 */', 'unknown'],
  ['CREATE /*!80000 TEMPORARY */ TABLE t (a INT)', 'unknown temporaryTable'],
  ['COMMIT /*!80000 AND CHAIN */', 'unknown chain'],
  ["SELECT 1 /*!80000 + '*/ FOR UPDATE -- ' */", 'unknown'],
  ['SELECT 1 /*!80000 -- */ FOR UPDATE', 'unknown'],
  ['SELECT 1 /*!80000 /* x */ */', 'unknown'],
  ['SELECT 1 /*! /* x */ FOR UPDATE */', LOCKS],
  ['SELECT 1 /*! /*! FOR UPDATE */ */', 'unknown'],
  ['SELECT 1 /*! ; SELECT 2 */', 'unknown'],
  ['/*!40101 SET NAMES utf8 */;', 'set setsNames'],
  ['/*!40101 SET @OLD=@@CHARACTER_SET_CLIENT */;', 'set setsUserVariable usesUserVariable @old'],
  // Bytes
  ['SELECT 1\u0000 FOR UPDATE', 'unknown'],
  ['SELECT 1 -- \u0000 FOR UPDATE', 'unknown'],
  ["SELECT '\u0000' FOR UPDATE", LOCKS],
  ['SELECT 1\u00a0FOR\u00a0UPDATE', 'unknown'],
  ['SELECT $$ FOR UPDATE $$', 'unknown'],
  ['\tSELECT\r\n1\u000bFOR\u000cUPDATE', LOCKS],
  ['SELECT \\N FOR UPDATE', LOCKS],
  ['SELECT 1e5FROM t', READS],
  ['SELECT 1e5FOR UPDATE', LOCKS],
  ['SELECT 1e+5FOR UPDATE', LOCKS],
  ['SELECT 0x41 FOR UPDATE', LOCKS],
  ['SELECT t.1a FROM t FOR UPDATE', LOCKS],
  ['SELECT@a:=1', 'read setsUserVariable usesUserVariable @a'],
  ['SELECT @a.b$c', 'read again usesUserVariable'],
  ['SELECT @"a""b":=1', 'read setsUserVariable usesUserVariable @a"b'],
  ["SELECT @'a\\'b':=1", 'unknown setsUserVariable usesUserVariable'],
  ['sElEcT 1 fOr UpDaTe', LOCKS],
];

describe('a text that hides something', () => {
  for (const [text, expected] of TEXTS) {
    it(`is read as the server reads it: ${JSON.stringify(text)}`, () => {
      assert.equal(describeText(text, MYSQL), expected);
      if (!text.includes('$$')) assert.equal(describeText(text, MARIADB), expected);
    });
  }

  it('is read with the sql_mode of the session', () => {
    assert.equal(describeText("SELECT 'a\\' FOR UPDATE", NBE), LOCKS);
    assert.equal(describeText("SELECT 'a\\' FOR UPDATE -- '", MYSQL), READS);
    assert.equal(describeText('SELECT "f"(1)', ANSI), 'read unknownFunction');
    assert.equal(describeText('SELECT "a\\" FOR UPDATE', ANSI), LOCKS);
    assert.equal(describeText('SELECT "a\\" FOR UPDATE"', MYSQL), READS);
  });

  it('is unknown where an earlier statement of the same text may have changed how it is read', () => {
    assert.equal(describeText("SET sql_mode = 'NO_BACKSLASH_ESCAPES'; SELECT 'a\\'; SET @a = 1"), 'unknown');
    assert.equal(describeText('CALL p(); SELECT "x"'), 'unknown');
    assert.equal(describeText("SET sql_mode = 'NO_BACKSLASH_ESCAPES'; SELECT 'a'"), 'multi');
    assert.equal(describeText("SELECT 'a\\'b'; SELECT 1"), 'multi');
  });

  it('is unknown in bytes that no UTF-8 name has, which may be blanks in a single-byte character set', () => {
    assert.equal(describeText(Buffer.from('SELECT 1\xa0FOR\xa0UPDATE', 'latin1')), 'unknown');
    assert.equal(describeText(Buffer.from('SELECT gr\xf6\xdfe FROM t', 'latin1')), 'unknown');
    assert.equal(describeText(Buffer.from("SELECT 'gr\xf6\xdfe' FROM t", 'latin1')), READS);
  });

  it('is executable for MariaDB alone where the comment starts with M!', () => {
    assert.equal(describeText('SELECT 1 /*M!100100 FOR UPDATE */', MARIADB), LOCKS);
    assert.equal(describeText('SELECT 1 /*M!110000 FOR UPDATE */', MARIADB), 'unknown');
    assert.equal(describeText('SELECT 1 /*M!100100 FOR UPDATE */', MYSQL), READS);
    assert.equal(describeText('SELECT 1 /*!100100 FOR UPDATE */', MARIADB), LOCKS);
    assert.equal(describeText('SELECT 1 /*!100100 FOR UPDATE */', MYSQL), 'unknown');
  });

  it('with more user variables than are followed is unknown', () => {
    const many = (count: number): string => `SET ${Array.from({ length: count }, (_, i) => `@v${i}=1`).join(', ')}`;
    assert.equal(classify(many(256), MYSQL).kind, 'set');
    assert.equal(classify(many(256), MYSQL).userVariables.length, 256);
    assert.equal(classify(many(257), MYSQL).kind, 'unknown');
  });
});

describe('literalUserVariableSet', () => {
  it('returns names and the text of plain literals', () => {
    assert.deepEqual(
      literalUserVariableSet("SET @a = 1, @`B c` := 'x''y', @d=-1.5e3, @e=x'00', @f=_utf8mb4'é', @g=NULL;"),
      [
        { name: 'a', valueSql: '1' },
        { name: 'b c', valueSql: "'x''y'" },
        { name: 'd', valueSql: '-1.5e3' },
        { name: 'e', valueSql: "x'00'" },
        { name: 'f', valueSql: "_utf8mb4'é'" },
        { name: 'g', valueSql: 'NULL' },
      ],
    );
  });

  const others = [
    'SET @a = NOW()',
    'SET @a = 1 + 1',
    "SET @a = 'x' COLLATE utf8mb4_bin",
    "SET @a = 'x' 'y'",
    'SET @a = @b',
    'SET @a = 1, sql_mode = 1',
    'SET @a = 1; SELECT 1',
    'SET @a = 1 /*!80000 + 1 */',
    "SET @a = 'x",
    'SET @a = b',
    'SET @a = - - 1',
    'SET @a = (1)',
    'SET @a =',
    'SET @a = 1,',
    'SELECT @a := 1',
    'SET @a = "x"',
  ];
  for (const text of others) {
    it(`returns null for what it cannot be sure of: ${text}`, () => {
      const options: ClassifyOptions = text.includes('"') ? ANSI : MYSQL;
      assert.equal(literalUserVariableSet(text, options), null);
    });
  }
});

describe('touchesSessionTracking', () => {
  it('knows a session_track variable however it is named', () => {
    for (const name of [
      'session_track_gtids',
      '@@session_track_schema',
      '@@session.`session_track_x`',
      'LOCAL SESSION_TRACK_X',
    ]) {
      assert.equal(touchesSessionTracking(`SET a = 1, ${name} = 1`), true, name);
    }
    assert.equal(touchesSessionTracking("SET a = 'session_track_gtids'"), false);
    assert.equal(touchesSessionTracking('SELECT @@session_track_gtids'), false);
  });
});
