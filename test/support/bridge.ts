// A server connection of the gateway's for its own quiet commands, over an ordinary driver: so that what it asks can be asked of a
// real server in a state that no client could bring about. Answers have one column and one row at most.
import type { Connection } from 'mysql2/promise';
import type { Exchange, ServerConnection } from '../../src/gateway/server-connection.ts';
import { frame } from '../../src/wire/index.ts';

/** A result of one column and one row. */
export function rowOf(value: string): Buffer[] {
  const row = Buffer.from([value.length, ...Buffer.from(value)]);
  return [frame(Buffer.from([1]), 1), frame(Buffer.alloc(24), 2), frame(row, 3)];
}

/** `answered`: what it has answered so far, in order. */
export function bridgeTo(connection: Connection): { link: ServerConnection; answered: string[] } {
  const answered: string[] = [];
  const answer = async (sql: string, exchange: Exchange): Promise<void> => {
    try {
      const [rows] = await connection.query<never>({ sql, rowsAsArray: true });
      const [row] = Array.isArray(rows) ? (rows as unknown[][]) : [];
      if (!Array.isArray(rows))
        exchange.ok({ affectedRows: 0n, insertId: 0n, status: 0, warnings: 0, info: '' } as never, []);
      else if (row !== undefined) for (const piece of rowOf(String(row[0]))) exchange.forward(piece);
    } catch (error) {
      const { errno = 0, message } = error as { errno?: number; message: string };
      exchange.error({ errno, sqlState: 'HY000', message }, true);
    }
    exchange.end();
    answered.push(sql);
  };
  let last = Promise.resolve();
  const link = {
    query: (sql: string) => Buffer.from(sql),
    send(packet: Buffer, exchange: Exchange) {
      const sql = packet.toString();
      last = last.then(() => answer(sql, exchange));
    },
    lose: () => undefined,
    state: { variables: new Map() },
  };
  return { link: link as unknown as ServerConnection, answered };
}
