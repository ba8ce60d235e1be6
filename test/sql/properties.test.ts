// What holds for every text: no throw, an end, linear work, and that blanks and comments between tokens mean nothing.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type ClassifyOptions, classify, literalUserVariableSet } from '../../src/sql/index.ts';
import fc from '../seed.ts';
import { describeText } from './describe.ts';

const options: fc.Arbitrary<ClassifyOptions> = fc.record({
  flavor: fc.constantFrom<'mysql' | 'mariadb'>('mysql', 'mariadb'),
  sqlMode: fc.record({ ansiQuotes: fc.boolean(), noBackslashEscapes: fc.boolean() }),
});

const PIECES = [
  ["'", '"', '`', '\\', '/*', '/*!', '/*!80000', '/*M!', '/*+', '*/', '-- ', '--', '#', '\n', ' ', ';', '(', ')', ','],
  ['@', '@@', '@a', ':=', '=', '.', '1', '1.', '.5', '1e', '0x', '\0', '\xa0', 'é', 'SELECT', 'SET', 'WITH', 'x'],
  ['FOR', 'UPDATE', 'INTO', 'CREATE', 'PROCEDURE', 'BEGIN', 'END', 'IF', 'CASE', 'EXPLAIN', 'STATEMENT', 'KILL'],
  ['LAST_INSERT_ID', 'GET_LOCK', 'AS', 'COMMIT', 'AND', 'CHAIN', 'GLOBAL', 'TRANSACTION', 'ANALYZE', 'FORMAT'],
].flat();
const hostile = fc.array(fc.constantFrom(...PIECES), { maxLength: 40 }).map((pieces) => pieces.join(''));
const spaced = fc.array(fc.constantFrom(...PIECES), { maxLength: 40 }).map((pieces) => pieces.join(' '));

/** Counts how often a byte of the text is read. */
function countReads(bytes: Buffer): { text: Uint8Array; reads: () => number } {
  let reads = 0;
  const text = new Proxy(bytes, {
    get(target, key) {
      if (typeof key === 'string' && /^\d+$/.test(key)) reads++;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? (value as () => unknown).bind(target) : value;
    },
  });
  return { text, reads: () => reads };
}

describe('every text', () => {
  it('is classified without a throw, a guess to run it again only for reads', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 200 }).map((b) => Buffer.from(b)),
          hostile,
          spaced,
        ),
        options,
        (text, how) => {
          const found = classify(text, how);
          if (found.rerunnable) assert.equal(found.kind, 'read');
          if (found.userVariables.length > 0) assert.equal(found.flags.setsUserVariable, true);
          literalUserVariableSet(text, how);
          assert.deepEqual(classify(text, how), found);
        },
      ),
      { numRuns: 3000 },
    );
  });

  it('is classified alike, whatever was classified before it', () => {
    for (const before of ['SELECT x.y (', 'SELECT x.y (1)', 'INSERT INTO x.y (', 'SELECT 1', 'KEY x (']) {
      for (const text of ['.f(1)', '.f(AND', '.`f`(1)', '(1)', '.NEXTVAL']) {
        const how = { flavor: 'mariadb' as const };
        classify('SELECT 1', how);
        const alone = classify(text, how);
        classify(before, how);
        assert.deepEqual(classify(text, how), alone, `${text} after ${before}`);
      }
    }
  });

  it('is read a bounded number of times for each byte', () => {
    const texts = [
      ...PIECES,
      "'' ",
      '/*!80000 1 */',
      '/*!80000 ',
      '/* ',
      '`a` ',
      '@a:=1,',
      '((',
      'é',
      '1.e',
      "@'x'",
      '-- \n',
      '* /',
    ];
    for (const piece of texts) {
      for (const prefix of ['SELECT ', 'SET ', 'CREATE PROCEDURE p() BEGIN ', 'WITH ', '']) {
        const bytes = Buffer.from(prefix + piece.repeat(5000));
        const { text, reads } = countReads(bytes);
        classify(text, { flavor: 'mariadb' });
        assert.ok(reads() <= 12 * bytes.length + 100, `${prefix}${piece}: ${reads()} reads of ${bytes.length} bytes`);
      }
    }
  });

  it('cut short anywhere is classified without a throw', () => {
    const whole =
      "WITH x AS (SELECT @a := 'b\\'c' /*!80000 + 1 */) SELECT f(`d`), @@x.y /* e */ FROM t -- z\n FOR UPDATE; SET @q = 1";
    for (let end = 0; end <= whole.length; end++) classify(whole.slice(0, end), { flavor: 'mysql' });
  });

  it('means the same with blanks and comments between its tokens', () => {
    const blank = fc.constantFrom(
      ' ',
      '\n',
      '\t',
      " /* ; ' FOR UPDATE */ ",
      ' -- " ; \n',
      ' #`\n',
      '/**/ ',
      ' /*!*/ ',
      ' /*! */ ',
      ' /*!80000 */ ',
    );
    for (const tokens of TOKENS) {
      const plain = tokens.join(' ');
      fc.assert(
        fc.property(fc.array(blank, { minLength: tokens.length, maxLength: tokens.length }), options, (blanks, how) => {
          const text = tokens.map((token, at) => (blanks[at] ?? '') + token).join('');
          assert.equal(describeText(text, how), describeText(plain, how), text);
        }),
        { numRuns: 60 },
      );
    }
  });
});

/** Statements, split where the server allows blanks. */
const TOKENS: string[][] = [
  ['SELECT', 'a', ',', 'COUNT(', '*', ')', 'FROM', 't', 'WHERE', 'x', '=', "'y'", 'FOR', 'UPDATE'],
  ['SELECT', 'db', '.', 'f', '(', '1', ')', 'INTO', '@a', ',', '@b'],
  ['SELECT', 'LAST_INSERT_ID', '(', ')', ',', 'ABS', '(', '1', ')', ';'],
  ['SELECT', '@a', ':=', '1', ',', '@@session', '.', 'identity'],
  ['SELECT', '1', 'LOCK', 'IN', 'SHARE', 'MODE'],
  ['WITH', 'x', '(', 'a', ')', 'AS', '(', 'SELECT', '1', ')', 'UPDATE', 't', 'SET', 'a', '=', '1'],
  ['SET', '@a', '=', '1', ',', 'GLOBAL', 'x', '=', '2', ',', '@@session', '.', 'y', '=', '3'],
  ['SET', 'TRANSACTION', 'READ', 'ONLY'],
  ['COMMIT', 'WORK', 'AND', 'CHAIN', 'NO', 'RELEASE'],
  ['START', 'TRANSACTION', 'WITH', 'CONSISTENT', 'SNAPSHOT', ',', 'READ', 'ONLY'],
  ['KILL', 'QUERY', '5'],
  ['CREATE', 'TEMPORARY', 'TABLE', 't', '(', 'a', 'INT', ')'],
  ['EXPLAIN', 'FORMAT', '=', 'JSON', 'DELETE', 'FROM', 't'],
  ['BEGIN', ';', 'SELECT', '1', ';', 'COMMIT'],
  ['GRANT', 'SELECT', 'ON', 't', 'TO', "'a'", '@b'],
];
