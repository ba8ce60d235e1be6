// What a worker knows of a cluster. Accounts that are newer than that: a login is refused only by what was read after it had asked.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Directory } from '../../src/gateway/directory.ts';
import type { QuietCommand } from '../../src/gateway/quiet.ts';
import type { Account } from '../../src/messages/index.ts';

const account = (user: string): Account => ({
  user,
  host: '%',
  plugin: 'mysql_native_password',
  stored: '',
  encoding: 'text',
  locked: false,
  passwordExpired: false,
  requireTls: false,
});

test('an answer of a reading that may have begun before the question is not the last word', () => {
  const asked: string[] = [];
  const directory = new Directory((_, user) => asked.push(user));
  const told: boolean[] = [];
  directory.refresh('shop', 'new', (changed) => told.push(changed));
  directory.setAccounts('shop', null);
  assert.deepEqual([told, asked], [[], ['new', 'new']]);
  directory.setAccounts('shop', [account('new')]);
  assert.deepEqual(told, [true]);
  directory.setAccounts('shop', null);
  assert.deepEqual([told, asked.length], [[true], 2]);
});

test('whose global privileges have changed is known of accounts that were there before', () => {
  const directory = new Directory(() => {});
  const has = (user: string, host: string, grants?: string): Account => ({
    ...account(user),
    host,
    ...(grants === undefined ? {} : { grants }),
  });
  const before = [has('a', '%', '1'), has('b', '%', '1'), has('b', '10.%', '2'), has('c', '%'), has('gone', '%', '1')];
  assert.deepEqual([...directory.regranted('shop', before)], [], 'of the first ones nothing is known before');
  directory.setAccounts('shop', before);
  assert.deepEqual([...directory.regranted('shop', before)], []);
  const after = [has('a', '%', '1'), has('b', '%', '1'), has('b', '10.%', '3'), has('c', '%'), has('new', '%', '1')];
  assert.deepEqual([...directory.regranted('shop', after)], ['b']);
});

test('accounts that were read twice and are the same have not changed', () => {
  let asked = 0;
  const directory = new Directory(() => asked++);
  const told: boolean[] = [];
  directory.refresh('shop', 'nobody', (changed) => told.push(changed));
  const elsewhere: boolean[] = [];
  directory.refresh('other', 'nobody', (changed) => elsewhere.push(changed));
  for (let n = 0; n < 3; n++) directory.setAccounts('shop', null);
  assert.deepEqual([told, elsewhere, asked], [[false], [], 3]);
  directory.setAccounts('other', [account('somebody')]);
  assert.deepEqual(elsewhere, [true]);
});

test('where nobody answers, what is known decides after a while', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const directory = new Directory(() => {});
  const told: boolean[] = [];
  directory.refresh('shop', 'new', (changed) => told.push(changed));
  t.mock.timers.tick(2999);
  assert.deepEqual(told, []);
  t.mock.timers.tick(1);
  assert.deepEqual(told, [false]);
});

test('servers report the variables that are those of sessions, once it is known which', () => {
  const directory = new Directory(() => {});
  const greet = (serverVersion: string, variables?: string) =>
    directory.setGreeting(
      'shop',
      { serverVersion, collation: 45, flavor: 'mysql', group: null, sqlMode: '', autocommit: true },
      variables,
    );
  const ask = () => {
    const commands: QuietCommand[] = [];
    directory.askTrackedVariables('shop', (sql) => Buffer.from(sql), commands);
    return commands;
  };
  const answers = (names: string[]) => ask()[0]?.row?.({ values: [JSON.stringify(names)], columns: [] });
  greet('9.7.0');
  assert.equal(directory.trackedVariables('shop'), '');
  answers(['port', 'sql_mode', 'time_zone']);
  assert.equal(directory.trackedVariables('shop'), 'port,sql_mode,time_zone');
  assert.deepEqual(ask(), [], 'asked once');
  greet('9.7.0', 'sql_mode,time_zone,unseen');
  assert.equal(directory.trackedVariables('shop'), 'sql_mode,time_zone');
  greet('9.7.0', 'sql_mode,time_zone,unseen');
  greet('9.7.0');
  assert.equal(directory.trackedVariables('shop'), 'sql_mode,time_zone', 'still');

  greet('9.8.0', 'sql_mode');
  assert.equal(directory.trackedVariables('shop'), '');
  answers(['port', 'sql_mode', 'time_zone']);
  assert.equal(directory.trackedVariables('shop'), 'sql_mode');
});
