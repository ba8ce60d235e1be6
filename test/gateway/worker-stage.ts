// A whole worker between clients and a server that has transactions and nothing in them.
import { generateKeyPairSync } from 'node:crypto';
import type { TestContext } from 'node:test';
import mysql, { type Connection } from 'mysql2/promise';
import { pino } from 'pino';
import { GatewayWorker } from '../../src/gateway/gateway.ts';
import type { Flavor, InFlightMode } from '../../src/messages/index.ts';
import { freePorts } from '../../src/sandbox/index.ts';
import { ServerStatus } from '../../src/wire/index.ts';
import { type FakeConnection, FakeServer } from './fake-server.ts';

/** What the server says of a text with `fails` in it. */
export const DUPLICATE = { errno: 1062, sqlState: '23000', message: "Duplicate entry '1' for key 'PRIMARY'" };

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const rsaKey = privateKey.export({ type: 'pkcs1', format: 'pem' });

export interface Stage<Name extends string> {
  server: FakeServer;
  clients: Record<Name, Connection>;
}

interface Endpoint<Name extends string> {
  name: Name;
  cluster: string;
  inFlight: InFlightMode;
}

/** A worker with these endpoints, in front of a server that has transactions and nothing in them, and is each cluster's. */
export async function staged<Name extends string>(
  t: TestContext,
  flavor: Flavor,
  endpoints: readonly Endpoint<Name>[],
): Promise<Stage<Name>> {
  const server = new FakeServer();
  const open = new WeakSet<FakeConnection>();
  server.answer = (command, connection) => {
    // Behind the count of query attributes, where there is one.
    const text = command.toString('latin1', command[1] === 0 ? 3 : 1);
    if (/^(BEGIN$|START)/.test(text)) open.add(connection);
    if (/^(COMMIT|ROLLBACK|BEGIN NOT ATOMIC)/.test(text)) open.delete(connection);
    if (text.includes('fails')) return DUPLICATE;
    return ServerStatus.AUTOCOMMIT | (open.has(connection) ? ServerStatus.IN_TRANS : 0);
  };
  if (flavor === 'mariadb') server.mariadbCapabilities = 0xff;
  await server.listen();
  const clusters = [...new Set(endpoints.map(({ cluster }) => cluster))];
  const ports = await freePorts(endpoints.length);
  const worker = new GatewayWorker({
    worker: 0,
    workers: 1,
    log: pino({ level: 'silent' }),
    // Whatever is said against the server, it is well.
    send: (message) => {
      if (message.type !== 'evidence') return;
      const { cluster, evidence } = message;
      setImmediate(() => worker.onMessage({ type: 'reviewed', cluster, evidence, healthy: true }));
    },
    controlled: () => true,
    nowMs: () => performance.now(),
    settings: {
      rules: [],
      endpoints: endpoints.map((endpoint, at) => ({
        ...endpoint,
        host: '127.0.0.1',
        port: ports[at] ?? 0,
        route: { kind: 'primary' },
      })),
      tls: { cert: '', key: '', minVersion: 'TLSv1.2' },
      rsaKey,
      serverTls: Object.fromEntries(clusters.map((cluster) => [cluster, { mode: 'off' }])),
      hold: { timeoutMs: 5000, maxStatements: 100, maxBytes: 1 << 20 },
      replay: { maxStatements: 1000, maxBytes: 1 << 20 },
      pool: {
        maxPerNode: 1,
        maxConnecting: 1,
        connectRate: 1000,
        connectTimeoutMs: 5000,
        idleTimeoutMs: 60_000,
        minPerAccount: 0,
        maxLifetimeMs: 600_000,
        maxPreparedPerConnection: 100,
        pipelining: true,
      },
      limits: {
        maxClients: 10,
        maxPacketBytes: 1 << 20,
        handshakeTimeoutMs: 5000,
        maxUnauthenticated: 10,
        clientBufferBytes: 1 << 20,
      },
      drainTimeoutMs: 1000,
      logLevel: 'silent',
    },
  });
  const account = { user: 'app', host: '%', plugin: 'mysql_native_password', stored: '', encoding: 'text' as const };
  const rest = { locked: false, passwordExpired: false, requireTls: false };
  const { node } = server;
  const primary = { node, role: 'primary' as const, serving: true, lagMs: 0 };
  const greeting = { serverVersion: flavor === 'mysql' ? '9.7.0' : '10.11.8-MariaDB', collation: 45 };
  for (const cluster of clusters) {
    worker.onMessage({ type: 'accounts', cluster, accounts: [{ ...account, ...rest }] });
    const route = { cluster, epoch: 1, flavor, ...greeting, primary: node, gate: { state: 'open' as const } };
    worker.onMessage({ type: 'routes', version: 1, clusters: [{ ...route, nodes: [primary] }] });
    worker.witnessed.learn({ cluster, user: 'app', worker }, 'able', '');
  }
  await worker.listen();
  const clients = {} as Record<Name, Connection>;
  t.after(async () => {
    for (const client of Object.values<Connection>(clients)) client.destroy();
    worker.close();
    await server.close();
  });
  for (const [at, { name }] of endpoints.entries()) {
    clients[name] = await mysql.createConnection({ host: '127.0.0.1', port: ports[at] ?? 0, user: 'app' });
  }
  return { server, clients };
}
