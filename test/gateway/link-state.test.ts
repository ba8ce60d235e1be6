// The way from one state of a server connection to another: as short as can be, and right for whatever both are. A small
// model of a server carries the steps out.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  AT_LOGIN,
  changed,
  difference,
  type LinkState,
  type Step,
  sameState,
  type Terms,
} from '../../src/gateway/link-state.ts';

const TERMS: Terms = {
  flavor: 'mysql',
  asAtLogin: ["SET NAMES 'utf8mb4'"],
  tracking: 'SET SESSION session_track_schema=ON',
  multiStatements: false,
  withoutDefault: new Set(['sql_log_bin']),
  ofLogin: [],
};

const literal = fc.constantFrom('1', "X'61'", '2.5');
const variables = fc.dictionary(
  fc.constantFrom('sql_mode', 'time_zone', 'sql_log_bin', 'unique_checks'),
  fc.constantFrom('A', 'B'),
);
const state = fc
  .record({
    schema: fc.constantFrom(null, 'one', 'two'),
    variables: variables.map((of) => new Map(Object.entries(of))),
    userVariables: fc.dictionary(fc.constantFrom('a', 'b'), literal).map((of) => new Map(Object.entries(of))),
    role: fc.constantFrom(null, 'SET ROLE `r`'),
    multiStatements: fc.constantFrom(null, 0, 1),
    autocommit: fc.boolean(),
  })
  .map((parts) => changed(AT_LOGIN, parts));

/** What a server makes of the steps. */
function carriedOut(from: LinkState, steps: readonly Step[]): LinkState {
  let now = from;
  for (const step of steps) {
    if (step.kind === 'reset') {
      const { schema, role, multiStatements } = now;
      now = changed(AT_LOGIN, { schema, role, multiStatements });
    } else if (step.kind === 'schema') now = changed(now, { schema: step.schema });
    else if (step.kind === 'option') now = changed(now, { multiStatements: step.value });
    else now = query(now, step.sql);
  }
  return now;
}

function query(now: LinkState, sql: string): LinkState {
  if (sql.startsWith('SET ROLE')) return changed(now, { role: sql === 'SET ROLE DEFAULT' ? null : sql });
  if (!/^SET (SESSION|@) ?`?/.test(sql) || sql.includes('session_track')) return now;
  const set = new Map(now.variables);
  const user = new Map(now.userVariables);
  let { autocommit } = now;
  for (const part of sql.slice(4).split(', ')) {
    const [target = '', value = ''] = part.split(/=(.*)/s);
    const name = target.replaceAll(/SESSION |[@`]/g, '');
    if (name === 'autocommit') autocommit = value === '1';
    else if (target.startsWith('@')) {
      if (value === 'NULL') user.delete(name);
      else user.set(name, value);
    } else if (value === 'DEFAULT') set.delete(name);
    else set.set(name, value.replaceAll("'", ''));
  }
  return changed(now, { variables: set, userVariables: user, autocommit });
}

test('the steps lead from any state to any other that can be reached', () => {
  fc.assert(
    fc.property(state, state, (from, to) => {
      const steps = difference(from, to, TERMS);
      if (steps === null) return assert.ok(from.schema !== null && to.schema === null);
      // The login's own choice is told by a number, too: this login said no.
      const plain = (one: LinkState): LinkState => changed(one, { multiStatements: one.multiStatements ?? 1 });
      const expected = plain(to);
      const got = plain(carriedOut(from, steps));
      assert.ok(sameState(got, expected), `${got.key} instead of ${expected.key}`);
    }),
    { numRuns: 2000 },
  );
});

test('equal states are the same object, and nothing leads from one to itself', () => {
  fc.assert(
    fc.property(state, (one) => {
      assert.equal(changed(AT_LOGIN, { ...one }), one);
      assert.deepEqual(difference(one, changed(AT_LOGIN, { ...one }), TERMS), []);
    }),
  );
});

test('what differs is named, and nothing else', () => {
  const from = changed(AT_LOGIN, {
    variables: new Map([
      ['sql_mode', 'A'],
      ['time_zone', 'B'],
    ]),
  });
  const to = changed(from, {
    variables: new Map([
      ['sql_mode', 'A'],
      ['time_zone', 'A'],
    ]),
  });
  assert.deepEqual(
    difference(from, to, TERMS)?.map((step) => (step.kind === 'query' ? step.sql : step.kind)),
    ["SET SESSION `time_zone`='A'"],
  );
});

test('a collation of its own goes behind the character set that would take it back', () => {
  const to = changed(AT_LOGIN, {
    variables: new Map([
      ['collation_connection', 'latin1_bin'],
      ['character_set_connection', 'latin1'],
    ]),
  });
  const [step] = difference(AT_LOGIN, to, TERMS) ?? [];
  assert.equal(
    step?.kind === 'query' ? step.sql : '',
    "SET SESSION `character_set_connection`='latin1', SESSION `collation_connection`='latin1_bin'",
  );
});

test('what has no DEFAULT is taken back by a reset, which leaves schema and roles', () => {
  const from = changed(AT_LOGIN, { schema: 'one', role: 'SET ROLE `r`', variables: new Map([['sql_log_bin', 'OFF']]) });
  const steps = difference(from, changed(AT_LOGIN, { schema: 'one' }), TERMS);
  assert.deepEqual(
    steps?.map((step) => (step.kind === 'query' ? step.sql : step.kind)),
    ['reset', TERMS.tracking, "SET NAMES 'utf8mb4'", 'SET ROLE DEFAULT'],
  );
});

test("MariaDB's roles of the login are not to be had back, so another connection is needed", () => {
  const from = changed(AT_LOGIN, { role: 'SET ROLE `r`' });
  assert.equal(difference(from, AT_LOGIN, { ...TERMS, flavor: 'mariadb' }), null);
});
