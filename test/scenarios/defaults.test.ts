// SET GLOBAL, through Evenkeel or past it, means what it means at a server: who logs in behind it has the new value, who is there keeps
// the old one, whichever server connections there are and whichever worker has them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise';
import { until, withEvenkeel } from './harness/index.ts';

const CLIENTS = 6;

for (const flavor of ['mysql', 'mariadb'] as const) {
  const isolation = flavor === 'mysql' ? 'transaction_isolation' : 'tx_isolation';
  const LOOK = `SELECT CONCAT_WS(' ', @@group_concat_max_len, @@time_zone, @@${isolation}) AS had`;

  async function had(connection: Connection): Promise<string> {
    const [rows] = await connection.query<RowDataPacket[]>(LOOK);
    return String(rows[0]?.['had']);
  }

  test(`${flavor}: a SET GLOBAL counts for who logs in behind it, and for nobody else`, {
    timeout: 60_000,
  }, async () => {
    await withEvenkeel({ flavor, replication: 'async', nodes: 1, workers: 2 }, async (ek) => {
      const open: Connection[] = [];
      const connect = async (options: mysql.ConnectionOptions): Promise<Connection> => {
        const connection = await mysql.createConnection(options);
        open.push(connection);
        return connection;
      };
      const clients = () => Promise.all(Array.from({ length: CLIENTS }, () => connect(ek.login())));
      try {
        const { user, password } = ek.direct(await ek.primary());
        const admin = await connect({ ...ek.login(), user, password });
        const old = await clients();
        const before = await had(admin);
        assert.notEqual(before, '4321 +02:00 READ-COMMITTED');
        for (const one of old) assert.equal(await had(one), before);
        await old[0]?.query("SET time_zone = '+03:00'");
        await assert.rejects(old[1]?.query('SET GLOBAL group_concat_max_len = 4000') ?? Promise.resolve(), {
          errno: 1227,
        });
        await assert.rejects(admin.query("SET GLOBAL time_zone = 'nowhere'"), { errno: 1298 });

        await admin.query("SET GLOBAL group_concat_max_len = 4321, @@global.time_zone = '+02:00'");
        await admin.query('SET GLOBAL TRANSACTION ISOLATION LEVEL READ COMMITTED');
        // The other worker hears of it a moment later.
        await until('new logins to have the new values', 5_000, async () => {
          const each = await Promise.all((await clients()).map(had));
          return each.every((one) => one === '4321 +02:00 READ-COMMITTED');
        });
        const own = before.replace(/ \S+ /, ' +03:00 ');
        for (let times = 0; times < 3; times++) {
          const kept = await Promise.all([admin, ...old].map(had));
          assert.deepEqual(kept, [before, own, ...Array.from({ length: CLIENTS - 1 }, () => before)]);
        }
        await admin.query('SET SESSION time_zone = DEFAULT');
        assert.equal(await had(admin), before.replace(/ \S+ /, ' +02:00 '));
      } finally {
        for (const connection of open) connection.destroy();
      }
    });
  });

  test(`${flavor}: so does one at the primary itself, which is noticed within ten seconds`, {
    timeout: 60_000,
  }, async () => {
    await withEvenkeel({ flavor, replication: 'async', nodes: 1, workers: 2 }, async (ek) => {
      const open: Connection[] = [];
      const clients = async (): Promise<Connection[]> => {
        const each = await Promise.all(Array.from({ length: CLIENTS }, () => mysql.createConnection(ek.login())));
        open.push(...each);
        return each;
      };
      try {
        const old = await clients();
        const [before = ''] = await Promise.all(old.map(had));
        const direct = await mysql.createConnection(ek.direct(await ek.primary()));
        open.push(direct);
        // Evenkeel has looked once.
        await setTimeout(1000);
        await direct.query("SET GLOBAL group_concat_max_len = 4321, time_zone = '+02:00'");
        await direct.query('SET GLOBAL TRANSACTION ISOLATION LEVEL READ COMMITTED');
        assert.deepEqual(
          await Promise.all(old.map(had)),
          Array.from(old, () => before),
        );
        await until('new logins to have the new values', 15_000, async () => {
          const each = await Promise.all((await clients()).map(had));
          return each.every((one) => one === '4321 +02:00 READ-COMMITTED');
        });
        for (let times = 0; times < 3; times++) {
          assert.deepEqual(
            await Promise.all(old.map(had)),
            Array.from(old, () => before),
          );
        }
      } finally {
        for (const connection of open) connection.destroy();
      }
    });
  });
}
