// When a group itself was done with the death of a member, seen from outside and apart from Evenkeel: each survivor is
// asked every few milliseconds. A group's election is over when one takes writes and answers (it may have to apply what
// the old primary had confirmed first); a Galera cluster's, which elects nobody, when it has left the dead one behind.
import mysql, { type RowDataPacket } from 'mysql2/promise';
import { type Evenkeel, until } from './cluster.ts';

const POLL_MS = 5;
const DEADLINE_MS = 60_000;

const OVER = {
  group:
    'SELECT @@global.super_read_only = 0 AND COUNT(*) = 1 AS ended FROM performance_schema.replication_group_members' +
    " WHERE MEMBER_ID = @@server_uuid AND MEMBER_ROLE = 'PRIMARY'",
  galera: (nodes: number) =>
    `SELECT VARIABLE_VALUE < ${nodes} AS ended FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'wsrep_cluster_size'`,
};

export type GroupKind = 'group' | 'galera';

/** Resolves with the time (milliseconds since 1970) at which the group without `victim` was in order again. */
export async function electionOver(
  evenkeel: Evenkeel,
  kind: GroupKind,
  victim: Awaited<ReturnType<Evenkeel['primary']>>,
): Promise<() => Promise<number>> {
  const survivors = evenkeel.sandbox.nodes.filter(({ name }) => name !== victim.name);
  const sql = kind === 'group' ? OVER.group : OVER.galera(evenkeel.sandbox.nodes.length);
  const connections = await Promise.all(survivors.map((node) => mysql.createConnection(evenkeel.direct(node))));
  let over = 0;
  const ask = async (connection: mysql.Connection): Promise<void> => {
    const giveUp = Date.now() + DEADLINE_MS;
    while (over === 0 && Date.now() < giveUp) {
      const [rows] = await connection.query<RowDataPacket[]>(sql);
      if (over === 0 && Number(rows[0]?.['ended']) === 1) {
        // A group's new primary answers this when it would answer a client.
        await connection.query('SELECT 1 FROM mysql.user LIMIT 1');
        over = Date.now();
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  };
  const asking = Promise.all(connections.map(ask)).finally(() => {
    for (const connection of connections) connection.destroy();
  });
  asking.catch(() => undefined); // told by whoever waits for it
  return async () => {
    await asking;
    await until('the end of the election', 1_000, () => over > 0);
    return over;
  };
}
