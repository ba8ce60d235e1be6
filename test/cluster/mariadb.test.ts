// What MariaDB's answers are read as, without a server.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { accountOfGlobalPriv } from '../../src/cluster/mariadb.ts';

const HASH = '*D821809F681A40A6E379B50D0463EFAE20BDD122';
const account = (priv: object | string): ReturnType<typeof accountOfGlobalPriv> =>
  accountOfGlobalPriv('app', '%', typeof priv === 'string' ? priv : JSON.stringify(priv), 1_800_000_000);

test('a password account is taken with its plug-in and stored form', () => {
  const found = account({
    access: 0,
    plugin: 'ed25519',
    authentication_string: 'ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY',
  });
  assert.equal(found?.plugin, 'ed25519');
  assert.equal(found.encoding, 'text');
  assert.ok(!found.locked && !found.passwordExpired && !found.requireTls);
});

test('of several ways in the first one that takes a password is used', () => {
  const priv = {
    auth_or: [{ plugin: 'unix_socket' }, {}],
    plugin: 'mysql_native_password',
    authentication_string: HASH,
  };
  assert.equal(account(priv)?.stored, HASH);
  const shut = {
    auth_or: [{}, { plugin: 'unix_socket' }],
    plugin: 'mysql_native_password',
    authentication_string: 'invalid',
  };
  assert.equal(account(shut)?.stored, 'invalid');
});

test('locked, expired and TLS-only accounts are marked', () => {
  const found = account({
    plugin: 'mysql_native_password',
    account_locked: true,
    password_last_changed: 0,
    ssl_type: 1,
  });
  assert.ok(found?.locked && found.passwordExpired && found.requireTls);
  assert.ok(account({ password_last_changed: 1_700_000_000, password_lifetime: 30 })?.passwordExpired);
});

test('roles and rows that are not JSON are no accounts', () => {
  assert.equal(account({ is_role: true }), null);
  assert.equal(account('{'), null);
});
