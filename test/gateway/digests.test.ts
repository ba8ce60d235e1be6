// Statistics of statements: what is counted as one, and that what is kept has bounds.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Digests } from '../../src/gateway/digests.ts';
import { requestOf } from './request-of.ts';

test('statements of one shape are one, each account and schema by itself', () => {
  const digests = new Digests();
  const app = digests.groupOf('writer', 'app', 'shop');
  app.note(requestOf('SELECT a FROM t WHERE id IN (1, 2)'), 2, false);
  app.note(requestOf("select a from t where id in ('x')"), 5, true);
  app.note(requestOf('SELECT b FROM t'), 1, false);
  digests.groupOf('writer', 'app', null).note(requestOf('SELECT b FROM t'), 7, false);
  const shape = { endpoint: 'writer', user: 'app', schema: 'shop' };
  assert.deepEqual(digests.report(), [
    { ...shape, statement: 'select a from t where id in ( ? )', count: 2, errors: 1, totalMs: 7, longestMs: 5 },
    { ...shape, statement: 'select b from t', count: 1, errors: 0, totalMs: 1, longestMs: 1 },
    { ...shape, schema: null, statement: 'select b from t', count: 1, errors: 0, totalMs: 7, longestMs: 7 },
  ]);
});

test('shapes without end are counted together, and none is lost', () => {
  const digests = new Digests();
  for (let n = 0; n < 5000; n++)
    digests.groupOf('writer', 'app', null).note(requestOf(`SELECT a${n} FROM t`), 1, false);
  const report = digests.report();
  assert.ok(report.length <= 2001, String(report.length));
  assert.equal(
    report.reduce((sum, { count }) => sum + count, 0),
    5000,
  );
  assert.equal(report.find(({ statement }) => statement === '')?.count, 3000);
});

test('so are accounts without end', () => {
  const digests = new Digests();
  for (let n = 0; n < 3000; n++) digests.groupOf('writer', `u${n}`, null).note(requestOf('SELECT 1'), 1, false);
  const report = digests.report();
  assert.ok(report.length <= 502, String(report.length));
  assert.equal(
    report.reduce((sum, { count }) => sum + count, 0),
    3000,
  );
});

test('a text of any length is kept in part', () => {
  const digests = new Digests();
  const columns = Array.from({ length: 10_000 }, (_, n) => `column${n}`).join();
  digests.groupOf('writer', 'app', null).note(requestOf(`SELECT ${columns} FROM t`), 1, false);
  assert.equal(digests.report()[0]?.statement.length, 1024);
});
