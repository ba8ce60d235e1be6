// The compressed protocol's frames: against a peer of the tests' own that knows nothing but zlib and seven header bytes.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import zlib from 'node:zlib';
import { CompressedStream, compressionOf } from '../../src/wire/compressed.ts';
import { Capability, frame, PacketReader } from '../../src/wire/index.ts';
import fc, { seed } from '../seed.ts';

const MIB = 1024 * 1024;
const ALGORITHMS = ['zlib', 'zstd'] as const;
type Algorithm = (typeof ALGORITHMS)[number];

function stream(algorithm: Algorithm = 'zlib', maxBytes = 64 * MIB): CompressedStream {
  return new CompressedStream({ algorithm, level: 3, maxBytes });
}

function header(length: number, sequence: number, fullBytes: number): Buffer {
  const out = Buffer.alloc(7);
  out.writeUIntLE(length, 0, 3);
  out[3] = sequence;
  out.writeUIntLE(fullBytes, 4, 3);
  return out;
}

/** A client's frames: `bytes` cut at `sizes`, packed where that is wanted. */
function frames(algorithm: Algorithm, bytes: Buffer, sizes: number[], packed: boolean[], first = 0): Buffer {
  const out: Buffer[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const body = bytes.subarray(at, at + (sizes[i % sizes.length] as number));
    at += body.length;
    const pack = packed[i % packed.length] ?? true;
    const small = algorithm === 'zlib' ? zlib.deflateSync(body) : zlib.zstdCompressSync(body);
    out.push(
      header(pack ? small.length : body.length, (first + i) & 0xff, pack ? body.length : 0),
      pack ? small : body,
    );
  }
  return Buffer.concat(out);
}

async function readAll(from: CompressedStream): Promise<Buffer> {
  const out: Buffer[] = [];
  for (;;) {
    let ready = (): void => {};
    const waits = new Promise<void>((resolve) => (ready = resolve));
    const bytes = from.next(ready);
    if (bytes !== null) out.push(Buffer.from(bytes));
    else if (from.inflating) await waits;
    else return Buffer.concat(out);
  }
}

describe('reading', () => {
  for (const algorithm of ALGORITHMS) {
    test(`${algorithm}: whatever way frames are cut and packed, and chunks fall`, async () => {
      const arbitrary = fc.record({
        payloads: fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 5 }),
        sizes: fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 5 }),
        packed: fc.array(fc.boolean(), { minLength: 1, maxLength: 4 }),
        chunks: fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 5 }),
      });
      await fc.assert(
        fc.asyncProperty(arbitrary, async ({ payloads, sizes, packed, chunks }) => {
          const bytes = Buffer.concat(payloads.map((payload, i) => frame(Buffer.from(payload), i)));
          const wire = frames(algorithm, bytes, sizes, packed);
          const from = stream(algorithm);
          const got: Buffer[] = [];
          for (let at = 0, i = 0; at < wire.length; i++) {
            const size = chunks[i % chunks.length] as number;
            from.push(Buffer.from(wire.subarray(at, at + size)));
            at += size;
            got.push(await readAll(from));
          }
          assert.equal(from.fault, null);
          assert.equal(from.bufferedBytes, 0);
          assert.deepEqual(Buffer.concat(got), bytes);
        }),
        { seed, numRuns: 150 },
      );
    });
    test(`${algorithm}: a frame cut at every byte`, async () => {
      const bytes = frame(Buffer.alloc(500, 'abc'), 0);
      const wire = frames(algorithm, bytes, [300], [true]);
      for (let at = 0; at <= wire.length; at++) {
        const from = stream(algorithm);
        from.push(wire.subarray(0, at));
        const before = await readAll(from);
        from.push(wire.subarray(at));
        assert.deepEqual(Buffer.concat([before, await readAll(from)]), bytes);
      }
    });
    test(`${algorithm}: frames as large as they can be, beyond 16 MiB in all`, async () => {
      const bytes = frame(Buffer.alloc(20 * MIB, 'packet'), 0);
      const from = stream(algorithm);
      from.push(frames(algorithm, bytes, [0xffffff], [true]));
      assert.ok((await readAll(from)).equals(bytes));
    });
  }

  test('one frame is decoded at a time, when it is asked for', () => {
    const from = stream();
    from.push(frames('zlib', Buffer.concat([frame(Buffer.alloc(100), 0), frame(Buffer.alloc(50), 0)]), [104], [true]));
    assert.equal(from.next(() => {})?.length, 104);
    assert.ok(from.bufferedBytes > 0);
    assert.equal(from.next(() => {})?.length, 54);
    assert.equal(
      from.next(() => {}),
      null,
    );
  });

  test('an empty frame is passed over', () => {
    const from = stream();
    from.push(Buffer.concat([header(0, 0, 0), frames('zlib', frame(Buffer.alloc(5), 0), [100], [false], 1)]));
    assert.equal(from.next(() => {})?.length, 9);
  });
});

