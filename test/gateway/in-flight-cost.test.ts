// What it costs that writes in flight are kept: a whole worker between clients and a server that counts how often commands
// reach it (what is sent together counts once: the server is waited for once), and which numbers are chosen.
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import mysql, { type Connection } from 'mysql2/promise';
import { pino } from 'pino';
import { GatewayWorker } from '../../src/gateway/gateway.ts';
import type { Flavor, InFlightMode } from '../../src/messages/index.ts';
import { freePorts } from '../../src/sandbox/index.ts';
import { ServerStatus } from '../../src/wire/index.ts';
import { type FakeConnection, FakeServer } from './fake-server.ts';

const DUPLICATE = { errno: 1062, sqlState: '23000', message: "Duplicate entry '1' for key 'PRIMARY'" };

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const rsaKey = privateKey.export({ type: 'pkcs1', format: 'pem' });

interface Stage<Name extends string> {
  server: FakeServer;
  clients: Record<Name, Connection>;
}

interface Endpoint<Name extends string> {
  name: Name;
  cluster: string;
  inFlight: InFlightMode;
}

/** A worker with these endpoints, in front of a server that has transactions and nothing in them, and is each cluster's. */
async function staged<Name extends string>(
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
    send: () => {},
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

const MODES = (['report', 'exactly-once'] as const).map((mode) => ({ name: mode, cluster: 'c', inFlight: mode }));

/** How often the server was waited for. */
async function flights(
  { server, clients }: Stage<InFlightMode>,
  mode: InFlightMode,
  sqls: readonly string[],
): Promise<number> {
  const count = (): number => server.connections.reduce((sum, { flights: each }) => sum + each, 0);
  const before = count();
  for (const sql of sqls) {
    const told = clients[mode].query(sql);
    if (sql.includes('fails')) await assert.rejects(told, { errno: DUPLICATE.errno });
    else await told;
  }
  return count() - before;
}

for (const flavor of ['mysql', 'mariadb'] as const) {
  test(`${flavor}: a single write waits for the server once more, a transaction never`, async (t) => {
    const stage = await staged(t, flavor, MODES);
    const cases: Record<string, { sqls: readonly string[]; more: number }> = {
      'a write': { sqls: ['INSERT INTO t VALUES (1)'], more: 1 },
      'a write that fails': { sqls: ['INSERT INTO fails VALUES (1)', 'INSERT INTO t VALUES (1)'], more: 2 },
      'a transaction': { sqls: ['BEGIN', 'UPDATE t SET n = 1', 'INSERT INTO t VALUES (2)', 'COMMIT'], more: 0 },
      'a transaction with options': { sqls: ['START TRANSACTION READ WRITE', 'DELETE FROM t', 'COMMIT'], more: 0 },
      'one that ends by ROLLBACK': { sqls: ['BEGIN', 'UPDATE t SET n = 1', 'ROLLBACK'], more: 0 },
      'one that begins before the last has ended': {
        sqls: ['BEGIN', 'UPDATE t SET n = 1', 'BEGIN', 'UPDATE t SET n = 2', 'COMMIT'],
        more: 1,
      },
    };
    for (const [name, { sqls, more }] of Object.entries(cases)) {
      // The first of each kind finds the connection as another has left it.
      for (const mode of ['report', 'exactly-once'] as const) await flights(stage, mode, sqls);
      const plain = await flights(stage, 'report', sqls);
      await flights(stage, 'exactly-once', sqls);
      assert.equal((await flights(stage, 'exactly-once', sqls)) - plain, more, name);
    }
  });
}

test('mysql: what two clusters of one Evenkeel are given are numbers without holes in each', async (t) => {
  const inFlight = 'exactly-once';
  const { server, clients } = await staged(t, 'mysql', [
    { name: 'here', cluster: 'one', inFlight },
    { name: 'there', cluster: 'other', inFlight },
  ]);
  const chosen = (): string[] =>
    server.connections
      .flatMap(({ commands }) => commands.map((command) => command.toString('latin1')))
      .flatMap((text) => /gtid_next='([^:']+:\d+)'/.exec(text)?.[1] ?? []);
  const by: string[][] = [];
  for (const name of ['here', 'there', 'here', 'there'] as const) {
    const before = new Set(chosen());
    await clients[name].query('INSERT INTO t VALUES (1)');
    by.push(chosen().filter((gtid) => !before.has(gtid)));
  }
  const [here = '', there = ''] = by.flat().map((gtid) => gtid.split(':')[0]);
  assert.notEqual(here, there);
  assert.deepEqual(by, [[`${here}:1`], [`${there}:1`], [`${here}:2`], [`${there}:2`]]);
});
