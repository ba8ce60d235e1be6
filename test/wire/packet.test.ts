// Framing, at every byte boundary: whatever way a stream is cut into chunks, the same packets come out of it, faults
// are faults before anything large is kept, and no bytes are lost or invented.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  commandPacket,
  type FramingFault,
  frame,
  HEADER_BYTES,
  MAX_FRAGMENT_BYTES,
  PacketReader,
} from '../../src/wire/packet.ts';
import fc, { seed } from '../seed.ts';

const MAX_BYTES = 64 * 1024 * 1024;

interface Read {
  packets: { payload: string; sequence: number; lastSequence: number; raw: string }[];
  fault: FramingFault | null;
  rest: string;
}

function read(chunks: Buffer[], maxBytes = MAX_BYTES): Read {
  const reader = new PacketReader(maxBytes);
  const packets: Read['packets'] = [];
  for (const chunk of chunks) {
    reader.push(chunk);
    for (let packet = reader.next(); packet !== null; packet = reader.next()) {
      const { payload, raw, sequence, lastSequence } = packet;
      packets.push({ payload: payload.toString('hex'), raw: raw.toString('hex'), sequence, lastSequence });
    }
  }
  return { packets, fault: reader.fault, rest: reader.takeRest().toString('hex') };
}

function header(length: number, sequence: number): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES);
  bytes.writeUIntLE(length, 0, 3);
  bytes[3] = sequence;
  return bytes;
}

const stream = Buffer.concat([
  commandPacket(0x03, 'SELECT 1'),
  frame(Buffer.alloc(0), 7),
  commandPacket(0x0e),
  frame(Buffer.from('ä'.repeat(40)), 255),
  header(9, 0),
  Buffer.from('half'),
]);

test('a stream of packets is read alike whole, one byte at a time, and cut at every one and two places', () => {
  const whole = read([stream]);
  assert.equal(whole.packets.length, 4);
  assert.deepEqual(
    whole.packets.map((packet) => packet.sequence),
    [0, 7, 0, 255],
  );
  assert.equal(whole.packets[0]?.payload, `03${Buffer.from('SELECT 1').toString('hex')}`);
  assert.equal(whole.rest, `09000000${Buffer.from('half').toString('hex')}`);
  assert.deepEqual(read([...stream].map((byte) => Buffer.from([byte]))), whole);
  for (let first = 0; first <= stream.length; first++) {
    assert.deepEqual(read([stream.subarray(0, first), stream.subarray(first)]), whole);
    for (let second = first; second <= stream.length; second += 5) {
      const chunks = [stream.subarray(0, first), stream.subarray(first, second), stream.subarray(second)];
      assert.deepEqual(read(chunks), whole);
    }
  }
});

test('what was pushed behind the last packet taken is handed back, once', () => {
  const reader = new PacketReader(MAX_BYTES);
  reader.push(Buffer.concat([commandPacket(0x0e), Buffer.from('client hello')]));
  assert.ok(reader.next());
  assert.equal(reader.takeRest().toString(), 'client hello');
  assert.equal(reader.bufferedBytes, 0);
  assert.equal(reader.takeRest().length, 0);
  reader.push(commandPacket(0x0e));
  assert.equal(reader.next()?.payload.toString('hex'), '0e');
});

test('a file is passed on as it comes, numbered anew, to its empty packet and no further, however its bytes are cut', () => {
  const packets = ['one', 'another', 'x'.repeat(300)].map((text) => frame(Buffer.from(text), 9));
  const file = Buffer.concat([...packets, frame(Buffer.alloc(0), 77)]);
  const behind = commandPacket(0x0e);
  const wanted = Buffer.concat([file, behind]);
  let number = 4;
  for (let at = 0; at < file.length; at += HEADER_BYTES + wanted.readUIntLE(at, 3)) wanted[at + 3] = number++ & 0xff;
  const pass = (cuts: number[]): void => {
    const bytes = Buffer.concat([file, behind]);
    const reader = new PacketReader(10);
    let next = 4;
    let ended = false;
    const passed: Buffer[] = [];
    for (const [index, from] of [0, ...cuts].entries()) {
      reader.push(bytes.subarray(from, cuts[index] ?? bytes.length));
      while (!ended) {
        const span = reader.nextSpan(() => next++);
        if (span === null) break;
        passed.push(span.raw);
        ended = span.ended;
        if (ended) assert.equal(span.lastSequence, 77);
      }
    }
    assert.ok(ended, `cut at ${cuts.join(', ')}`);
    assert.equal(Buffer.concat(passed).toString('hex'), wanted.subarray(0, file.length).toString('hex'));
    assert.equal(reader.next()?.payload.toString('hex'), '0e', `cut at ${cuts.join(', ')}`);
  };
  for (let first = 0; first <= file.length; first++) {
    pass([first]);
    for (let second = first; second <= file.length; second += 3) pass([first, second]);
  }
  pass(Array.from({ length: file.length + behind.length - 1 }, (_, at) => at + 1));
});

