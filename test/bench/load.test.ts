// The bookkeeping of the load under which failovers are measured: no write may be counted twice or forgotten, and a
// client that hangs is the longest stall of all.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorKind, Ledger } from '../../bench/support/ledger.ts';
import { StallWindow } from '../../bench/support/window.ts';
import fc from '../seed.ts';

test('only a write that was in flight may end unknown', () => {
  const unknown = {
    message: 'the server was lost before it answered (Evenkeel: outcome-unknown; unknown)',
    fatal: false,
  };
  assert.equal(errorKind('write', unknown), 'in-flight-unknown');
  assert.equal(errorKind('read', unknown), 'other');
  const refused = { message: 'too many statements are waiting: x (Evenkeel: hold-full; not executed)', fatal: false };
  assert.equal(errorKind('write', refused), 'not-executed');
  assert.equal(errorKind('write', { message: 'Connection lost', fatal: true }), 'connection-lost');
  assert.equal(errorKind('write', { message: "Duplicate entry '1'", fatal: false }), 'other');
  assert.equal(errorKind('write', { message: 'Too many connections (Evenkeel: client-limit)', fatal: false }), 'other');
});

test('a ledger tells lost, duplicated, unknown, wrongly denied and invented writes apart', () => {
  const ledger = new Ledger(2);
  const there = ledger.send(0);
  const lost = ledger.send(0);
  const twice = ledger.send(0);
  const unknownThere = ledger.send(1);
  const unknownGone = ledger.send(1);
  const denied = ledger.send(1);
  ledger.send(1); // has no answer yet
  for (const n of [there, lost, twice]) ledger.settle(0, n, 'acknowledged');
  for (const n of [unknownThere, unknownGone]) ledger.settle(1, n, 'in-flight-unknown');
  ledger.settle(1, denied, 'not-executed');
  const account = ledger.judge([
    { client: 0, n: there, copies: 1 },
    { client: 0, n: twice, copies: 2 },
    { client: 1, n: unknownThere, copies: 1 },
    { client: 1, n: denied, copies: 1 },
    { client: 1, n: 77, copies: 1 },
    { client: 9, n: 0, copies: 1 },
  ]);
  assert.deepEqual(account, {
    sent: 7,
    acknowledged: 3,
    lost: 1,
    duplicated: 1,
    unknown: 2,
    unknownExecuted: 1,
    wronglyDenied: 1,
    invented: 2,
  });
});

test('whatever is taken away from the table is lost, and whatever is doubled is duplicated', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(2), { maxLength: 60 }), (copies) => {
      const ledger = new Ledger(1);
      const found = copies.map((count) => {
        const n = ledger.send(0);
        ledger.settle(0, n, 'acknowledged');
        return { client: 0, n, copies: count };
      });
      const account = ledger.judge(found.filter((each) => each.copies > 0));
      assert.equal(account.lost, copies.filter((count) => count === 0).length);
      assert.equal(account.duplicated, copies.filter((count) => count === 2).length);
      assert.equal(account.acknowledged, copies.length);
    }),
  );
});

test('a stall that ends in an error counts apart, and the time until the next success counts as well', () => {
  const window = new StallWindow(1, 0);
  window.sent(0, 10);
  window.answered(0, 20, true);
  window.sent(0, 25);
  window.answered(0, 325, false);
  window.sent(0, 330);
  window.answered(0, 430, true);
  const summary = window.cut(431);
  assert.equal(summary.longestMs, 100);
  assert.equal(summary.longestWithErrorsMs, 300);
  assert.equal(summary.longestGapMs, 410);
  assert.equal(summary.answers, 3);
  assert.equal(summary.errors, 1);
});

test('a client that hangs is the longest stall, in this stretch and in the next', () => {
  const window = new StallWindow(2, 0);
  window.sent(0, 100);
  window.sent(1, 100);
  window.answered(1, 105, true);
  assert.equal(window.cut(1100).longestMs, 1000);
  window.answered(0, 1500, true);
  const next = window.cut(1501);
  assert.equal(next.longestMs, 1400);
  assert.equal(next.longestGapMs, 1500);
});

test('a stretch starts empty', () => {
  const window = new StallWindow(1, 0);
  window.sent(0, 0);
  window.answered(0, 500, false);
  window.sent(0, 500);
  window.answered(0, 501, true);
  window.cut(501);
  const { longestMs, longestWithErrorsMs, longestGapMs, answers, errors } = window.cut(502);
  assert.deepEqual([longestMs, longestWithErrorsMs, longestGapMs, answers, errors], [0, 0, 1, 0, 0]);
});
