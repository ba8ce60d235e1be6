// Control connections: every deadline holds, and nothing secret stands in an error.
import assert from 'node:assert/strict';
import net from 'node:net';
import { test } from 'node:test';
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
