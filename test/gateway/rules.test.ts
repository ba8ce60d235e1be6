// Rules of the configuration: which one counts for a statement, and what it says of it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readRequest } from '../../src/gateway/command.ts';
import { type Rule, Rules } from '../../src/gateway/rules.ts';
import { SessionState } from '../../src/gateway/session.ts';
import type { RuleSettings } from '../../src/messages/index.ts';
import { asPacket, Command, commandPacket } from '../../src/wire/index.ts';
import { requestOf } from './request-of.ts';

const NOTHING: Omit<RuleSettings, 'name'> = {
  endpoints: null,
  users: null,
  schemas: null,
  statement: null,
  route: null,
  timeoutMs: null,
  refuse: null,
  maxPerSecond: null,
};

const rule = (name: string, settings: Partial<RuleSettings> = {}): RuleSettings => ({ ...NOTHING, name, ...settings });

function found(
  rules: RuleSettings[],
  sql: string,
  { endpoint = 'writer', user = 'app', schema = 'shop' } = {},
): string {
  return new Rules(rules, 1, 0).of(endpoint, user)?.find(requestOf(sql), schema)?.name ?? 'none';
}

test('the first that fits counts, by endpoint, account, schema and shape', () => {
  const rules = [
    rule('by-user', { users: ['batch'] }),
    rule('by-endpoint', { endpoints: ['reports'] }),
    rule('by-schema', { schemas: ['old', 'older'] }),
    rule('by-statement', { statement: 'SELECT a FROM t WHERE id IN (7)' }),
    rule('the same again', { statement: 'SELECT a FROM t WHERE id IN (7)' }),
  ];
  assert.equal(found(rules, 'SELECT 1', { user: 'batch', endpoint: 'reports' }), 'by-user');
  assert.equal(found(rules, 'SELECT 1', { endpoint: 'reports' }), 'by-endpoint');
  assert.equal(found(rules, 'SELECT 1', { schema: 'older' }), 'by-schema');
  assert.equal(found(rules, "select a from t where id in ('x', 'y') -- z"), 'by-statement');
  assert.equal(found(rules, 'SELECT b FROM t WHERE id IN (7)'), 'none');
});

test('a statement of no schema fits no rule for one', () => {
  const rules = new Rules([rule('old', { schemas: ['old'] })], 1, 0).of('writer', 'app');
  assert.equal(rules?.find(requestOf('SELECT 1'), null), null);
});

test('where no rule is for an endpoint or an account, nothing is looked at', () => {
  assert.equal(new Rules([], 1, 0).of('writer', 'app'), null);
  const rules = new Rules([rule('one', { users: ['batch'] }), rule('two', { endpoints: ['reader'] })], 1, 0);
  assert.equal(rules.of('writer', 'app'), null);
  assert.notEqual(rules.of('reader', 'app'), null);
});

test('rules are for statements, not for the protocol', () => {
  const rules = new Rules([rule('all')], 1, 0).of('writer', 'app');
  const request = readRequest(asPacket(commandPacket(Command.INIT_DB, 'shop')), new SessionState(45), 'mysql', 0);
  assert.equal(request.kind === 'server' ? rules?.find(request, null) : 'another kind', null);
});

function one(settings: Partial<RuleSettings>, workers = 1): Rule {
  const only = new Rules([rule('r', settings)], workers, 0).of('writer', 'app')?.find(requestOf('SELECT 1'), null);
  assert.ok(only);
  return only;
}

test('so many a second, a share for each worker', () => {
  const limited = one({ maxPerSecond: 8 }, 2);
  const passed = (count: number, nowMs: number): number =>
    Array.from({ length: count }, () => limited.refusalOf(requestOf('SELECT 1'), nowMs)).filter((err) => err === null)
      .length;
  assert.equal(passed(20, 0), 4);
  assert.equal(passed(20, 100), 0);
  assert.equal(passed(20, 500), 2);
  assert.equal(passed(20, 60_000), 4, 'what was not used is not saved up');
  assert.equal(limited.refusalOf(requestOf('SELECT 1'), 60_000)?.errno, 9114);
  const slow = one({ maxPerSecond: 1 }, 4);
  assert.equal(slow.refusalOf(requestOf('SELECT 1'), 0), null, 'one passes, however small the share');
});

test('a refusal says why, and a transaction may always end', () => {
  const refusing = one({ refuse: 'use the reader' });
  assert.match(
    refusing.refusalOf(requestOf('INSERT INTO t VALUES (1)'), 0)?.message ?? '',
    /r: use the reader.*not executed/,
  );
  for (const sql of ['COMMIT', 'ROLLBACK', 'ROLLBACK TO SAVEPOINT a']) {
    assert.equal(refusing.refusalOf(requestOf(sql), 0), null, sql);
  }
});

test('only what surely writes nothing has a limit in time', () => {
  const quick = one({ timeoutMs: 50 });
  assert.equal(quick.limitOf(requestOf('SELECT a FROM t')), 50);
  assert.equal(quick.limitOf(requestOf('SELECT a FROM t FOR UPDATE')), 50);
  for (const sql of ['UPDATE t SET a = 1', 'COMMIT', 'SELECT own_function(1)', 'CALL p()']) {
    assert.equal(quick.limitOf(requestOf(sql)), null, sql);
  }
});
