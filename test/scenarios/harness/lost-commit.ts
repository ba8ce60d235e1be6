// A COMMIT that is on its way to the primary and never executed: its connection is killed while a global lock holds it back.
import mysql, { type RowDataPacket } from 'mysql2/promise';
import type { Evenkeel } from './evenkeel.ts';
import { until } from './until.ts';

/** What `commit` comes to, which sends the one COMMIT that is under way. */
export async function losesCommit<T>(evenkeel: Evenkeel, commit: () => Promise<T>): Promise<T> {
  const locker = await mysql.createConnection(evenkeel.direct(await evenkeel.primary()));
  let told: Promise<T>;
  try {
    await locker.query('FLUSH TABLES WITH READ LOCK');
    told = commit();
    await until('the COMMIT to be lost', 10_000, async () => {
      const [rows] = await locker.query<RowDataPacket[]>('SHOW FULL PROCESSLIST');
      const waits = rows.filter((row) => /commit|ledger/i.test(String(row['Info'])) && row['Id'] !== locker.threadId);
      for (const row of waits) await locker.query(`KILL ${row['Id']}`);
      return waits.length > 0;
    });
  } finally {
    locker.destroy();
  }
  return told;
}
