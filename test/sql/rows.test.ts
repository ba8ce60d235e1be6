// Which INSERT brings one row along, and no more.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { insertsOneRow } from '../../src/sql/index.ts';
import { MARIADB, MYSQL } from './describe.ts';

const ONE = [
  'INSERT INTO t VALUES (1)',
  "insert t (a, `b`) value (?, 'x), (y')",
  "/* why */ INSERT LOW_PRIORITY INTO `d`.`t` (a) VALUES ((1 + 2), CONCAT('a', (b)));",
  'INSERT INTO t () VALUES ()',
];

const NOT_ONE = [
  'INSERT INTO t VALUES (1), (2)',
  'INSERT INTO t SELECT 1',
  'INSERT INTO t (a) (SELECT 1)',
  'INSERT INTO t SET a = 1',
  'INSERT IGNORE INTO t VALUES (1)',
  'INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a = 2',
  'INSERT INTO t VALUES (1) RETURNING a',
  'INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)',
  'INSERT INTO t VALUES (1',
  'INSERT INTO t PARTITION (p) VALUES (1)',
  'REPLACE INTO t VALUES (1)',
  'UPDATE t SET a = 1',
  '',
];

test('an INSERT of one row that it spells out is told from everything else', () => {
  for (const options of [MYSQL, MARIADB]) {
    for (const text of ONE) assert.equal(insertsOneRow(text, options), true, text);
    for (const text of NOT_ONE) assert.equal(insertsOneRow(text, options), false, text);
  }
});
