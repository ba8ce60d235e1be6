// Which failed INSERT may have met the number of a replayed transaction.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { numberMayBeTaken } from '../../src/gateway/taken-number.ts';
import { requestOf } from './request-of.ts';

const INSERT = "INSERT INTO t (who) VALUES ('x')";
const SOON = { primarySinceMs: 1000, nowMs: 10_000 };

function error(message: string, errno = 1062) {
  return { errno, sqlState: '23000', message };
}

const TAKEN = error("Duplicate entry '48737' for key 't.PRIMARY'");

test('a number that the statement does not give itself, soon after another primary', () => {
  assert.equal(numberMayBeTaken(TAKEN, requestOf(INSERT), SOON), true);
  assert.equal(numberMayBeTaken(TAKEN, requestOf(INSERT), { ...SOON, nowMs: 11_001 }), false);
  assert.equal(numberMayBeTaken(TAKEN, requestOf(INSERT), { ...SOON, primarySinceMs: null }), false);
});

const OTHERS: [string, ReturnType<typeof error>, string][] = [
  ['another error', error('Unknown column', 1054), INSERT],
  ['a key of text', error("Duplicate entry 'x' for key 't.who'"), INSERT],
  ['a key of two columns', error("Duplicate entry '48737-1' for key 't.PRIMARY'"), INSERT],
  ['a number of its own', TAKEN, "INSERT INTO t VALUES (48737, 'x')"],
  ['two rows', TAKEN, "INSERT INTO t (who) VALUES ('x'), ('y')"],
  ['an update', TAKEN, 'UPDATE t SET id = id + 1'],
  ['a variable that would be set twice', TAKEN, 'INSERT INTO t (who) VALUES (@n := @n + 1)'],
  ['a function that nobody knows', TAKEN, 'INSERT INTO t (who) VALUES (mine())'],
];

for (const [what, err, sql] of OTHERS) {
  test(`not for ${what}`, () => {
    assert.equal(numberMayBeTaken(err, requestOf(sql), SOON), false);
  });
}
