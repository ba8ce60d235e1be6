// Sessions that share server connections because there are fewer of these than clients: nobody sees another's schema.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import mysql from 'mysql2/promise';
import { withEvenkeel } from './harness/index.ts';

for (const flavor of ['mysql', 'mariadb'] as const) {
  test(`${flavor}: a session without a default schema never gets another's with its server connection`, async () => {
    const options = { flavor, replication: 'async', nodes: 1, workers: 1, config: 'pool: { maxPerNode: 2 }' } as const;
    await withEvenkeel(options, async (evenkeel) => {
      const login = evenkeel.login();
      const { host, port, user, password } = login;
      const schemaOf = async (connection: mysql.Connection): Promise<unknown> =>
        (await connection.query<mysql.RowDataPacket[]>('SELECT DATABASE() AS name'))[0][0]?.['name'];
      const withSchema = [await mysql.createConnection(login), await mysql.createConnection(login)];
      const without = [1, 2].map(() => mysql.createConnection({ host, port, user, password }));
      const all = [...withSchema, ...(await Promise.all(without))];
      for (let round = 0; round < 3; round++) {
        const seen: unknown[] = [];
        for (const connection of all) seen.push(await schemaOf(connection));
        assert.deepEqual(seen, [login.database, login.database, null, null]);
      }
      for (const connection of all) await connection.end();
    });
  });
}
