// What the MariaDB connector's own tests ask of a server, and other drivers' programs do not: accounts whose password has
// expired, executions that come before their statement is known, clients that leave in the middle of an answer.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import mariadb from 'mariadb';
import mysql from 'mysql2/promise';
import { application, directly, type Evenkeel, until, withEvenkeel } from './harness/index.ts';

const PASSWORD = 'x1Y!aaaa';

type Connected = Awaited<ReturnType<typeof mariadb.createConnection>>;

function connect(ek: Evenkeel, user: string, more: object = {}): Promise<Connected> {
  const { host, port, database } = ek.login();
  const login = { host, port, database, user, password: PASSWORD, allowPublicKeyRetrieval: true, connectTimeout: 8000 };
  return mariadb.createConnection({ ...login, ...more });
}

async function root(ek: Evenkeel, ...sqls: string[]): Promise<void> {
  await directly(ek, await ek.primary(), ...sqls);
}

async function expiredAccounts(ek: Evenkeel): Promise<void> {
  const isMySql = ek.sandbox.flavor === 'mysql';
  await root(
    ek,
    `CREATE USER 'old'@'%' IDENTIFIED BY '${PASSWORD}' PASSWORD EXPIRE`,
    "GRANT ALL ON app.* TO 'old'@'%'",
  );
  const other = await application(ek);
  const from = ek.output.length;
  // MySQL's server connections cannot be set up for it, so that it can change its password past Evenkeel only.
  const more = { permitConnectionWhenExpired: true };
  // An account's very first login may hang with this driver (docs/drivers.md).
  await connect(ek, 'old', { ...more, connectTimeout: 1500 }).then(
    (first) => first.end(),
    () => {},
  );
  const client = await connect(ek, 'old', more);
  await assert.rejects(client.query('SELECT 1'), { errno: 1820 });
  await other.query('SELECT 1');
  assert.doesNotMatch(ek.output.slice(from), /evidence against a node|statements are held/);
  if (!isMySql) {
    await client.query(`SET PASSWORD = PASSWORD('${PASSWORD}2')`);
    assert.deepEqual(await client.query('SELECT DATABASE() AS it'), [{ it: ek.login().database }]);
  }
  client.destroy();
  other.destroy();
}

async function earlyExecutions(ek: Evenkeel): Promise<void> {
  const direct = { ...ek.direct(await ek.primary()), database: 'app', allowPublicKeyRetrieval: true };
  const { user, password } = ek.sandbox.app;
  const through = await connect(ek, user, { password });
  const past = await mariadb.createConnection(direct);
  for (const values of [[], [1], [1, 2]]) {
    const answers = [];
    for (const client of [through, past]) {
      answers.push(
        await client.execute('SELECT ? AS a, ? AS b', values).catch(({ errno }: { errno: number }) => ({ errno })),
      );
    }
    assert.deepEqual(answers[0], answers[1], String(values.length));
  }
  await through.end();
  await past.end();
}

async function leavers(ek: Evenkeel): Promise<void> {
  await root(ek, 'CREATE TABLE app.wide (n INT)', `INSERT INTO app.wide VALUES ${Array(1000).fill('(1)').join()}`);
  const admin = await mysql.createConnection(ek.direct(await ek.primary()));
  const running = async (): Promise<boolean> => {
    const [rows] = await admin.query<mysql.RowDataPacket[]>('SHOW PROCESSLIST');
    return rows.some((row) => String(row['Info']).startsWith("SELECT REPEAT('x'"));
  };
  const leaver = await application(ek);
  leaver.on('error', () => {});
  void leaver.query("SELECT REPEAT('x', 200) FROM wide a, wide b, wide c").catch(() => {});
  await until('it to run', 5000, running);
  await pause(300);
  leaver.destroy();
  await until('the server to stop', 8000, async () => !(await running()));
  await admin.end();
}

for (const flavor of ['mysql', 'mariadb'] as const) {
  test(`${flavor}: what one driver asks`, { timeout: 120_000 }, async (t) => {
    await withEvenkeel({ flavor, replication: 'async', nodes: 1, workers: 1 }, async (ek) => {
      await t.test('one whose password has expired is told so, and nobody else waits for it', () =>
        expiredAccounts(ek),
      );
      await t.test('an execution that is sent along with its statement is answered as by the server', () =>
        earlyExecutions(ek),
      );
      await t.test('the server does not go on for a client that left', () => leavers(ek));
    });
  });
}