test('an empty fragment behind a full one ends a packet, not the file', () => {
  const full = frame(Buffer.alloc(MAX_FRAGMENT_BYTES, 1), 0);
  const reader = new PacketReader(MAX_BYTES);
  reader.push(Buffer.concat([full, frame(Buffer.alloc(0), 2)]));
  let number = 6;
  const span = reader.nextSpan(() => number++);
  assert.equal(span?.raw.length, full.length + HEADER_BYTES);
  assert.equal(span.ended, true);
  const headers = [0, HEADER_BYTES + MAX_FRAGMENT_BYTES, full.length];
  assert.deepEqual(
    headers.map((at) => span.raw[at + 3]),
    [6, 7, 8],
  );
  assert.equal(reader.nextSpan(null), null);
});

test('payloads around 16 MiB are framed in fragments and read back, with an empty tail where one is due', () => {
  for (const length of [MAX_FRAGMENT_BYTES - 1, MAX_FRAGMENT_BYTES, MAX_FRAGMENT_BYTES + 1, 2 * MAX_FRAGMENT_BYTES]) {
    const payload = Buffer.alloc(length, 0xa5);
    payload[length - 1] = 1;
    const raw = frame(payload, 254);
    const fragments = Math.floor(length / MAX_FRAGMENT_BYTES) + 1;
    assert.equal(raw.length, length + fragments * HEADER_BYTES);
    const reader = new PacketReader(MAX_BYTES);
    const last = raw.length - 1;
    for (const cut of [0, 3, 5, MAX_FRAGMENT_BYTES + 3, MAX_FRAGMENT_BYTES + 6, last]) {
      reader.push(raw.subarray(0, Math.min(cut, last)));
      assert.equal(reader.next(), null, `${length} bytes, cut at ${cut}`);
      reader.push(raw.subarray(Math.min(cut, last)));
      const packet = reader.next();
      assert.ok(packet, `${length} bytes, cut at ${cut}`);
      assert.ok(packet.payload.equals(payload));
      assert.ok(packet.raw.equals(raw));
      assert.equal(packet.sequence, 254);
      assert.equal(packet.lastSequence, (254 + fragments - 1) & 0xff);
      assert.equal(reader.bufferedBytes, 0);
    }
  }
});

test('a fragment out of sequence is a fault, and nothing comes after it', () => {
  const broken = Buffer.concat([header(MAX_FRAGMENT_BYTES, 0), Buffer.alloc(MAX_FRAGMENT_BYTES), header(0, 2)]);
  const { packets, fault } = read([broken, commandPacket(0x0e)]);
  assert.equal(fault, 'sequence');
  assert.deepEqual(packets, []);
});

test('an announced length above the bound is a fault before the packet is there', () => {
  assert.equal(read([header(1001, 0)], 1000).fault, 'packet-too-large');
  assert.equal(read([header(1000, 0)], 1000).fault, null);
  // The sum of the fragments counts.
  const twice = [header(MAX_FRAGMENT_BYTES, 0), Buffer.alloc(MAX_FRAGMENT_BYTES), header(2, 1)];
  assert.equal(read(twice, MAX_FRAGMENT_BYTES + 1).fault, 'packet-too-large');
  assert.equal(read([...twice, Buffer.from('ok')], MAX_FRAGMENT_BYTES + 2).packets.length, 1);
});

test('bytes that come after a fault are not kept', () => {
  const reader = new PacketReader(10);
  reader.push(header(11, 0));
  assert.equal(reader.next(), null);
  for (let i = 0; i < 100; i++) reader.push(Buffer.alloc(1000));
  assert.ok(reader.bufferedBytes <= HEADER_BYTES);
});

test('any bytes in any cut: no exception, none kept beyond what was pushed, packets that match their headers', () => {
  const chunk = fc.uint8Array({ maxLength: 40 });
  // Mostly short lengths, so that packets come to an end.
  const packetLike = fc
    .tuple(fc.nat(30), fc.nat(255), fc.uint8Array({ maxLength: 30 }))
    .map(([length, sequence, body]) => new Uint8Array(Buffer.concat([header(length, sequence), body])));
  fc.assert(
    fc.property(fc.array(fc.oneof(chunk, packetLike), { maxLength: 20 }), fc.nat(200), (chunks, maxBytes) => {
      const reader = new PacketReader(maxBytes);
      const taken: Buffer[] = [];
      let pushed = 0;
      for (const each of chunks) {
        reader.push(Buffer.from(each));
        pushed += each.length;
        for (let packet = reader.next(); packet !== null; packet = reader.next()) {
          assert.equal(packet.raw.readUIntLE(0, 3), packet.payload.length);
          assert.ok(packet.payload.length <= maxBytes);
          taken.push(packet.raw);
        }
        const takenBytes = taken.reduce((sum, raw) => sum + raw.length, 0);
        assert.ok(reader.bufferedBytes <= pushed - takenBytes);
      }
      if (reader.fault !== null) return;
      taken.push(reader.takeRest());
      assert.deepEqual(Buffer.concat(taken), Buffer.concat(chunks));
    }),
    { seed, numRuns: 1000 },
  );
});

test('whatever is framed is read back', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(1000), (payload, sequence) => {
      const reader = new PacketReader(300);
      reader.push(frame(Buffer.from(payload), sequence));
      const packet = reader.next();
      assert.deepEqual(packet?.payload, Buffer.from(payload));
      assert.equal(packet?.sequence, sequence & 0xff);
    }),
    { seed, numRuns: 300 },
  );
});
