// OK and ERR packets, and the session state within them: written and read again, cut at every byte, changed at every
// byte. A parser answers with a value or with its own error, and takes nothing from beyond the packet.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Capability, ServerStatus, SessionTrack } from '../../src/wire/capabilities.ts';
import { PayloadReader, PayloadWriter, ProtocolError } from '../../src/wire/payload.ts';
import {
  encodeErr,
  encodeOk,
  MalformedPacket,
  type OkFields,
  OkReader,
  parseErr,
  parseOk,
  plainOk,
} from '../../src/wire/response.ts';
import { defaultSessionState, parseSessionState, type SessionChange } from '../../src/wire/session-state.ts';
import fc, { seed } from '../seed.ts';

const options = { seed, numRuns: 1000 };
const TRACKS = Capability.SESSION_TRACK;

/** Objects that are equal to those that we make. */
const plain = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record<T>(model, { noNullPrototype: true });
const bytes = (maxLength: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ maxLength }).map((each) => Buffer.from(each));
const big = fc.oneof(
  fc.constantFrom(0n, 1n, 250n, 251n, 252n, 65_535n, 65_536n, 16_777_215n, 16_777_216n, (1n << 64n) - 1n),
  fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
);
const ok: fc.Arbitrary<OkFields> = fc.record({
  affectedRows: big,
  insertId: big,
  status: fc.nat(65_535).map((status) => status & ~ServerStatus.SESSION_STATE_CHANGED),
  warnings: fc.nat(65_535),
  info: fc.oneof(fc.constant(Buffer.alloc(0)), bytes(300)),
  sessionState: fc.oneof(fc.constant(Buffer.alloc(0)), bytes(300)),
});

/** Copied, so that it says what it said when it was read. */
function fieldsOf(packet: OkFields): OkFields {
  const { affectedRows, insertId, status, warnings, info, sessionState } = packet;
  const copies = { info: Buffer.from(info), sessionState: Buffer.from(sessionState) };
  return { affectedRows, insertId, status, warnings, ...copies };
}

/** What a client that does or does not speak of session state is to read. */
function asTold(packet: OkFields, tracks: boolean): OkFields {
  const told = tracks && packet.sessionState.length > 0;
  const status = told ? packet.status | ServerStatus.SESSION_STATE_CHANGED : packet.status;
  return { ...packet, status, sessionState: told ? packet.sessionState : Buffer.alloc(0) };
}

/** Everything that a mutation of one packet can be: each of its cuts, and each of its bytes replaced. */
function* mutants(packet: Buffer, values: readonly number[]): Generator<Buffer> {
  for (let length = 0; length < packet.length; length++) yield Buffer.from(packet.subarray(0, length));
  for (let at = 0; at < packet.length; at++) {
    for (const value of values) {
      const changed = Buffer.from(packet);
      changed[at] = value;
      yield changed;
    }
  }
}

const HEADS = [0, 1, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff];

describe('OK', () => {
  test('is read as it was written, by either kind of client', () => {
    fc.assert(
      fc.property(ok, fc.boolean(), fc.constantFrom<0 | 0xfe>(0, 0xfe), (packet, tracks, header) => {
        const capabilities = tracks ? TRACKS : 0;
        const written = encodeOk(packet, capabilities, header);
        assert.equal(written[0], header);
        assert.deepEqual(fieldsOf(parseOk(written, capabilities)), asTold(packet, tracks));
      }),
      options,
    );
  });

  test('is read alike in the middle of a chunk, by a reader that has read others before', () => {
    const reader = new OkReader();
    fc.assert(
      fc.property(ok, fc.boolean(), bytes(20), bytes(20), (packet, tracks, before, after) => {
        const written = encodeOk(packet, tracks ? TRACKS : 0, 0xfe);
        const chunk = Buffer.concat([before, written, after]);
        reader.read(chunk, before.length, before.length + written.length, tracks);
        assert.deepEqual(fieldsOf(reader), asTold(packet, tracks));
        assert.ok(reader.endsRows);
        assert.equal(chunk.readUInt16LE(reader.statusAt), reader.status);
        // As far as the text, it is a packet for who does not speak of session state.
        const short = fieldsOf(parseOk(chunk.subarray(before.length, reader.textEnd), 0));
        assert.deepEqual(short, { ...asTold(packet, false), status: reader.status });
      }),
      options,
    );
  });

  test('that is cut off or changed at any byte is a MalformedPacket or a value, and nothing behind it is read', () => {
    fc.assert(
      fc.property(ok, (packet) => {
        for (const mutant of mutants(encodeOk(packet, TRACKS), HEADS)) {
          // What follows in the chunk must not make up for what the packet lacks.
          const chunk = Buffer.concat([mutant, Buffer.alloc(16, 0xfa)]);
          const reader = new OkReader();
          const read = (data: Buffer): OkFields | null => {
            try {
              reader.read(data, 0, mutant.length, true);
              return fieldsOf(reader);
            } catch (error) {
              assert.ok(error instanceof MalformedPacket, String(error));
              return null;
            }
          };
          const alone = read(mutant);
          assert.deepEqual(read(chunk), alone);
          if (alone !== null) assert.ok(alone.info.length + alone.sessionState.length < mutant.length);
        }
      }),
      { seed, numRuns: 40 },
    );
  });

  test('of nothing but a status says that', () => {
    const status = ServerStatus.AUTOCOMMIT | ServerStatus.IN_TRANS;
    assert.deepEqual(plainOk(status, TRACKS), Buffer.from([0, 0, 0, status, 0, 0, 0]));
  });
});

