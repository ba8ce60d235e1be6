// Reading into buffers of our own relies on how this runtime's sockets keep their `onread` option: these tests fail where
// a new one keeps it otherwise (Evenkeel then reads as before, and costs more).
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, describe, it } from 'node:test';
import { giveBack, READ_BYTES, ReadBuffer, readIntoShared, release, retain } from '../../src/gateway/read-buffer.ts';

async function pair(): Promise<{ accepted: net.Socket; peer: net.Socket }> {
  const server = net.createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const peer = net.connect((server.address() as net.AddressInfo).port, '127.0.0.1');
  const [accepted] = (await once(server, 'connection')) as [net.Socket];
  server.close();
  return { accepted, peer };
}

describe('an accepted socket that reads into the shared buffer', () => {
  const open: net.Socket[] = [];
  after(() => open.forEach((socket) => socket.destroy()));

  async function reading(): Promise<{ accepted: net.Socket; peer: net.Socket; got: () => Buffer }> {
    const both = await pair();
    open.push(both.accepted, both.peer);
    const chunks: Buffer[] = [];
    both.accepted.resume();
    assert.equal(
      readIntoShared(both.accepted, (bytes) => chunks.push(Buffer.from(bytes))),
      true,
    );
    return { ...both, got: () => Buffer.concat(chunks) };
  }

  it('hands every byte to the callback, in order, and tells the end', async () => {
    const { accepted, peer, got } = await reading();
    const sent = Buffer.alloc(5 * READ_BYTES + 17, 'evenkeel, one address for a cluster. ');
    peer.end(sent);
    await once(accepted, 'end');
    assert.ok(got().equals(sent));
  });

  it('makes no data event', async () => {
    const { accepted, peer, got } = await reading();
    accepted.on('data', () => assert.fail('a data event'));
    peer.end('x');
    await once(accepted, 'end');
    assert.equal(got().toString(), 'x');
  });

  it('reads nothing while it is paused, and all of it after', async () => {
    const { accepted, peer, got } = await reading();
    peer.write('first');
    while (got().length === 0) await once(setTurn(), 'turn');
    accepted.pause();
    await new Promise<void>((resolve) => peer.write('second', () => resolve()));
    for (let turns = 0; turns < 20; turns++) await once(setTurn(), 'turn');
    assert.equal(got().toString(), 'first');
    accepted.resume();
    peer.end();
    await once(accepted, 'end');
    assert.equal(got().toString(), 'firstsecond');
  });

  it('is not made of one that has bytes nobody took', async () => {
    const { accepted, peer } = await pair();
    open.push(accepted, peer);
    peer.write('early');
    await once(accepted, 'readable');
    assert.equal(
      readIntoShared(accepted, () => assert.fail('taken twice')),
      false,
    );
    assert.equal(String(accepted.read()), 'early');
  });

  function setTurn(): EventTarget {
    const target = new EventTarget();
    setImmediate(() => target.dispatchEvent(new Event('turn')));
    return target;
  }
});

describe('the buffer of one connection', () => {
  it('is read into again as long as nothing of it is still to be written', () => {
    const buffer = new ReadBuffer();
    const first = buffer.next();
    retain([Buffer.alloc(10)]);
    assert.equal(buffer.next(), first);
  });

  it('is left to what is still to be written, once', () => {
    const buffer = new ReadBuffer();
    const first = buffer.next();
    retain([first.subarray(100, 200)]);
    const second = buffer.next();
    assert.notEqual(second.buffer, first.buffer);
    assert.equal(buffer.next(), second);
  });

  it('is given back when the last of its writers has written, and nobody reads into it any more', () => {
    const buffer = new ReadBuffer();
    const first = buffer.next();
    const one = retain([first.subarray(0, 10), first.subarray(20, 30)]);
    const other = retain([first.subarray(10, 20)]);
    buffer.next();
    giveBack(one);
    assert.equal(first.length, READ_BYTES);
    giveBack(other);
    assert.equal(first.length, 0);
  });

  it('is not given back while it is read into, whoever has written', () => {
    const first = new ReadBuffer().next();
    giveBack(retain([first.subarray(0, 10)]));
    assert.equal(first.length, READ_BYTES);
  });
});

describe('what has been written and is looked at no more', () => {
  it('is free at once where nothing else lies in its memory', () => {
    const alone = Buffer.allocUnsafeSlow(100);
    release(alone);
    assert.equal(alone.length, 0);
    const part = Buffer.allocUnsafeSlow(100).subarray(0, 99);
    release(part);
    assert.equal(part.length, 99);
  });
});
