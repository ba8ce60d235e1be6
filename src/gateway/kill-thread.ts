// A KILL on the server itself, over a server connection of its own and with the victim's own account: every account
// may kill its own threads.
import type { Client } from './client.ts';
import type { GatewayWorker } from './gateway.ts';
import { runQuietly } from './quiet.ts';
import type { ServerConnection } from './server-connection.ts';

/** `done`: the server has been told, or cannot be. */
export function killThread(
  worker: GatewayWorker,
  victim: Client,
  link: ServerConnection,
  queryOnly: boolean,
  done: () => void,
): void {
  const sql = `KILL ${queryOnly ? 'QUERY' : 'CONNECTION'} ${link.threadId}`;
  link.killsUnderWay++;
  const connection = worker.backend(victim.cluster).connect(link.node, link.profile, {
    onReady: () => {
      runQuietly(connection, [{ packet: connection.query(sql), what: 'KILL' }], () => connection.quit());
    },
    onLost: (loss) => {
      link.killTold();
      done();
      if (loss.kind !== 'closed')
        worker.log.info({ node: link.node, reason: loss.kind }, 'KILL did not reach the server');
    },
  });
}
