// Real drivers (mysql2, mariadb) as an independent implementation of the client's half, over real sockets.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { createConnection } from 'mariadb';
import mysql2 from 'mysql2/promise';
import type { Flavor } from '../../src/messages/index.ts';
import { ACCOUNTS, deniedText, startServer, type TestServer } from './auth-support.ts';

interface Login {
  user: string;
  password: string;
  secure: boolean;
}

type Driver = (port: number, login: Login) => Promise<void>;

const viaMysql2: Driver = async (port, { user, password, secure }) => {
  const ssl = secure ? { ssl: { rejectUnauthorized: false } } : {};
  const connection = await mysql2.createConnection({ host: '127.0.0.1', port, user, password, ...ssl });
  await connection.end();
};

const viaMariadb: Driver = async (port, { user, password, secure }) => {
  const ssl = secure ? { ssl: { rejectUnauthorized: false } } : {};
  const options = { host: '127.0.0.1', port, user, password, allowPublicKeyRetrieval: true, connectTimeout: 5000 };
  const connection = await createConnection({ ...options, ...ssl });
  await connection.end();
};

const DRIVERS: [string, Driver][] = [
  ['mysql2', viaMysql2],
  ['mariadb', viaMariadb],
];

async function refused(run: Promise<void>): Promise<{ errno: number; text: string }> {
  try {
    await run;
  } catch (error) {
    const { errno, sqlMessage } = error as { errno: number; sqlMessage: string };
    return { errno, text: sqlMessage };
  }
  return assert.fail('the login was let in');
}

const GREETINGS: [Flavor, string][] = [
  ['mysql', 'caching_sha2_password'],
  ['mariadb', 'mysql_native_password'],
];

for (const [flavor, plugin] of GREETINGS) {
  for (const [name, login] of DRIVERS) {
    for (const secure of [false, true]) {
      describe(`${name} against a ${flavor} greeting ${secure ? 'over TLS' : 'without TLS'}`, () => {
        let server: TestServer;
        before(async () => {
          server = await startServer(flavor, plugin);
        });
        after(() => server.close());

        const last = (): TestServer['outcomes'][number] => server.outcomes.at(-1) ?? assert.fail('no login was seen');

        it('logs in with mysql_native_password and leaves SHA1(password)', async () => {
          await login(server.port, { user: 'native', password: 's3cret', secure });
          const outcome = last();
          assert.ok('credential' in outcome && outcome.credential.kind === 'sha1');
        });

        it('logs in with caching_sha2_password in full first and fast from then on', async () => {
          await login(server.port, { user: 'sha2', password: 's3cret', secure });
          const full = server.sent.filter((bytes) => bytes.startsWith('01'));
          assert.deepEqual(full, secure ? ['0104'] : ['0104', '012d']);
          await login(server.port, { user: 'sha2', password: 's3cret', secure });
          assert.deepEqual(
            server.sent.filter((bytes) => bytes.startsWith('01')),
            ['0103'],
          );
          assert.deepEqual(last(), { credential: { kind: 'plaintext', password: Buffer.from('s3cret') } });
        });

        it('logs in with a password beyond ASCII', async () => {
          await login(server.port, { user: 'utf8', password: 'pässwörd 日本', secure });
          assert.deepEqual(last(), { credential: { kind: 'plaintext', password: Buffer.from('pässwörd 日本') } });
        });

        it('logs in with an empty password', async () => {
          await login(server.port, { user: 'empty', password: '', secure });
          assert.deepEqual(last(), { credential: { kind: 'none' } });
          await login(server.port, { user: 'emptysha2', password: '', secure });
          assert.deepEqual(last(), { credential: { kind: 'none' } });
        });

        it('logs in to an account of the configuration without another round trip', async () => {
          await login(server.port, { user: 'configured', password: 's3cret', secure });
          assert.deepEqual(last(), { credential: { kind: 'plaintext', password: Buffer.from('s3cret') } });
        });

        it('logs in with sha256_password', async () => {
          await login(server.port, { user: 'sha256', password: 's3cret', secure });
          assert.deepEqual(last(), { credential: { kind: 'plaintext', password: Buffer.from('s3cret') } });
        });

        // mysql2 does not speak it
        const ed25519 = name === 'mysql2' ? null : 'logs in with ed25519';
        if (ed25519 !== null)
          it(ed25519, async () => {
            await login(server.port, { user: 'ed', password: 's3cret', secure });
            assert.deepEqual(last(), { credential: { kind: 'proof-only' } });
            const { errno } = await refused(login(server.port, { user: 'ed', password: 'wrong', secure }));
            assert.equal(errno, 1045);
          });

        it('answers a wrong password and an unknown user alike', async () => {
          for (const user of ['native', 'sha2', 'configured', 'empty', 'nobody', 'no one', 'far']) {
            const { errno, text } = await refused(login(server.port, { user, password: 'wrong', secure }));
            assert.equal(errno, 1045, user);
            assert.ok(text.includes(deniedText(user, true, flavor)), text);
          }
          const { text } = await refused(login(server.port, { user: 'nobody2', password: '', secure }));
          assert.match(text, /Access denied for user 'nobody2'@'localhost'/);
        });

        it('tells of a lock, an expiry or a need for TLS only to who knows the password', async () => {
          const locked = await refused(login(server.port, { user: 'locked', password: 's3cret', secure }));
          assert.equal(locked.errno, flavor === 'mysql' ? 3118 : 4151);
          const stranger = await refused(login(server.port, { user: 'locked', password: 'wrong', secure }));
          assert.equal(stranger.errno, 1045);
          if (secure) await login(server.port, { user: 'tls', password: 's3cret', secure });
          else
            assert.equal((await refused(login(server.port, { user: 'tls', password: 's3cret', secure }))).errno, 1045);
        });
      });
    }
  }
}

describe('an unknown user', () => {
  it('meets the same exchange every time, and one that a known user could have', async () => {
    const server = await startServer('mysql', 'caching_sha2_password');
    try {
      const seen = new Set<string>();
      for (let i = 0; i < 12; i++) {
        const login = { user: `ghost${i}`, password: 's3cret', secure: false };
        await refused(viaMariadb(server.port, login));
        const first = server.sent.join(' ');
        await refused(viaMariadb(server.port, login));
        assert.equal(server.sent.join(' '), first);
        seen.add(first);
      }
      assert.ok(seen.size > 1, 'decoys follow the plugins in use');
    } finally {
      await server.close();
    }
  });

  it('meets the flavor`s default plugin where there is no account at all for the host', async () => {
    const server = await startServer(
      'mysql',
      'caching_sha2_password',
      ACCOUNTS.filter(({ user }) => user === 'far'),
    );
    try {
      const { errno } = await refused(viaMysql2(server.port, { user: 'far', password: 's3cret', secure: false }));
      assert.equal(errno, 1130);
    } finally {
      await server.close();
    }
  });
});
