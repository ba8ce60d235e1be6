// The errors that Evenkeel makes itself, and what a worker tells of its clients' view of a recovery.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ERROR_CODES, type GatewayErrorCode, gatewayError, verdictOf } from '../../src/gateway/errors.ts';
import { isReadOnlyNode, isShutdown } from '../../src/gateway/evidence.ts';
import { ImpactMeter } from '../../src/gateway/impact.ts';

/** About the connection rather than about a statement: there is nothing to judge. */
const WITHOUT_VERDICT = new Set<GatewayErrorCode>([
  'client-limit',
  'unknown-thread',
  'kill-denied',
  'handshake-failed',
]);

test('every error about a statement says in its text whether it was executed', () => {
  for (const code of ERROR_CODES) {
    const { message } = gatewayError(code, 'the detail');
    const verdict = /\(Evenkeel: ([\w-]+)(?:; (not executed|executed|unknown))?\)$/.exec(message);
    assert.equal(verdict?.[1], code);
    assert.equal(verdict?.[2] === undefined, WITHOUT_VERDICT.has(code), code);
    assert.equal(verdict?.[2] ?? null, verdictOf(code));
    assert.match(message, /: the detail \(/);
  }
});

test('every error has a number and a state that a driver understands; no two share a number of our own', () => {
  const own = ERROR_CODES.map((code) => gatewayError(code).errno).filter((errno) => errno >= 9100);
  assert.equal(new Set(own).size, own.length);
  for (const code of ERROR_CODES) {
    const { errno, sqlState } = gatewayError(code);
    assert.ok(errno > 1000 && errno < 9200, code);
    assert.match(sqlState, /^[0-9A-Z]{5}$/);
  }
});

test('a lost transaction is what frameworks retry', () => {
  const { errno, sqlState, message } = gatewayError('transaction-lost');
  assert.deepEqual([errno, sqlState], [1213, '40001']);
  assert.match(message, /try restarting transaction/);
});

test("a node's errors are told from a statement's", () => {
  const err = (errno: number, message = ''): { errno: number; sqlState: string; message: string } => ({
    errno,
    sqlState: 'HY000',
    message,
  });
  for (const errno of [1053, 1077, 1079, 1927]) assert.ok(isShutdown(err(errno)));
  for (const errno of [1205, 1213, 2013]) assert.ok(!isShutdown(err(errno)));
  const option = (name: string): string =>
    `The MySQL server is running with the ${name} option so it cannot execute this statement`;
  assert.ok(isReadOnlyNode(err(1836)));
  assert.ok(isReadOnlyNode(err(1047, 'WSREP has not yet prepared node for application use')));
  assert.ok(!isReadOnlyNode(err(1047, 'Unknown command')));
  for (const name of ['--read-only', '--super-read-only', '--read_only'])
    assert.ok(isReadOnlyNode(err(1290, option(name))));
  for (const name of ['--secure-file-priv', '--skip-grant-tables']) assert.ok(!isReadOnlyNode(err(1290, option(name))));
});

test('incidents close together are one to the clients, and what was told is forgotten', () => {
  const meter = new ImpactMeter();
  meter.begin(0);
  meter.stalled(120);
  meter.failed();
  meter.begin(4000);
  meter.stalled(80);
  assert.deepEqual(meter.take(), { heldStatements: 2, longestStallMs: 120, clientErrors: 1 });
  assert.deepEqual(meter.take(), { heldStatements: 0, longestStallMs: 0, clientErrors: 0 });
  meter.stalled(999);
  meter.begin(20_000);
  meter.stalled(1);
  assert.deepEqual(meter.take(), { heldStatements: 1, longestStallMs: 1, clientErrors: 0 });
});
