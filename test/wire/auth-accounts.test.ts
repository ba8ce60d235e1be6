// Which account a login is matched with, by the servers' own rules.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hostAllowed, hostInMessages, matchAccount, refusal } from '../../src/wire/auth/index.ts';
import fc from '../seed.ts';
import { account } from './auth-support.ts';

function hostOf(hosts: readonly string[], address: string, user = 'u'): string {
  const match = matchAccount(
    hosts.map((host) => account({ user, host })),
    user,
    address,
  );
  return match.kind === 'account' ? match.account.host : match.kind;
}

describe('matching an account', () => {
  const hosts = ['%', '10.0.%', '10.%', '10.0.0.0/255.255.255.0', '10.0.0.5', 'localhost', '10.0.0._', '::1'];

  it('takes the most specific host, whatever the order of the rows', () => {
    fc.assert(
      fc.property(fc.shuffledSubarray(hosts, { minLength: hosts.length }), (shuffled) => {
        assert.equal(hostOf(shuffled, '10.0.0.5'), '10.0.0.5');
        assert.equal(hostOf(shuffled, '10.0.0.6'), '10.0.0.0/255.255.255.0');
        assert.equal(hostOf(shuffled, '10.0.1.6'), '10.0.%');
        assert.equal(hostOf(shuffled, '10.1.1.6'), '10.%');
        assert.equal(hostOf(shuffled, '192.0.2.1'), '%');
        assert.equal(hostOf(shuffled, '127.0.0.1'), 'localhost');
        assert.equal(hostOf(shuffled, ''), 'localhost');
      }),
    );
  });

  it('sees an IPv4 address in its IPv6 form', () => {
    assert.equal(hostOf(['10.0.0.5'], '::ffff:10.0.0.5'), '10.0.0.5');
    assert.equal(hostOf(['localhost'], '::ffff:127.0.0.1'), 'localhost');
    assert.equal(hostInMessages('::FFFF:192.0.2.9'), '192.0.2.9');
  });

  it('reads wildcards as LIKE does', () => {
    assert.equal(hostOf(['10.0.0._'], '10.0.0.55'), 'host-not-allowed');
    assert.equal(hostOf(['%.0.%.5'], '10.0.9.5'), '%.0.%.5');
    assert.equal(hostOf(['10.0.0.0/24'], '10.0.0.77'), '10.0.0.0/24');
    assert.equal(hostOf(['10.0.0.0/24'], '10.0.1.77'), 'host-not-allowed');
    assert.equal(hostOf(['%a%a%a%a%a%a%a%b'], `10.${'a'.repeat(200)}`), 'host-not-allowed');
  });

  it('puts an anonymous account of a nearer host before a named one of a farther, as servers do', () => {
    const accounts = [account({ user: 'u' }), account({ user: '', host: 'localhost' })];
    const near = matchAccount(accounts, 'u', '127.0.0.1');
    assert.ok(near.kind === 'account' && near.account.user === '');
    const far = matchAccount([account({ user: '' }), account({ user: 'u' })], 'u', '10.0.0.1');
    assert.ok(far.kind === 'account' && far.account.user === 'u');
  });

  it('tells a host from which nobody may come from a user who is not there', () => {
    const accounts = [account({ user: 'u', host: '10.0.0.1' })];
    assert.equal(matchAccount(accounts, 'u', '10.0.0.2').kind, 'host-not-allowed');
    assert.equal(matchAccount(accounts, 'v', '10.0.0.1').kind, 'none');
    assert.ok(!hostAllowed(accounts, '10.0.0.2'));
    assert.ok(hostAllowed(accounts, '::ffff:10.0.0.1'));
  });

  it('answers any host and address', () => {
    fc.assert(fc.property(fc.string(), fc.string(), (host, address) => void hostOf([host], address)));
  });
});

describe('refusals', () => {
  it('are word for word what servers say', () => {
    const denied = { kind: 'access-denied', user: 'u', host: 'h', usingPassword: true } as const;
    assert.deepEqual(refusal(denied, 'mysql'), {
      errno: 1045,
      sqlState: '28000',
      message: "Access denied for user 'u'@'h' (using password: YES)",
    });
    const locked = { kind: 'account-locked', user: 'u', host: 'h' } as const;
    assert.equal(refusal(locked, 'mysql').message, "Access denied for user 'u'@'h'. Account is locked.");
    assert.deepEqual(refusal(locked, 'mariadb'), {
      errno: 4151,
      sqlState: 'HY000',
      message: 'Access denied, this account is locked',
    });
    const host = { kind: 'host-not-allowed', host: '192.0.2.1' } as const;
    assert.equal(refusal(host, 'mariadb').message, "Host '192.0.2.1' is not allowed to connect to this MariaDB server");
  });

  it('are bounded however long the names are', () => {
    const long = 'ü'.repeat(5000);
    const { message } = refusal({ kind: 'access-denied', user: long, host: long, usingPassword: false }, 'mysql');
    assert.ok(Buffer.byteLength(message) < 512);
  });
});