describe('numbers', () => {
  const command = frame(Buffer.alloc(100), 0);
  const take = (from: CompressedStream, bytes: Buffer): Buffer | null => {
    from.push(bytes);
    return from.next(() => {});
  };

  test('go on across directions, and begin anew with each command', () => {
    const from = stream();
    assert.ok(take(from, frames('zlib', command, [50], [true])));
    assert.ok(from.next(() => {}) && from.next(() => {}));
    const answer = from.encode([Buffer.alloc(65_537)]);
    assert.deepEqual([answer[0]?.[3], answer[2]?.[3]], [3, 4]);
    assert.ok(take(from, frames('zlib', command, [200], [true], 5))); // a file's first packet
    assert.ok(take(from, frames('zlib', command, [200], [true])));
    assert.equal(from.encode([Buffer.alloc(10)])[0]?.[3], 1);
  });

  test('that are left out, or begin anew within a packet, are a fault', () => {
    for (const [first, second] of [
      [1, null],
      [0, 2],
      [0, 0],
    ] as const) {
      const from = stream();
      const half = frames('zlib', command.subarray(0, 60), [200], [true], first);
      const got = take(from, half);
      if (second !== null) {
        assert.ok(got);
        take(from, frames('zlib', command.subarray(60), [200], [true], second));
      }
      assert.equal(from.fault, 'sequence');
      assert.equal(take(from, frames('zlib', command, [200], [true])), null);
      assert.equal(from.bufferedBytes, 0);
    }
  });

  test('wrap around', async () => {
    const from = stream();
    const bytes = frame(Buffer.alloc(700), 0);
    from.push(frames('zlib', bytes, [1], [false]));
    assert.deepEqual(await readAll(from), bytes);
    assert.equal(from.encode([Buffer.alloc(1)])[0]?.[3], 704 & 0xff);
  });
});

describe('limits', () => {
  const zeros = zlib.deflateSync(Buffer.alloc(MIB));
  const cases: [string, Buffer, CompressedStream['fault']][] = [
    [
      'a frame that says that it becomes too long',
      Buffer.concat([header(zeros.length, 0, 2 * MIB)]),
      'packet-too-large',
    ],
    ['a frame that becomes longer than it says', Buffer.concat([header(zeros.length, 0, 1000), zeros]), 'corrupt'],
    ['a frame that becomes shorter than it says', Buffer.concat([header(zeros.length, 0, MIB + 1), zeros]), 'corrupt'],
    ['bytes that are no compressed ones', Buffer.concat([header(50, 0, 100), Buffer.alloc(50, 1)]), 'corrupt'],
    ['a compressed frame without bytes', header(0, 0, 10), 'corrupt'],
  ];
  for (const [name, bytes, fault] of cases) {
    test(`${name} is a fault`, async () => {
      for (const algorithm of ALGORITHMS) {
        const from = stream(algorithm, MIB + 100);
        from.push(bytes);
        assert.equal((await readAll(from)).length, 0);
        assert.equal(from.fault, fault);
      }
    });
  }

  test('any bytes are a fault, or are read', async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...ALGORITHMS), fc.uint8Array({ maxLength: 200 }), async (algorithm, noise) => {
        const from = stream(algorithm, 1000);
        from.push(Buffer.from(noise));
        assert.ok((await readAll(from)).length <= noise.length + 1000);
      }),
      { seed, numRuns: 2000 },
    );
  });

  test('a frame of compressed noise is a fault or is read, and never anything else', async () => {
    const wire = frames('zlib', frame(Buffer.alloc(2000, 'abcdefg'), 0), [700], [true]);
    const flips = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(flips, async (changes) => {
        const bytes = Buffer.from(wire);
        for (const [at, value] of changes) bytes[at % bytes.length] = value;
        const from = stream('zlib', 10_000);
        from.push(bytes);
        await readAll(from);
      }),
      { seed, numRuns: 1000 },
    );
  });
});

describe('writing', () => {
  for (const algorithm of ALGORITHMS) {
    test(`${algorithm}: what is written is read again, in packets of any size`, async () => {
      for (const size of [0, 1, 49, 50, 51, 1000, 65_536, 65_537, 300_000]) {
        for (const fill of [Buffer.from('text '), Buffer.from(Array.from({ length: 997 }, (_, i) => (i * i) & 0xff))]) {
          const bytes = frame(Buffer.alloc(size, fill), 0);
          const written = Buffer.concat(stream(algorithm).encode([bytes.subarray(0, 3), bytes.subarray(3)]));
          const from = stream(algorithm);
          from.push(written);
          assert.deepEqual(await readAll(from), bytes);
        }
      }
    });
  }

  test('what is short, or does not shrink, goes as it is', () => {
    const noise = zlib.deflateSync(Buffer.from(Array.from({ length: 3000 }, (_, i) => (i * 7919) >> 3)));
    for (const bytes of [Buffer.alloc(49), noise]) {
      const [head, body] = stream().encode([bytes]) as [Buffer, Buffer];
      assert.equal(head.readUIntLE(4, 3), 0);
      assert.deepEqual(body, bytes);
    }
  });

  test('a large result is compressed in blocks', () => {
    const written = stream().encode([Buffer.alloc(MIB)]);
    assert.equal(written.length / 2, 16);
  });
});

test('zlib is taken where a client offers both, as servers do', () => {
  assert.equal(compressionOf(0), null);
  assert.equal(compressionOf(Capability.COMPRESS | Capability.ZSTD_COMPRESSION_ALGORITHM), 'zlib');
  assert.equal(compressionOf(Capability.ZSTD_COMPRESSION_ALGORITHM), 'zstd');
});

test('a reader that numbers anew takes fragments however they are numbered', () => {
  const raw = frame(Buffer.alloc(0xffffff + 10), 0);
  raw[3] = 77;
  raw[4 + 0xffffff + 3] = 0;
  const reader = new PacketReader(64 * MIB, true);
  reader.push(raw);
  const packet = reader.next();
  assert.deepEqual([packet?.sequence, packet?.lastSequence, packet?.raw[4 + 0xffffff + 3]], [0, 1, 1]);
});