describe('ERR', () => {
  const err = plain({
    errno: fc.nat(65_535),
    sqlState: fc.stringMatching(/^[0-9A-Z]{5}$/),
    message: fc.string({ unit: 'grapheme', maxLength: 100 }),
  });

  test('is read as it was written', () => {
    fc.assert(
      fc.property(err, (each) => assert.deepEqual(parseErr(encodeErr(each)), each)),
      options,
    );
  });

  test('that is cut off or changed at any byte is a MalformedPacket or a value', () => {
    fc.assert(
      fc.property(err, (each) => {
        for (const mutant of mutants(encodeErr(each), [0, 0x23, 0xff])) {
          try {
            assert.equal(parseErr(mutant).sqlState.length, 5);
          } catch (error) {
            assert.ok(error instanceof MalformedPacket, String(error));
            assert.ok(mutant.length < 3);
          }
        }
      }),
      { seed, numRuns: 100 },
    );
  });
});

// ---- session state ----------------------------------------------------------------------------------------------------

const text = fc.oneof(fc.constantFrom('', 'utf8mb4', 'ON'), fc.string({ unit: 'grapheme', maxLength: 300 }));
const change: fc.Arbitrary<SessionChange> = fc.oneof(
  plain({ kind: fc.constant('variable' as const), name: text, value: text }),
  plain({ kind: fc.constant('schema' as const), schema: text }),
  fc.constant({ kind: 'state' as const }),
  plain({ kind: fc.constant('gtid' as const), gtid: text }),
  plain({ kind: fc.constant('transaction-characteristics' as const), sql: text }),
  plain({ kind: fc.constant('transaction-state' as const), state: text }),
);

function item(each: SessionChange): Buffer {
  const of = (type: number, write: (writer: PayloadWriter) => void): Buffer => {
    const body = new PayloadWriter();
    write(body);
    return new PayloadWriter().u8(type).lenencBytes(body.finish()).finish();
  };
  switch (each.kind) {
    case 'variable':
      return of(SessionTrack.SYSTEM_VARIABLES, (body) => body.lenencBytes(each.name).lenencBytes(each.value));
    case 'schema':
      return of(SessionTrack.SCHEMA, (body) => body.lenencBytes(each.schema));
    case 'state':
      return of(SessionTrack.STATE_CHANGE, (body) => body.lenencBytes('1'));
    case 'gtid':
      return of(SessionTrack.GTIDS, (body) => body.u8(0).lenencBytes(each.gtid));
    case 'transaction-characteristics':
      return of(SessionTrack.TRANSACTION_CHARACTERISTICS, (body) => body.lenencBytes(each.sql));
    case 'transaction-state':
      return of(SessionTrack.TRANSACTION_STATE, (body) => body.lenencBytes(each.state));
  }
}

