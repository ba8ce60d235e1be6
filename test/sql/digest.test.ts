// The digest of a statement's shape: the same for other literals, blanks and cases of letters, another for other words.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type ClassifyOptions, classify, lastDigest } from '../../src/sql/index.ts';
import fc from '../seed.ts';
import { MARIADB, MYSQL } from './describe.ts';

function digest(text: string, options: ClassifyOptions = MYSQL): number {
  classify(text, options);
  return lastDigest();
}

const SAME: [string, string][] = [
  ['SELECT c FROM t WHERE id = 1', 'select C from T where ID=98765'],
  ["SELECT * FROM t WHERE a = 'x' AND b = 1.5e3", "SELECT * FROM t WHERE a = 'it''s' AND b = 0x41"],
  ['SELECT * FROM t WHERE a = ?', "SELECT * FROM t WHERE a = 'text'"],
  ["INSERT INTO t VALUES (1, 'a')", 'INSERT INTO t VALUES (.5, "b\\"c")'],
  ['SELECT 1 -- one', '/* two */ SELECT /* three */ 2 # four'],
  [`SELECT 0x${'ab'.repeat(50)}`, `SELECT 0x${'cd'.repeat(60)}`],
  ['SELECT `a`', 'SELECT `A`'],
];
const DIFFERENT: [string, string][] = [
  ['SELECT a FROM t', 'SELECT b FROM t'],
  ['SELECT a FROM t1', 'SELECT a FROM t2'],
  ['SELECT `a` FROM t', 'SELECT `b` FROM t'],
  ['SELECT a, b FROM t', 'SELECT b, a FROM t'],
  ['SELECT @a', 'SELECT @b'],
  ['SELECT @@a', 'SELECT @a'],
  ['SELECT 1 + 1', 'SELECT 1 - 1'],
  ['SELECT 1 IN (1, 2)', 'SELECT 1 IN (1, 2, 3)'],
  ['SELECT a < 1', 'SELECT a > 1'],
  ['SELECT größe FROM t', 'SELECT breite FROM t'],
  ['', 'SELECT'],
];

describe("a statement's digest", () => {
  for (const [one, other] of SAME) {
    it(`is the same for ${one} and ${other}`, () => assert.equal(digest(one), digest(other)));
  }
  for (const [one, other] of DIFFERENT) {
    it(`differs between ${one} and ${other}`, () => assert.notEqual(digest(one), digest(other)));
  }

  it('is an unsigned number of 32 bits that does not depend on what was classified before', () => {
    const before = digest('SELECT a FROM t WHERE id = 5');
    assert.ok(Number.isInteger(before) && before >= 0 && before < 2 ** 32);
    digest("SELECT 'unfinished");
    assert.equal(digest('SELECT a FROM t WHERE id = 6', MARIADB), before);
  });

  it('is 0 for a text that was not read', () => {
    assert.equal(digest('SELECT 1', { flavor: 'mysql', multiByteUnsafe: true }), 0);
    assert.notEqual(digest('SELECT 1'), 0);
  });

  it('ignores every literal, and no word', () => {
    const literal = fc.oneof(
      fc.nat().map(String),
      fc.double({ noNaN: true, noDefaultInfinity: true, min: 0 }).map(String),
      fc.stringMatching(/^[a-z ;()@#-]*$/).map((text) => `'${text}'`),
      fc.stringMatching(/^[0-9a-f]{1,80}$/).map((digits) => `0x${digits}`),
    );
    const literals = fc.array(literal, { minLength: 1, maxLength: 8 });
    const word = fc.stringMatching(/^[a-z][a-z0-9_]{0,10}$/);
    const shape = (name: string, values: string[]): string => `SELECT x FROM y WHERE ${name} IN (${values.join(', ')})`;
    fc.assert(
      fc.property(word, word, literals, literals, (name, other, some, others) => {
        const length = Math.min(some.length, others.length);
        const values = some.slice(0, length);
        assert.equal(digest(shape(name, values)), digest(shape(name, others.slice(0, length))));
        if (name !== other) assert.notEqual(digest(shape(name, values)), digest(shape(other, values)));
      }),
      { numRuns: 2000 },
    );
  });

  it('is spread over all texts: none of 40,000 names share the lower 24 bits more often than by chance', () => {
    const seen = new Set<number>();
    for (let at = 0; at < 40_000; at++) seen.add(digest(`SELECT c FROM sbtest${at} WHERE id = 1`) & 0xffffff);
    // By chance 40,000²/2/2²⁴ ≈ 48 pairs fall together.
    assert.ok(seen.size > 40_000 - 150, `${40_000 - seen.size} fell together`);
  });
});
