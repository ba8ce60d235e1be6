// SET NAMES and SET ROLE in the forms in which a session's state can keep them.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type ClassifyOptions, classify, setNames, setRole } from '../../src/sql/index.ts';
import { MARIADB, MYSQL } from './describe.ts';

const ANSI: ClassifyOptions = { flavor: 'mysql', sqlMode: { ansiQuotes: true, noBackslashEscapes: false } };

const NAMES: [string, string | null][] = [
  ['SET NAMES utf8mb4', 'utf8mb4 null'],
  ["set names 'UTF8MB4'", 'utf8mb4 null'],
  ['SET NAMES `latin1` COLLATE `Latin1_Bin`;', 'latin1 latin1_bin'],
  ["SET NAMES utf8mb4/**/COLLATE 'utf8mb4_bin' -- x", 'utf8mb4 utf8mb4_bin'],
  ['SET NAMES utf8mb4 COLLATE DEFAULT', 'utf8mb4 null'],
  ['SET NAMES DEFAULT', 'default null'],
  ['SET NAMES binary', 'binary null'],
  ['/*!40101 SET NAMES utf8 */;', 'utf8 null'],
  ['SET NAMES utf8, @a = f(1, 2)', 'utf8 null'],
  ["SET @a = CONCAT('NAMES', x), sql_mode = '', NAMES utf8 COLLATE utf8_bin, time_zone = '+00:00'", 'utf8 utf8_bin'],
  ['SET NAMES latin1, NAMES utf8', 'utf8 null'],
  ['SET NAMES utf8, collation_connection = utf8_bin', null],
  ["SET @@session.character_set_connection = 'latin1', NAMES utf8", null],
  ['SET CHARACTER SET utf8', null],
  ['SET CHARSET utf8', null],
  ['SET STATEMENT sort_buffer_size = 1 FOR SET NAMES utf8', null],
  ['SET NAMES', null],
  ['SET NAMES = utf8', null],
  ['SET NAMES utf8 COLLATE', null],
  ['SET NAMES utf8 COLLATE utf8_bin x', null],
  ['SET NAMES utf8,', null],
  ['SET NAMES utf8; SELECT 1', null],
  ['/*!80000 SET NAMES utf8 */', null],
  ["SET @a = 'NAMES utf8 COLLATE utf8_bin'", null],
  ['SELECT 1', null],
];

const ROLES: [string, string | null][] = [
  ['SET ROLE reader', 'SET ROLE `reader`'],
  ["set role 'reader' ;", 'SET ROLE `reader`'],
  ['SET ROLE `a``b`', 'SET ROLE `a``b`'],
  ['SET /* x */ ROLE none', 'SET ROLE NONE'],
  ['SET ROLE default', 'SET ROLE DEFAULT'],
  ['SET ROLE ALL', 'SET ROLE ALL'],
  ["SET ROLE ALL EXCEPT a, 'b'@'%'", 'SET ROLE ALL EXCEPT `a`, `b`@`%`'],
  ["SET ROLE a@localhost, 'b'@`h`", 'SET ROLE `a`@`localhost`, `b`@`h`'],
  ['SET ROLE `none`', 'SET ROLE `none`'],
  ['SET ROLE', null],
  ['SET ROLE a,', null],
  ['SET ROLE a b', null],
  ['SET ROLE NONE, a', null],
  ['SET ROLE ALL EXCEPT', null],
  ['SET ROLE é', null],
  ["SET ROLE 'a\\'b'", null],
  ['SET ROLE a; SET ROLE b', null],
  ['SET ROLE /*!80000 a */', null],
  ['SET DEFAULT ROLE a TO b', null],
  ['SELECT 1', null],
];

function names(text: string, options: ClassifyOptions): string | null {
  const found = setNames(text, options);
  return found === null ? null : `${found.charset} ${found.collation}`;
}

describe('setNames', () => {
  for (const [text, expected] of NAMES) {
    it(`tells ${expected ?? 'nothing'} of ${text}`, () => {
      assert.equal(names(text, MYSQL), expected);
      assert.equal(names(text, MARIADB), expected);
      if (expected !== null) assert.equal(classify(text, MYSQL).flags.setsNames, true);
    });
  }
  it('reads double quotes as the session does', () => {
    assert.equal(names('SET NAMES "utf8" COLLATE "utf8_bin"', ANSI), 'utf8 utf8_bin');
    assert.equal(names('SET NAMES "utf8" COLLATE "utf8_bin"', MYSQL), 'utf8 utf8_bin');
  });
});

describe('setRole', () => {
  for (const [text, expected] of ROLES) {
    it(`makes ${expected ?? 'nothing'} of ${text}`, () => {
      assert.equal(setRole(text, MYSQL), expected);
      if (expected === null) return;
      assert.equal(classify(text, MYSQL).flags.setsRole, true);
      assert.equal(setRole(expected, ANSI), expected);
    });
  }
  it('reads double quotes as the session does', () => {
    assert.equal(setRole('SET ROLE "a"', MYSQL), 'SET ROLE `a`');
    assert.equal(setRole('SET ROLE "a"', ANSI), 'SET ROLE `a`');
  });
});
