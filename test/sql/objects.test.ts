// What a statement makes in its server connection or lets go of there, by name, and what of it is not told since not sure.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type ClassifyOptions, type SessionObjects, sessionObjects } from '../../src/sql/index.ts';
import { MARIADB, MYSQL } from './describe.ts';

const ANSI: ClassifyOptions = { flavor: 'mysql', sqlMode: { ansiQuotes: true, noBackslashEscapes: false } };

/** `drop-table a db.b`, `get-lock x`, `xa start`; `null` where nothing is told. */
function told(found: SessionObjects | null): string {
  if (found === null) return 'null';
  if ('names' in found) {
    return [found.kind, ...found.names.map((n) => (n.schema === null ? n.name : `${n.schema}.${n.name}`))].join(' ');
  }
  if (found.kind === 'handler') return `handler ${found.verb} ${found.name}`;
  if ('name' in found) return `${found.kind} ${found.name}`;
  return 'verb' in found ? `${found.kind} ${found.verb}` : found.kind;
}

const BOTH: [string, string][] = [
  ['CREATE TEMPORARY TABLE t (a INT)', 'create-temporary t'],
  ['create /* x */ temporary table if not exists `D b`.`T``1` as select 1', 'create-temporary D b.T`1'],
  ['CREATE OR REPLACE TEMPORARY TABLE d . t LIKE u;', 'create-temporary d.t'],
  ['CREATE TEMPORARY TABLE größe (a INT)', 'create-temporary größe'],
  ['/*!40101 CREATE TEMPORARY TABLE t (a INT) */', 'create-temporary t'],
  ['CREATE TABLE t (a INT)', 'null'],
  ['CREATE TEMPORARY SEQUENCE s', 'null'],
  ['CREATE /*!80000 TEMPORARY */ TABLE t (a INT)', 'null'],
  ['CREATE TEMPORARY TABLE t (a INT); DROP TABLE t', 'null'],
  ['CREATE TEMPORARY TABLE', 'null'],
  ["CREATE TEMPORARY TABLE 't' (a INT)", 'null'],
  ['DROP TABLE a', 'drop-table a'],
  ['DROP TEMPORARY TABLE IF EXISTS a, b.c, `d`.e ; ;', 'drop-table a b.c d.e'],
  ['DROP TABLES a, b CASCADE', 'drop-table a b'],
  ['DROP TABLE a RESTRICT', 'drop-table a'],
  ['DROP TABLE a WAIT 5', 'drop-table a'],
  ['DROP TABLE a -- b\n, c', 'drop-table a c'],
  ['DROP TABLE a b', 'null'],
  ['DROP TABLE a,', 'null'],
  ['DROP TABLE .a', 'null'],
  ['DROP VIEW a', 'null'],
  ['DROP TEMPORARY SEQUENCE a', 'null'],
  ["PREPARE S1 FROM 'SELECT 1'", 'prepare s1'],
  ['PREPARE `My stmt` FROM @q', 'prepare my stmt'],
  ["PREPARE é FROM 'SELECT 1'", 'null'],
  ['PREPARE s', 'null'],
  ['DEALLOCATE PREPARE S1', 'deallocate s1'],
  ['DROP PREPARE `S1`;', 'deallocate s1'],
  ['DEALLOCATE s', 'null'],
  ['HANDLER T OPEN', 'handler open t'],
  ['HANDLER `D b`.t OPEN AS `H 1`;', 'handler open h 1'],
  ['handler t open H', 'handler open h'],
  ['HANDLER h READ `PRIMARY` = (2) WHERE a > 1 LIMIT 5', 'handler read h'],
  ['HANDLER H CLOSE', 'handler close h'],
  ['HANDLER h CLOSE 1', 'null'],
  ['HANDLER h OPEN AS', 'null'],
  ['HANDLER größe OPEN', 'null'],
  ['HANDLER h CLOSE; DO 1', 'null'],
  ['EXECUTE s', 'null'],
  ["SELECT GET_LOCK('a b', 10)", 'get-lock a b'],
  ['do get_lock ( "it\'s" , -1 )', "get-lock it's"],
  ["SELECT GET_LOCK('a', 1.5) AS locked", 'get-lock a'],
  ["SELECT GET_LOCK('a', 1) 'locked'", 'get-lock a'],
  ["SELECT GET_LOCK('a', 1) FROM DUAL", 'get-lock a'],
  ["SELECT RELEASE_LOCK('a')", 'release-lock a'],
  ['DO RELEASE_ALL_LOCKS()', 'release-all-locks'],
  ['SELECT RELEASE_ALL_LOCKS() n', 'release-all-locks'],
  ["SELECT GET_LOCK('a', 1), 2", 'null'],
  ["SELECT GET_LOCK('a', 1) + 1", 'null'],
  ["SELECT GET_LOCK('a', 1) FROM t", 'null'],
  ["SELECT GET_LOCK('a' 'b', 1)", 'null'],
  ["SELECT GET_LOCK('a\\'b', 1)", 'null'],
  ["SELECT GET_LOCK('é', 1)", 'null'],
  ["SELECT GET_LOCK(_utf8'a', 1)", 'null'],
  ['SELECT GET_LOCK(?, ?)', 'null'],
  ["SELECT GET_LOCK('', 1)", 'null'],
  ["SELECT IS_FREE_LOCK('a')", 'null'],
  ["SELECT db.GET_LOCK('a', 1)", 'null'],
  ["SELECT RELEASE_LOCK('a') AS", 'null'],
  ["XA START 'x'", 'xa start'],
  ["xa begin 'x','y',1", 'xa start'],
  ["XA END 'x'", 'xa end'],
  ["XA PREPARE 'x'", 'xa prepare'],
  ["XA COMMIT 'x' ONE PHASE", 'xa commit'],
  ["XA ROLLBACK 'x'", 'xa rollback'],
  ['XA RECOVER', 'xa recover'],
  ['XA', 'null'],
  ['SELECT 1', 'null'],
  ['', 'null'],
  ["DROP TABLE 'a", 'null'],
];

describe('the objects that a statement makes or drops', () => {
  for (const [text, expected] of BOTH) {
    it(`are told as "${expected}": ${text}`, () => {
      assert.equal(told(sessionObjects(text, MYSQL)), expected);
      assert.equal(told(sessionObjects(text, MARIADB)), expected);
    });
  }

  it("know a lock's name in the case that counts for the flavor", () => {
    assert.equal(told(sessionObjects("SELECT GET_LOCK('AbC', 1)", MYSQL)), 'get-lock abc');
    assert.equal(told(sessionObjects("SELECT GET_LOCK('AbC', 1)", MARIADB)), 'get-lock AbC');
  });

  it('are named with ANSI_QUOTES as identifiers, and no lock is', () => {
    assert.equal(told(sessionObjects('DROP TABLE "a ""b"""."c"', ANSI)), 'drop-table a "b".c');
    assert.equal(told(sessionObjects('DROP TABLE "a"', MYSQL)), 'null');
    assert.equal(told(sessionObjects('SELECT GET_LOCK("a", 1)', ANSI)), 'null');
  });

  it('are not told of a text in an unsafe character set, or one of more tokens than are looked at', () => {
    assert.equal(told(sessionObjects('DROP TABLE a', { flavor: 'mysql', multiByteUnsafe: true })), 'null');
    const drop = (count: number): string => `DROP TABLE ${Array.from({ length: count }, (_, i) => `t${i}`).join(',')}`;
    assert.equal(sessionObjects(drop(2000), MYSQL)?.kind, 'drop-table');
    assert.equal(sessionObjects(drop(3000), MYSQL), null);
  });
});
