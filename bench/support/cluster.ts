// The clusters that benchmarks run against: the harness of the scenario tests, which ties everything it starts to the
// life of this process, and what benchmarks ask of it beyond that.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import mysql, { type RowDataPacket } from 'mysql2/promise';
import type { RecoveryRecord } from '../../src/recovery/types.ts';
import type { Evenkeel } from '../../test/scenarios/harness/index.ts';

export { addressOf, type Evenkeel, inFrontOf, until, withEvenkeel } from '../../test/scenarios/harness/index.ts';

/**
 * As `evenkeel switchover` orders it, without the start of another process, which would take processor time from those
 * that are measured. Throws where it was not done.
 */
export async function orderSwitchover(evenkeel: Evenkeel, to: string): Promise<RecoveryRecord> {
  const token = readFileSync(join(evenkeel.dir, '.evenkeel', 'token'), 'utf8').trim();
  const cluster = (await evenkeel.status()).clusters[0]?.name ?? '';
  const answer = await evenkeel.fetch(`/api/v1/clusters/${cluster}/switchover`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ to }),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`the switchover was not begun (${answer.status}): ${text.slice(0, 300)}`);
  const record = JSON.parse(text) as RecoveryRecord;
  if (record.outcome !== 'done') throw new Error(`the switchover: ${record.outcome}, ${record.reason}`);
  return record;
}

/** e.g. `9.7.4` or `10.11.19-MariaDB-…`. */
export async function serverVersion(evenkeel: Evenkeel): Promise<string> {
  const connection = await mysql.createConnection(evenkeel.login());
  try {
    const [rows] = await connection.query<RowDataPacket[]>('SELECT VERSION() AS version');
    return String(rows[0]?.['version']);
  } finally {
    connection.destroy();
  }
}
