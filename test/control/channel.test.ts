// The channel's server side against peers that do not keep to it.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Link, listenChannel } from '../../src/control/channel.ts';
import type { FromWorker } from '../../src/messages/index.ts';
import { temporaryDir } from './harness.ts';

async function channel() {
  const { dir, remove } = temporaryDir();
  const path = join(dir, 'c.sock');
  const links: Link[] = [];
  const messages: FromWorker[] = [];
  const closed = Promise.withResolvers<string>();
  const server = await listenChannel(path, {
    onLost: (error) => closed.reject(error),
    onLink: (link) => {
      links.push(link);
      link.onMessage = (message) => messages.push(message);
      link.onClose = (reason) => closed.resolve(reason);
    },
  });
  const socket = connect(path);
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  const close = async () => {
    socket.destroy();
    await server.close();
    remove();
  };
  return { socket, links, messages, closed: closed.promise, close };
}

test('messages may come in any pieces, and several at once', async () => {
  const { socket, messages, closed, close } = await channel();
  for (const piece of ['{"type":"lis', 'tening"}\n{"type":"ret', 'ired"}\n\n']) {
    socket.write(piece);
    await new Promise((resolve) => setImmediate(resolve));
  }
  socket.end();
  await closed;
  assert.deepEqual(messages, [{ type: 'listening' }, { type: 'retired' }]);
  await close();
});

for (const [what, bytes] of [
  ['garbage', 'hello\n'],
  ['a message of unknown type', '{"type":"configure"}\n'],
  ['something else than an object', '[1]\n'],
] as const) {
  test(`a peer that sends ${what} loses its connection`, async () => {
    const { socket, closed, messages, close } = await channel();
    socket.write(bytes);
    assert.match(await closed, /bad message from worker/);
    assert.deepEqual(messages, []);
    await close();
  });
}

test('a peer that never ends its line loses its connection at the bound', async () => {
  const { socket, closed, close } = await channel();
  const chunk = Buffer.alloc(1 << 20, 'x');
  for (let i = 0; i < 18; i++) socket.write(chunk);
  assert.match(await closed, /bad message from worker/);
  await close();
});

test('a peer that does not read loses its connection at the bound, and sending says so', async () => {
  const { socket, links, closed, close } = await channel();
  socket.pause();
  const [link] = links;
  assert.ok(link);
  const error = 'x'.repeat(4 << 20);
  let sent = 0;
  while (sent < 100 && link.send({ type: 'accounts', cluster: error, accounts: [] })) sent += 1;
  assert.ok(sent < 100);
  assert.match(await closed, /does not read/);
  assert.equal(link.send({ type: 'retire', drainMs: 0 }), false);
  await close();
});