describe('session state', () => {
  test('is read as a server writes it, with items that nobody knows among it', () => {
    const unknown = fc
      .tuple(fc.integer({ min: 6, max: 255 }), bytes(40))
      .map(([type, body]) => new PayloadWriter().u8(type).lenencBytes(body).finish());
    const items = fc.array(fc.oneof(change, unknown), { maxLength: 8 });
    fc.assert(
      fc.property(items, (each) => {
        const state = Buffer.concat(each.map((one) => (Buffer.isBuffer(one) ? one : item(one))));
        assert.deepEqual(
          parseSessionState(state),
          each.filter((one) => !Buffer.isBuffer(one)),
        );
      }),
      options,
    );
  });

  test('of MariaDB may have several variables in one item', () => {
    const pairs = fc.array(fc.tuple(text, text), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(pairs, (each) => {
        const body = new PayloadWriter();
        for (const [name, value] of each) body.lenencBytes(name).lenencBytes(value);
        const state = new PayloadWriter().u8(SessionTrack.SYSTEM_VARIABLES).lenencBytes(body.finish()).finish();
        assert.deepEqual(
          parseSessionState(state),
          each.map(([name, value]) => ({ kind: 'variable', name, value })),
        );
      }),
      options,
    );
  });

  test('that is cut off or changed at any byte is a ProtocolError or a value', () => {
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        const state = Buffer.concat(changes.map(item));
        const borders = new Set([0]);
        let at = 0;
        for (const each of changes) borders.add((at += item(each).length));
        for (let length = 0; length < state.length; length++) {
          const parse = (): unknown => parseSessionState(state.subarray(0, length));
          if (borders.has(length)) parse();
          else assert.throws(parse, ProtocolError, `${length} of ${state.length} bytes`);
        }
        for (const mutant of mutants(state, HEADS)) {
          try {
            let length = 0;
            for (const each of parseSessionState(mutant))
              length += Object.values(each).join('').length - each.kind.length;
            assert.ok(length <= mutant.length, 'more was read than is there');
          } catch (error) {
            assert.ok(error instanceof ProtocolError, String(error));
          }
        }
      }),
      { seed, numRuns: 60 },
    );
  });

  test('any bytes are a ProtocolError or a value', () => {
    fc.assert(
      fc.property(bytes(60), (noise) => {
        try {
          parseSessionState(noise);
        } catch (error) {
          assert.ok(error instanceof ProtocolError, String(error));
        }
      }),
      { seed, numRuns: 5000 },
    );
  });

  test('as a client of a server with default settings expects it: five variables and the schema, in order', () => {
    const names = [
      'autocommit',
      'time_zone',
      'character_set_client',
      'character_set_connection',
      'character_set_results',
    ];
    const named = plain({
      kind: fc.constant('variable' as const),
      name: fc.constantFrom(...names, 'sql_mode', 'statement_id'),
      value: text,
    });
    fc.assert(
      fc.property(fc.array(fc.oneof(change, named), { maxLength: 8 }), (changes) => {
        const expected = changes.filter(
          (each) => each.kind === 'schema' || (each.kind === 'variable' && names.includes(each.name)),
        );
        assert.deepEqual(parseSessionState(defaultSessionState(changes)), expected);
      }),
      options,
    );
  });
});

// ---- fields -----------------------------------------------------------------------------------------------------------

test('fields are read as they were written, in any order, and none beyond the end', () => {
  interface Field {
    write(writer: PayloadWriter): unknown;
    check(reader: PayloadReader): void;
  }
  const of = (write: Field['write'], check: Field['check']): Field => ({ write, check });
  const field = fc.oneof(
    fc.nat(255).map((n) =>
      of(
        (to) => to.u8(n),
        (from) => assert.equal(from.u8('x'), n),
      ),
    ),
    fc.nat(65_535).map((n) =>
      of(
        (to) => to.u16(n),
        (from) => assert.equal(from.u16('x'), n),
      ),
    ),
    fc.nat(2 ** 32 - 1).map((n) =>
      of(
        (to) => to.u32(n),
        (from) => assert.equal(from.u32('x'), n),
      ),
    ),
    big.map((n) =>
      of(
        (to) => to.lenencInt(n),
        (from) => assert.equal(BigInt(from.lenencInt('x')), n),
      ),
    ),
    bytes(300).map((each) =>
      of(
        (to) => to.lenencBytes(each),
        (from) => assert.deepEqual(from.lenencBytes(300, 'x'), each),
      ),
    ),
    fc
      .string({ unit: 'grapheme', maxLength: 50 })
      .map((each) => each.replaceAll('\0', ''))
      .map((each) =>
        of(
          (to) => to.nulBytes(each),
          (from) => assert.equal(from.nulText(1000, 'x'), each),
        ),
      ),
  );
  fc.assert(
    fc.property(fc.array(field, { minLength: 1, maxLength: 8 }), (fields) => {
      const writer = new PayloadWriter();
      for (const each of fields) each.write(writer);
      const payload = writer.finish();
      const reader = new PayloadReader(payload);
      for (const each of fields) each.check(reader);
      assert.equal(reader.remaining, 0);
      assert.throws(() => reader.u8('x'), { code: 'truncated' });
      // Cut anywhere, one of them says so.
      for (let length = 0; length < payload.length; length++) {
        const cut = new PayloadReader(payload.subarray(0, length));
        assert.throws(() => fields.forEach((each) => each.check(cut)), ProtocolError);
      }
    }),
    { seed, numRuns: 300 },
  );
});
