// The shape of a text: what is the same for statements that differ in their values only, and what is not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { shapeOf } from '../../src/sql/index.ts';
import fc from '../seed.ts';

const MYSQL = { flavor: 'mysql' } as const;
const shape = (text: string | Buffer): string | null => shapeOf(text, MYSQL);

test('values, blanks, comments and the case of words do not matter', () => {
  const expected = 'select a . b , ? from `T` where id = ? and c > ?'.toLowerCase();
  for (const text of [
    "SELECT a.b, 'x' FROM `T` WHERE id = 1 AND c > 2.5",
    'select a.b,? from `T`/* why */ where id=? and c>?;',
    'SELECT a.b, "it\'s" -- so\n FROM `T` WHERE id = 0xff AND c > 1e5 ; ',
  ]) {
    assert.equal(shape(text), expected, text);
  }
});

test('lists of values are one value, lists of rows one row', () => {
  assert.equal(shape('SELECT 1 FROM t WHERE a IN (1, 2, 3)'), shape('SELECT 9 FROM t WHERE a IN (?)'));
  assert.equal(shape("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')"), 'insert into t values ( ? )');
  assert.notEqual(shape('INSERT INTO t VALUES (1, NOW()), (2, NOW())'), shape('INSERT INTO t VALUES (1, NOW())'));
});

test('a sign, a word that is a value, and what stands in front of a string belong to the value', () => {
  const texts = ['5', '-5', '+ 5', 'NULL', 'TRUE', "DATE '2020-01-01'", "x'00'", "_utf8mb4'a'", "N'a'", '- ?'];
  for (const value of texts)
    assert.equal(shape(`SELECT a FROM t WHERE n = ${value}`), shape('SELECT a FROM t WHERE n = 5'));
  assert.equal(shape('SELECT 1 FROM t WHERE a IN (-1, 2, NULL)'), shape('SELECT 9 FROM t WHERE a IN (?)'));
  assert.equal(shape('SELECT a - 5 FROM t'), 'select a - ? from t');
  assert.equal(shape('SELECT a FROM t WHERE n IS NOT NULL'), 'select a from t where n is not null');
});

test('names, marks and order do', () => {
  const texts = [
    'SELECT a FROM t',
    'SELECT b FROM t',
    'SELECT a FROM u',
    'SELECT a, b FROM t',
    'SELECT b, a FROM t',
    'SELECT `a` FROM t',
  ];
  assert.equal(new Set(texts.map(shape)).size, texts.length);
});

test('what cannot be read with certainty has none', () => {
  for (const text of ['', ' ; ', "SELECT 'open", 'SELECT /* open', Buffer.from([0x53, 0xa0, 0xff])]) {
    assert.equal(shape(text), null, String(text));
  }
  assert.equal(shapeOf('SELECT 1', { ...MYSQL, multiByteUnsafe: true }), null);
});

test('any text has one or none, and it is the shape of itself', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[a-z(),?;' 0-9=]{0,40}$/)), (text) => {
      const first = shape(text);
      if (first !== null) assert.equal(shape(first), first);
    }),
  );
});
