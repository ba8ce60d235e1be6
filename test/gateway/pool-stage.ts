// A pool of real connections to a fake server.
import { NodePool, type PoolLimits } from '../../src/gateway/pool.ts';
import { ServerConnection } from '../../src/gateway/server-connection.ts';
import type { FakeServer } from './fake-server.ts';

export function poolOn(
  server: FakeServer,
  maxConnections: number,
  nowMs: () => number = () => performance.now(),
  other: Partial<PoolLimits> = {},
): NodePool {
  const limits = {
    maxConnections,
    maxConnecting: 10,
    connectRate: 1000,
    maxWaiting: 100,
    idleTimeoutMs: 60_000,
    minConnections: 1,
    maxLifetimeMs: 600_000,
    ...other,
  };
  return new NodePool(server.node, limits, {
    nowMs,
    connect: (of, events) =>
      new ServerConnection({
        node: server.node,
        profile: of,
        tls: { mode: 'off' },
        connectTimeoutMs: 5000,
        maxPacketBytes: 1 << 20,
        flusher: null,
        ...events,
      }),
    setUp: (_, ready) => ready(),
    onIdleClosed: () => {},
    readInsertId: () => {},
    onProgress: () => {},
  });
}
