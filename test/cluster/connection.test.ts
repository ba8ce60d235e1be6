// Control connections: every deadline holds, and nothing secret stands in an error.
import assert from 'node:assert/strict';
import net from 'node:net';
import { test } from 'node:test';
import mysql from 'mysql2';
import { ConnectionError, ControlConnection, reachOf } from '../../src/cluster/connection.ts';
import { joinAddress, splitAddress } from '../../src/messages/index.ts';

/** A server that does `greet` with every connection, for as long as `use` runs. */
async function withServer(greet: (socket: net.Socket) => void, use: (node: string) => Promise<void>): Promise<void> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    greet(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  try {
    await use(`127.0.0.1:${address.port}`);
  } finally {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  }
}

async function failure(node: string): Promise<ConnectionError> {
  const settings = { node, user: 'u', password: 'very-secret', tls: { mode: 'off' } } as const;
  const error: unknown = await ControlConnection.open(settings, 300).then(
    (connection) => connection.close(),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof ConnectionError);
  assert.ok(!JSON.stringify([error, error.message]).includes('very-secret'));
  return error;
}

test('addresses with names, IPv4, IPv6 and without a port are split and joined', () => {
  assert.deepEqual(splitAddress('db1:3307'), { host: 'db1', port: 3307 });
  assert.deepEqual(splitAddress('db1'), { host: 'db1', port: 3306 });
  assert.deepEqual(splitAddress('[::1]:3307'), { host: '::1', port: 3307 });
  assert.deepEqual(splitAddress('fe80::1'), { host: 'fe80::1', port: 3306 });
  assert.equal(joinAddress('::1', 3307), '[::1]:3307');
  assert.equal(joinAddress('db1', 3306), 'db1:3306');
});

test('a port that nobody listens on refuses', async () => {
  let node = '';
  await withServer(
    () => {},
    async (address) => {
      node = address;
    },
  );
  const error = await failure(node);
  assert.equal(error.code, 'refused');
  assert.equal(reachOf(error).state, 'refused');
});

test('a server that accepts and says nothing is silent, and we wait no longer than was said', async () => {
  await withServer(
    () => {},
    async (node) => {
      const error = await failure(node);
      assert.equal(error.code, 'timeout');
      assert.equal(reachOf(error).state, 'silent');
    },
  );
});

test('a server that closes before it greets is silent, not refused', async () => {
  await withServer(
    (socket) => socket.end(),
    async (node) => assert.equal(reachOf(await failure(node)).state, 'silent'),
  );
});

test('an error packet in place of a greeting (too many connections) is a denial by a living server', async () => {
  const text = 'Too many connections';
  const packet = Buffer.concat([
    Buffer.from([3 + text.length, 0, 0, 0, 0xff, 0x10, 0x04]), // length, sequence, ERR, 1040
    Buffer.from(text),
  ]);
  await withServer(
    (socket) => socket.end(packet),
    async (node) => {
      const reach = reachOf(await failure(node));
      assert.deepEqual(reach.state === 'denied' && reach.errno, 1040);
    },
  );
});

test('garbage in place of a greeting ends the attempt with an error', async () => {
  await withServer(
    (socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'),
    async (node) => {
      await failure(node);
    },
  );
});

test('what waits for an answer fails at once where the connection ends', async () => {
  const server = mysql.createServer((connection) => {
    connection.on('error', () => {});
    connection.serverHandshake({
      protocolVersion: 10,
      serverVersion: '8.4.0',
      connectionId: 1,
      statusFlags: 2,
      characterSet: 45,
      capabilityFlags: 0xff_ffff,
      authCallback: (_: unknown, letIn: (error: null, refusal: null) => void) => letIn(null, null),
    });
    connection.on('query', () => connection.destroy());
  });
  await new Promise<void>((resolve) =>
    (server.listen as (port: number, host: string, done: () => void) => void).call(server, 0, '127.0.0.1', resolve),
  );
  const { port } = (server as unknown as { _server: net.Server })._server.address() as net.AddressInfo;
  try {
    const settings = { node: `127.0.0.1:${port}`, user: 'u', password: '', tls: { mode: 'off' } } as const;
    const connection = await ControlConnection.open(settings, 5_000);
    const told: string[] = [];
    connection.onClose = ({ code }) => told.push(code);
    const answers = [connection.query('SELECT 1', 3_600_000), connection.query('SELECT 2', 3_600_000)];
    const errors: unknown[] = (await Promise.allSettled(answers)).map((one) => one.status === 'rejected' && one.reason);
    assert.deepEqual(
      errors.map((error) => error instanceof ConnectionError && error.code),
      ['lost', 'lost'],
    );
    assert.deepEqual(told, ['lost']);
    await assert.rejects(connection.query('SELECT 3', 3_600_000), { code: 'lost' });
  } finally {
    await new Promise<void>((resolve) => server.close(() => resolve()));
  }
});
