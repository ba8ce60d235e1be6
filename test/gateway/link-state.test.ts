// The way from one state of a server connection to another: as short as can be, and right for whatever both are. A small
// model of a server (server-model.ts) carries the steps out.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AT_LOGIN,
  changed,
  difference,
  hiddenAs,
  onLink,
  sameState,
  type Terms,
  withHidden,
} from '../../src/gateway/link-state.ts';
import fc, { seed } from '../seed.ts';
import { SET_NAMES, TRACKING, WITHOUT_DEFAULT } from './server-model.ts';
import { anyState, anyTerms, serverIn } from './states.ts';

const TERMS: Terms = {
  flavor: 'mysql',
  asAtLogin: [SET_NAMES],
  tracking: TRACKING,
  multiStatements: false,
  withoutDefault: new Set(WITHOUT_DEFAULT),
  ofLogin: [],
};

test('the steps lead from any state to any other that can be reached', () => {
  const reached = { directly: 0, 'by a reset': 0, 'not at all': 0 };
  fc.assert(
    fc.property(anyState, anyState, anyTerms, (from, to, terms) => {
      const steps = difference(from, to, terms);
      const gone = [...from.variables.keys()].filter((name) => !to.variables.has(name));
      const charset = gone.some((name) => /^(character_set|collation)_/.test(name));
      const noDefault = gone.some((name) => WITHOUT_DEFAULT.includes(name) || terms.ofLogin.includes(name));
      const reachable =
        !(from.schema !== null && to.schema === null) &&
        !(terms.flavor === 'mariadb' && from.role !== null && to.role === null) &&
        !(terms.asAtLogin === null && (charset || noDefault));
      assert.equal(steps !== null, reachable || from === to);
      if (steps === null) {
        reached['not at all']++;
        return;
      }
      const server = serverIn(from, terms);
      for (const step of steps) server.apply(step);
      server.assertHas(to, terms);
      reached[steps[0]?.kind === 'reset' ? 'by a reset' : 'directly']++;
      assert.ok(server.sent <= 6, `${server.sent} statements`);
    }),
    { seed, numRuns: 4000 },
  );
  for (const [how, times] of Object.entries(reached))
    assert.ok(times > 50, `${how}: ${times} times only (seed ${seed})`);
});

test('equal states are the same object, and nothing leads from one to itself', () => {
  fc.assert(
    fc.property(anyState, (one) => {
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
    ['reset', TERMS.tracking, SET_NAMES, 'SET ROLE DEFAULT'],
  );
});

test("MariaDB's roles of the login are not to be had back, so another connection is needed", () => {
  const from = changed(AT_LOGIN, { role: 'SET ROLE `r`' });
  assert.equal(difference(from, AT_LOGIN, { ...TERMS, flavor: 'mariadb' }), null);
});

test('what is hidden on a connection stays with its session there, and strangers come after a reset', () => {
  const own = withHidden(changed(AT_LOGIN, { variables: new Map([['time_zone', '+01:00']]) }));
  const stranger = changed(AT_LOGIN, { autocommit: false });
  assert.equal(onLink(own, own), own);
  assert.equal(withHidden(own), own);
  assert.deepEqual(difference(own, stranger, TERMS)?.[0], { kind: 'reset' });
  assert.deepEqual(difference(own, withHidden(stranger), TERMS)?.[0], { kind: 'reset' });
  assert.ok(sameState(onLink(own, AT_LOGIN), changed(AT_LOGIN, { variables: new Map([['time_zone', '+01:00']]) })));
  const moved = difference(AT_LOGIN, hiddenAs(own, own), TERMS);
  assert.deepEqual(
    moved?.map((step) => step.kind === 'query' && step.sql),
    ["SET SESSION `time_zone`='+01:00'"],
  );
  assert.ok(sameState(hiddenAs(stranger, AT_LOGIN), stranger));
});
