// Who gets in, and what those are told who do not: real drivers against real servers, the answer through the proxy
// held against the answer of the server itself.
import assert from 'node:assert/strict';
import { type ChildProcessWithoutNullStreams, execFile, spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import tls from 'node:tls';
import { promisify } from 'node:util';
import mariadb from 'mariadb';
import mysql from 'mysql2/promise';
import { generate } from 'selfsigned';
import type { Flavor } from '../../src/messages/index.ts';
import { findTool, type ToolName } from '../../src/sandbox/index.ts';
import { Capability, encodeSslRequest, frame } from '../../src/wire/index.ts';
import { type Evenkeel, inFrontOf, until, withEvenkeel } from './harness/index.ts';
import { RawClient, ServerSaid } from './raw-client.ts';

const run = promisify(execFile);

interface Attempt {
  user: string;
  password: string;
  database?: string;
  ssl?: { rejectUnauthorized: boolean; ca?: string; verifyIdentity?: boolean };
}

type Outcome =
  | { user: unknown; schema: unknown }
  | { errno: number | undefined; sqlState: string | undefined; message: string };

/** Logs in with mysql2 and says who it is, or what it was told. */
async function attempt(port: number, login: Attempt): Promise<Outcome> {
  try {
    const connection = await mysql.createConnection({ host: '127.0.0.1', port, ...login });
    try {
      const [rows] = await connection.query<mysql.RowDataPacket[]>(
        'SELECT CURRENT_USER() AS user, DATABASE() AS `schema`',
      );
      return { user: rows[0]?.['user'], schema: rows[0]?.['schema'] };
    } finally {
      connection.destroy();
    }
  } catch (error) {
    const { errno, sqlState, message } = error as { errno?: number; sqlState?: string; message: string };
    // Loopback is `localhost` or `127.0.0.1` in a message as the server resolves names or does not.
    return { errno, sqlState, message: message.replace("'@'localhost'", "'@'127.0.0.1'") };
  }
}

for (const flavor of ['mysql', 'mariadb'] as const) {
  test(`logins at a ${flavor} cluster`, { timeout: 180_000 }, async (t) => {
    await withEvenkeel({ flavor, replication: 'async', nodes: 1, workers: 2 }, async (ek) => {
      const node = await ek.primary();
      const admin = await mysql.createConnection({ ...ek.direct(node), multipleStatements: true });
      const proxy = ek.ports.writer;
      const { database } = ek.sandbox.app;
      const same = async (login: Attempt): Promise<Outcome> => {
        const through = await attempt(proxy, login);
        assert.deepEqual(through, await attempt(node.port, login));
        return through;
      };
      const stages: Stage = { t, ek, flavor, admin, proxy, database, same };
      await plugins(stages);
      await refusals(stages);
      await freshness(stages);
      await privileges(stages);
      await overTls(stages);
      await commandLines(stages);
      await configured(stages);
      await admin.end();
    });
  });
}

interface Stage {
  t: test.TestContext;
  ek: Evenkeel;
  flavor: Flavor;
  admin: mysql.Connection;
  proxy: number;
  database: string;
  /** The same through the proxy as at the server. */
  same: (login: Attempt) => Promise<Outcome>;
}

/** CREATE USER with a plug-in, in the flavor's own words. */
function identified(flavor: Flavor, plugin: string, password: string): string {
  if (flavor === 'mysql') return `IDENTIFIED WITH ${plugin} BY '${password}'`;
  return `IDENTIFIED VIA ${plugin} USING PASSWORD('${password}')`;
}

const TLS = { rejectUnauthorized: false };

async function plugins({ t, flavor, admin, proxy, database, same }: Stage): Promise<void> {
  const grant = (user: string): string => `GRANT ALL ON \`${database}\`.* TO ${user}@'%'`;

  await t.test('a driver gets in with the default plug-in, the first and the second time', async () => {
    await admin.query(`CREATE USER plain@'%' IDENTIFIED BY 'pässwörd 日本'; ${grant('plain')}`);
    for (let round = 0; round < 3; round++) {
      const outcome = await same({ user: 'plain', password: 'pässwörd 日本', database });
      assert.deepEqual(outcome, { user: 'plain@%', schema: database });
    }
  });

  await t.test('an empty password and no default schema are as good as others', async () => {
    await admin.query(`CREATE USER nopass@'%'; ${grant('nopass')}`);
    assert.deepEqual(await same({ user: 'nopass', password: '' }), { user: 'nopass@%', schema: null });
    await same({ user: 'nopass', password: 'but one was given' });
  });

  if (flavor === 'mysql') {
    await t.test(
      'caching_sha2_password is proved over TLS, by RSA without TLS, and then by its fast path',
      async () => {
        const users = ['overtls', 'byrsa', 'fast'];
        for (const user of users) {
          await admin.query(`CREATE USER ${user}@'%' ${identified(flavor, 'caching_sha2_password', 's3cret')}`);
        }
        const ok = (user: string): Outcome => ({ user: `${user}@%`, schema: null });
        assert.deepEqual(await attempt(proxy, { user: 'overtls', password: 's3cret', ssl: TLS }), ok('overtls'));
        assert.deepEqual(await attempt(proxy, { user: 'byrsa', password: 's3cret' }), ok('byrsa'));
        // Each worker remembers for itself: after enough logins both have seen a full exchange.
        for (let round = 0; round < 6; round++) {
          assert.deepEqual(await attempt(proxy, { user: 'fast', password: 's3cret' }), ok('fast'));
        }
        const wrong = await attempt(proxy, { user: 'fast', password: 'wrong' });
        assert.equal('errno' in wrong && wrong.errno, 1045);
      },
    );
    return;
  }

  await t.test('mysql_native_password gets in', async () => {
    await admin.query(`CREATE USER native@'%' ${identified(flavor, 'mysql_native_password', 's3cret')}`);
    assert.deepEqual(await same({ user: 'native', password: 's3cret' }), { user: 'native@%', schema: null });
  });

  await t.test(
    'an ed25519 account without its password in the configuration is told why it cannot get in',
    async () => {
      await admin.query(`CREATE USER ed@'%' ${identified(flavor, 'ed25519', 's3cret')}`);
      await assert.rejects(
        mariadb.createConnection({ host: '127.0.0.1', port: proxy, user: 'ed', password: 's3cret' }).then(async (c) => {
          await c.query('SELECT 1').finally(() => c.destroy());
        }),
        /Evenkeel: .*not executed|configur/,
      );
    },
  );
}

async function refusals({ t, flavor, admin, database, proxy, same }: Stage): Promise<void> {
  await t.test(
    'a wrong password, an unknown user and a missing password are told as the server tells them',
    async () => {
      for (const login of [
        { user: 'plain', password: 'wrong' },
        { user: 'plain', password: '' },
        { user: 'nobody', password: 's3cret' },
      ]) {
        const outcome = await same(login);
        assert.equal('errno' in outcome && outcome.errno, 1045);
      }
    },
  );

  await t.test('a locked account is told that it is, until it is unlocked', async () => {
    const shut = { user: 'shut', password: 's3cret' };
    await admin.query(`CREATE USER shut@'%' IDENTIFIED BY 's3cret'`);
    assert.deepEqual(await same(shut), { user: 'shut@%', schema: null });
    await admin.query(`ALTER USER shut@'%' ACCOUNT LOCK`);
    // Accounts are read every few seconds, and each worker hears of them by itself.
    const refused = async (): Promise<boolean> => 'errno' in (await attempt(proxy, shut));
    await until('the lock to be known', 10_000, async () => {
      for (let round = 0; round < 30; round++) if (!(await refused())) return false;
      return true;
    });
    const outcome = await same(shut);
    assert.equal('errno' in outcome && outcome.errno, flavor === 'mysql' ? 3118 : 4151);
    await admin.query(`ALTER USER shut@'%' ACCOUNT UNLOCK`);
    await until('the lock to be lifted', 10_000, async () => 'user' in (await attempt(proxy, shut)));
  });

  await t.test('an account for another host does not count', async () => {
    await admin.query('DROP USER IF EXISTS ed');
    await admin.query(
      `CREATE USER far@'10.9.8.7' IDENTIFIED BY 's3cret'; CREATE USER near@'127.0.0.%' IDENTIFIED BY 's3cret'`,
    );
    const outcome = await same({ user: 'far', password: 's3cret' });
    assert.equal('errno' in outcome && outcome.errno, 1045);
    assert.deepEqual(await same({ user: 'near', password: 's3cret' }), { user: 'near@127.0.0.%', schema: null });
  });

  await t.test('an unknown schema and one that is not allowed are told as the server tells them', async () => {
    await admin.query('CREATE DATABASE secret_one');
    await admin.query(
      `GRANT ALL ON \`${database}\`.* TO near@'127.0.0.%'; GRANT CREATE ON everyone.* TO near@'127.0.0.%'`,
    );
    const unknown = await same({ user: 'near', password: 's3cret', database: 'everyone' });
    assert.equal('errno' in unknown && unknown.errno, 1049);
    const denied = await same({ user: 'near', password: 's3cret', database: 'secret_one' });
    assert.equal('errno' in denied && denied.errno, 1044);
  });
}

async function freshness({ t, admin, proxy }: Stage): Promise<void> {
  await t.test('a user made a moment ago gets in at once, and one whose password was changed too', async () => {
    for (let round = 0; round < 3; round++) {
      const user = `fresh${round}`;
      const ok = { user: `${user}@%`, schema: null };
      await admin.query(`CREATE USER ${user}@'%' IDENTIFIED BY 'first'`);
      assert.deepEqual(await attempt(proxy, { user, password: 'first' }), ok);
      await admin.query(`ALTER USER ${user}@'%' IDENTIFIED BY 'second'`);
      assert.deepEqual(await attempt(proxy, { user, password: 'second' }), ok);
      const old = await attempt(proxy, { user, password: 'first' });
      assert.equal('errno' in old && old.errno, 1045);
    }
  });
}

async function privileges({ t, admin, proxy, ek, flavor }: Stage): Promise<void> {
  await t.test(
    'who logs in after a GRANT or a REVOKE has the privileges of then, and who is in keeps his',
    async () => {
      const login = { host: '127.0.0.1', port: proxy, user: 'granted', password: 's3cret' };
      await admin.query(`CREATE USER granted@'%' IDENTIFIED BY 's3cret'; GRANT SELECT ON *.* TO granted@'%'`);
      const asked = 'SELECT COUNT(*) FROM mysql.user';
      const mayRead = async (): Promise<boolean> => {
        const connection = await mysql.createConnection(login);
        try {
          await connection.query(asked);
          return true;
        } catch (error) {
          assert.equal((error as { errno?: number }).errno, 1142);
          return false;
        } finally {
          await connection.end();
        }
      };
      assert.equal(await mayRead(), true);
      const inside = await mysql.createConnection(login);
      await inside.query('BEGIN');
      await inside.query(asked);
      await admin.query(`REVOKE SELECT ON *.* FROM granted@'%'`);
      await until('the privilege to be gone', 15_000, async () => !(await mayRead()));
      await inside.query(asked);
      await inside.query('COMMIT');
      await inside.end();
      const further = flavor === 'mysql' ? 'SELECT, ROLE_ADMIN' : 'SELECT';
      await admin.query(`GRANT ${further} ON *.* TO granted@'%'`);
      await until('the privilege to be there', 15_000, mayRead);
      // Through Evenkeel, which reads the accounts behind it at once, and not within five seconds.
      const through = await mysql.createConnection({
        ...login,
        user: ek.sandbox.admin.user,
        password: ek.sandbox.admin.password,
      });
      for (const sql of ['REVOKE SELECT ON *.* FROM', 'GRANT SELECT ON *.* TO', 'REVOKE SELECT ON *.* FROM']) {
        await through.query(`${sql} granted@'%'`);
        await until('it to be known', 3_000, async () => (await mayRead()) === sql.startsWith('GRANT'));
      }
      await through.end();
    },
  );
}

async function overTls({ t, proxy, ek, database }: Stage): Promise<void> {
  const { user, password } = ek.sandbox.app;

  await t.test('TLS stands with the self-signed certificate, from 1.2 on', async () => {
    const connection = await mysql.createConnection({ ...ek.login(), ssl: TLS });
    const [rows] = await connection.query<mysql.RowDataPacket[]>('SELECT 1 + 1 AS two');
    assert.equal(rows[0]?.['two'], 2);
    await connection.end();
    const strict = attempt(proxy, { user, password, ssl: { rejectUnauthorized: true } });
    assert.match(JSON.stringify(await strict), /self.signed|certificate/);
    assert.match(await tlsVersion(proxy, 'TLSv1.2'), /^TLSv1\.2$/);
    assert.match(await tlsVersion(proxy, 'TLSv1.3'), /^TLSv1\.3$/);
    assert.match(await tlsVersion(proxy, 'TLSv1.1'), /^refused/);
  });

  await t.test('a ClientHello in the segment of the SSL request is heard', async () => {
    for (const oneSegment of [true, false]) {
      const client = await RawClient.login({ port: proxy, user, password, database }, { secure: true, oneSegment });
      assert.equal(await client.value('SELECT DATABASE()'), database);
      client.close();
    }
  });
}

/** Asks for TLS of one version; the version that stands, or why none does. */
async function tlsVersion(port: number, version: 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3'): Promise<string> {
  const client = await RawClient.open(port);
  await client.greet();
  const capabilities = Capability.PROTOCOL_41 | Capability.SECURE_CONNECTION | Capability.PLUGIN_AUTH;
  client.socket.removeAllListeners('data');
  client.write(frame(encodeSslRequest({ capabilities, maxPacketBytes: 1 << 24, collation: 45 }), 1));
  const ciphers = 'DEFAULT@SECLEVEL=0'; // or this side would refuse 1.1 by itself
  return new Promise((resolve) => {
    const options = { rejectUnauthorized: false, minVersion: version, maxVersion: version, ciphers };
    const secure = tls.connect({ socket: client.socket, ...options }, () => {
      resolve(secure.getProtocol() ?? 'none');
      secure.destroy();
    });
    secure.on('error', (error: Error) => resolve(`refused: ${error.message}`));
    secure.on('close', () => resolve('refused: closed'));
  });
}

async function commandLines({ t, ek, proxy, database }: Stage): Promise<void> {
  for (const name of ['mysql', 'mariadb'] satisfies ToolName[]) {
    if (name === 'mysql' && ek.sandbox.flavor === 'mariadb') continue; // lacks mysql_native_password since 9.0
    if (name === 'mariadb' && ek.sandbox.flavor === 'mysql') continue; // its caching_sha2 plug-in is another package
    await t.test(`the ${name} command line gets in, with TLS and without`, async () => {
      const tool = await findTool(name);
      const [program = '', ...first] = tool.argv0;
      const { user, password } = ek.sandbox.app;
      const noTls = name === 'mysql' ? ['--ssl-mode=DISABLED', '--get-server-public-key'] : ['--skip-ssl'];
      const withTls = name === 'mysql' ? ['--ssl-mode=REQUIRED'] : ['--ssl'];
      for (const mode of [noTls, withTls]) {
        const where = ['--no-defaults', '-h127.0.0.1', `-P${proxy}`, `-u${user}`, ...mode, '-N', database];
        const { stdout } = await run(program, [...first, ...where, '-e', 'SELECT DATABASE(), 40+2'], {
          env: { ...process.env, ...tool.env, MYSQL_PWD: password },
          timeout: 20_000,
        });
        assert.equal(stdout.trim(), `${database}\t42`);
        // Over TLS, too, it is told of a lost connection, which drivers know, and not of broken TLS.
        const words = [...first, ...where, '-n', '-e', 'SELECT CONNECTION_ID(); SELECT SLEEP(20)'];
        assert.match(
          await killed(spawn(program, words, { env: { ...process.env, ...tool.env, MYSQL_PWD: password } }), ek),
          /ERROR 2013 /,
        );
      }
    });
  }
}

/** What a client says that is killed in the middle of its second statement; its first one told its id. */
async function killed(client: ChildProcessWithoutNullStreams, ek: Evenkeel): Promise<string> {
  let stderr = '';
  client.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const ended = new Promise((resolve) => client.on('close', resolve));
  const id = await new Promise<string>((resolve) =>
    client.stdout.once('data', (chunk: Buffer) => resolve(chunk.toString())),
  );
  const killer = await mysql.createConnection(ek.login());
  await killer.query(`KILL ${id.trim()}`);
  await killer.end();
  await ended;
  return stderr;
}

async function configured({ t, ek, flavor, admin }: Stage): Promise<void> {
  await admin.query(`CREATE USER listed@'%' IDENTIFIED BY 's3cret'`);
  if (flavor === 'mariadb') await admin.query(`CREATE USER ed@'%' ${identified(flavor, 'ed25519', 'sïgned')}`);
  const users = `users:
  - { name: listed, password: s3cret }
  - { name: ed, password: "sïgned" }
  - { name: far, password: s3cret, hosts: ["10.9.8.7"] }
limits: { maxClients: 2, handshakeTimeout: 1s }`;
  const certificate = await ownCertificate(ek);
  const config = `${users}\ntls: { cert: ${certificate.certFile}, key: ${certificate.keyFile}, minVersion: TLSv1.3 }`;
  await inFrontOf(
    ek.sandbox,
    { nodes: 1, replication: 'async', recovery: 'observe', workers: 1, config },
    async (listed) => {
      const port = listed.ports.writer;
      await t.test('users of the configuration get in, others do not', async () => {
        assert.deepEqual(await attempt(port, { user: 'listed', password: 's3cret' }), {
          user: 'listed@%',
          schema: null,
        });
        for (const [user, password] of [
          ['listed', 'wrong'],
          ['plain', 'pässwörd 日本'],
          ['far', 's3cret'],
        ] as const) {
          const outcome = await attempt(port, { user, password });
          assert.equal('errno' in outcome && outcome.errno, 1045);
        }
      });
      if (flavor === 'mariadb') {
        await t.test('an ed25519 account gets in by the password in the configuration', async () => {
          assert.deepEqual(await attempt(port, { user: 'ed', password: 'sïgned' }), { user: 'ed@%', schema: null });
          const c = await mariadb.createConnection({ host: '127.0.0.1', port, user: 'ed', password: 'sïgned' });
          assert.equal((await c.query('SELECT 40+2 AS n'))[0].n, 42);
          await c.end();
        });
      }
      await t.test("the configuration's own certificate is shown, and its minimum version kept", async () => {
        const ssl = { ca: certificate.cert, rejectUnauthorized: true, verifyIdentity: false };
        const outcome = await attempt(port, { user: 'listed', password: 's3cret', ssl });
        assert.deepEqual(outcome, { user: 'listed@%', schema: null });
        assert.match(await tlsVersion(port, 'TLSv1.2'), /^refused/);
        assert.match(await tlsVersion(port, 'TLSv1.3'), /^TLSv1\.3$/);
      });
      await t.test('one client too many is told so, and the next after one left gets in', async () => {
        const first = await RawClient.login({ port, user: 'listed', password: 's3cret' });
        const second = await RawClient.login({ port, user: 'listed', password: 's3cret' });
        const third = await attempt(port, { user: 'listed', password: 's3cret' });
        assert.deepEqual(third, { errno: 1040, sqlState: '08004', message: 'Too many connections' });
        first.close();
        await until(
          'room for a client',
          5000,
          async () => 'user' in (await attempt(port, { user: 'listed', password: 's3cret' })),
        );
        second.close();
        await until('both to be gone', 5000, async () => (await listed.status()).endpoints[0]?.clients === 0);
      });
      await t.test('a client that does not log in is sent away in time, with the reason', async () => {
        const client = await RawClient.open(port);
        await client.greet();
        await assert.rejects(client.answer(), (error) => error instanceof ServerSaid && error.err.errno === 1159);
        assert.equal(await client.packetOrEnd(), null);
      });
    },
  );
  await t.test('where no account is for the client’s host, it is told so instead of a greeting', async () => {
    const far = 'users: [{ name: far, password: s3cret, hosts: ["10.9.8.7"] }]';
    await inFrontOf(
      ek.sandbox,
      { nodes: 1, replication: 'async', recovery: 'observe', workers: 1, config: far },
      async (alone) => {
        const outcome = await attempt(alone.ports.writer, { user: 'far', password: 's3cret' });
        assert.equal('errno' in outcome && outcome.errno, 1130);
      },
    );
  });
}

async function ownCertificate(ek: Evenkeel): Promise<{ cert: string; certFile: string; keyFile: string }> {
  const { cert, private: key } = await generate([{ name: 'commonName', value: 'shop.example' }], { keySize: 2048 });
  const certFile = join(ek.dir, 'own-cert.pem');
  const keyFile = join(ek.dir, 'own-key.pem');
  await writeFile(certFile, cert);
  await writeFile(keyFile, key, { mode: 0o600 });
  return { cert, certFile, keyFile };
}
