// One short connection to one server as the admin, for `check` and for what `start` looks at first.
import type { Connection, ConnectionOptions } from 'mysql2/promise';
import type { ClusterConfig } from '../../config/types.ts';
import { type NodeAddress, splitAddress } from '../../messages/index.ts';
import { printable } from '../output.ts';

export type Looked<T> =
  | { state: 'seen'; node: NodeAddress; value: T }
  | { state: 'unreachable'; node: NodeAddress; error: string }
  /** It answers, but does not let the account in; with the server's error number. */
  | { state: 'denied'; node: NodeAddress; errno: number; error: string };

function tlsOptions(cluster: ClusterConfig): Pick<ConnectionOptions, 'ssl'> {
  const { mode, ca } = cluster.serverTls;
  if (mode === 'off' || mode === 'preferred' || mode === 'as-client') return {};
  const verify = mode === 'verify-ca' || mode === 'verify-identity';
  return {
    ssl: {
      rejectUnauthorized: verify,
      verifyIdentity: mode === 'verify-identity',
      ...(ca === undefined ? {} : { ca }),
    },
  };
}

/** Connects, runs `work`, disconnects. Never rejects. */
export async function look<T>(
  cluster: ClusterConfig,
  node: NodeAddress,
  timeoutMs: number,
  work: (connection: Connection) => Promise<T>,
): Promise<Looked<T>> {
  const { default: mysql } = await import('mysql2/promise');
  try {
    const connection = await mysql.createConnection({
      ...splitAddress(node),
      user: cluster.admin.user,
      password: cluster.admin.password,
      connectTimeout: timeoutMs,
      ...tlsOptions(cluster),
    });
    // A server that goes away meanwhile is told by the statement that fails.
    connection.on('error', () => {});
    try {
      return { state: 'seen', node, value: await work(connection) };
    } finally {
      connection.destroy();
    }
  } catch (error) {
    const { errno, code, message } = error as { errno?: number; code?: string; message?: string };
    const text = printable(message || code || 'no answer');
    // Other numbers are the system's.
    const denied = typeof errno === 'number' && errno >= 1000 && errno < 20_000;
    return denied ? { state: 'denied', node, errno, error: text } : { state: 'unreachable', node, error: text };
  }
}
