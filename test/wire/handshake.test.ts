// The packets of the connection phase: vectors of real servers, every truncation, fuzz.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  encodeAuthMoreData,
  encodeAuthSwitch,
  encodeEarlyErr,
  parseAuthMoreData,
  parseAuthSwitch,
  readErr,
  readOk,
} from '../../src/wire/auth-packets.ts';
import { Capability } from '../../src/wire/capabilities.ts';
import {
  encodeChangeUser,
  encodeGreeting,
  encodeHandshakeResponse,
  encodeSslRequest,
  HANDSHAKE_LIMITS,
  isSslRequest,
  parseChangeUser,
  parseGreeting,
  parseHandshakeResponse,
  parseSslRequest,
  responseCapabilities,
} from '../../src/wire/handshake.ts';
import { encodeLenencInt, PayloadReader, ProtocolError } from '../../src/wire/payload.ts';
import { encodeErr } from '../../src/wire/response.ts';
import fc, { seed } from '../seed.ts';

const property = { seed, numRuns: 500 };

const nonce = Buffer.from('abcdefghijklmnopqrst');
const greeting = {
  serverVersion: '9.7.4',
  connectionId: 4_000_000_001,
  nonce,
  capabilities: (0xdfffffff & ~0x1) >>> 0,
  mariadbCapabilities: 0x1d,
  collation: 255,
  status: 2,
  authPlugin: 'caching_sha2_password',
};

const response = {
  capabilities: Capability.PROTOCOL_41 | Capability.TRANSACTIONS,
  mariadbCapabilities: 5,
  maxPacketBytes: 1 << 24,
  collation: 45,
  user: 'jürgen',
  authResponse: Buffer.from([1, 2, 0, 4]),
  database: 'shop',
  authPlugin: 'mysql_native_password',
  attributes: new Map([
    ['_client_name', 'evenkeel'],
    ['ключ', ''],
  ]),
  zstdLevel: 3,
};

const changeCapabilities =
  Capability.PROTOCOL_41 | Capability.SECURE_CONNECTION | Capability.PLUGIN_AUTH | Capability.CONNECT_ATTRS;
const change = {
  user: 'jürgen',
  authResponse: Buffer.alloc(20, 9),
  database: 'shop',
  collation: 2047,
  authPlugin: 'caching_sha2_password',
  attributes: new Map([['a', 'b']]),
};

/** Every proper prefix is refused with the right kind of error; those at `borders` are complete packets. */
function everyTruncation(payload: Buffer, parse: (cut: Buffer) => unknown, borders: readonly number[] = []): void {
  for (let length = 0; length < payload.length; length++) {
    if (borders.includes(length)) continue;
    assert.throws(
      () => parse(payload.subarray(0, length)),
      (error) => error instanceof ProtocolError,
      `${length} of ${payload.length} bytes`,
    );
  }
}

/** A parser answers any bytes with a value or a ProtocolError. */
function survives(parse: (payload: Buffer) => unknown, payload: Buffer): void {
  try {
    parse(payload);
  } catch (error) {
    assert.ok(error instanceof ProtocolError, String(error));
  }
}

describe('greeting', () => {
  it('is read as it was written', () => {
    assert.deepEqual(parseGreeting(encodeGreeting(greeting)), { kind: 'greeting', greeting });
  });

  it('has no MariaDB capabilities where the server sets LONG_PASSWORD', () => {
    const first = parseGreeting(encodeGreeting({ ...greeting, capabilities: 0xffffffff }));
    assert.ok(first.kind === 'greeting');
    assert.equal(first.greeting.mariadbCapabilities, 0);
  });

  it('is recognised as an error where the server turns us away, with or without SQLSTATE', () => {
    const early = Buffer.concat([Buffer.from('ff1004', 'hex'), Buffer.from('Too many connections')]);
    assert.deepEqual(encodeEarlyErr({ errno: 1040, sqlState: '08004', message: 'Too many connections' }), early);
    const first = parseGreeting(early);
    assert.ok(first.kind === 'err');
    assert.equal(first.err.errno, 1040);
    assert.equal(first.err.message, 'Too many connections');
    const late = parseGreeting(encodeErr({ errno: 1130, sqlState: 'HY000', message: 'no' }));
    assert.deepEqual(late, { kind: 'err', err: { errno: 1130, sqlState: 'HY000', message: 'no' } });
  });

  it('of another protocol version, or from before 4.1, is refused', () => {
    const nine = encodeGreeting(greeting);
    nine[0] = 9;
    assert.throws(() => parseGreeting(nine), { code: 'unsupported-version' });
    assert.throws(() => parseGreeting(encodeGreeting({ ...greeting, capabilities: 0 })), { code: 'unsupported' });
  });

  it('is never written with a nonce that clients would misread', () => {
    assert.throws(() => encodeGreeting({ ...greeting, nonce: Buffer.alloc(20) }), TypeError);
    assert.throws(() => encodeGreeting({ ...greeting, nonce: Buffer.alloc(8, 1) }), TypeError);
  });

  it('is refused at every truncation', () => everyTruncation(encodeGreeting(greeting), parseGreeting));
});

describe('SSL request', () => {
  it('is told from a handshake response', () => {
    const request = encodeSslRequest(response);
    assert.ok(isSslRequest(request));
    assert.equal(parseSslRequest(request).collation, 45);
    assert.ok(!isSslRequest(encodeHandshakeResponse(response)));
    assert.throws(() => parseSslRequest(Buffer.concat([request, request])), { code: 'too-large' });
    everyTruncation(request, parseSslRequest);
  });
});

describe('handshake response', () => {
  it('is read as it was written, with every optional field', () => {
    const capabilities = responseCapabilities(response);
    assert.deepEqual(parseHandshakeResponse(encodeHandshakeResponse(response)), { ...response, capabilities });
  });

  it('is read with no optional field at all', () => {
    const bare = { capabilities: 0, maxPacketBytes: 0, collation: 8, user: '', authResponse: Buffer.alloc(0) };
    const parsed = parseHandshakeResponse(encodeHandshakeResponse(bare));
    assert.equal(parsed.authPlugin, null);
    assert.equal(parsed.database, null);
    assert.equal(parsed.attributes.size, 0);
  });

  it('is read with a long, length-encoded answer, and with a zero-terminated one', () => {
    const long = parseHandshakeResponse(encodeHandshakeResponse({ ...response, authResponse: Buffer.alloc(300, 7) }));
    assert.equal(long.authResponse.length, 300);
    const head = Buffer.alloc(32);
    head.writeUInt32LE(Capability.PROTOCOL_41);
    const old = parseHandshakeResponse(Buffer.concat([head, Buffer.from('u\0pw\0')]));
    assert.deepEqual(old.authResponse, Buffer.from('pw'));
  });

  it('takes a plugin name that the end of the packet terminates, as servers do', () => {
    const input = { ...response, attributes: new Map<string, string>(), zstdLevel: 0 };
    const payload = encodeHandshakeResponse(input).subarray(0, -1);
    assert.equal(parseHandshakeResponse(payload).authPlugin, 'mysql_native_password');
  });

  it('is refused at every truncation', () => {
    everyTruncation(encodeHandshakeResponse(response), parseHandshakeResponse);
  });

  it('of a client older than 4.1 is refused as such', () => {
    assert.throws(() => parseHandshakeResponse(Buffer.from('8500000000726f6f7400', 'hex')), { code: 'old-client' });
  });

  it('is refused where a field is over its bound', () => {
    const user = 'u'.repeat(HANDSHAKE_LIMITS.userBytes + 1);
    assert.throws(() => parseHandshakeResponse(encodeHandshakeResponse({ ...response, user })), { code: 'too-large' });
    const attributes = new Map(
      Array.from({ length: HANDSHAKE_LIMITS.attributes + 1 }, (_, i) => [`${i}`, ''] as const),
    );
    assert.throws(() => parseHandshakeResponse(encodeHandshakeResponse({ ...response, attributes })), {
      code: 'too-large',
    });
    assert.throws(() => parseHandshakeResponse(Buffer.alloc(HANDSHAKE_LIMITS.payloadBytes + 1)), { code: 'too-large' });
  });

  it('is refused where an attribute block claims more than it has', () => {
    const payload = encodeHandshakeResponse({ ...response, zstdLevel: 0, attributes: new Map([['abc', 'defg']]) });
    payload[payload.length - 5] = 200; // the value's length
    assert.throws(() => parseHandshakeResponse(payload), { code: 'truncated' });
  });
});

describe('COM_CHANGE_USER', () => {
  it('is read as it was written', () => {
    assert.deepEqual(parseChangeUser(encodeChangeUser(change, changeCapabilities), changeCapabilities), change);
  });

  it('is refused at every truncation that is no older client`s packet', () => {
    const payload = encodeChangeUser(change, changeCapabilities);
    const database = 1 + Buffer.byteLength(change.user) + 1 + 21 + 5;
    const plugin = database + 2 + change.authPlugin.length + 1;
    const parse = (cut: Buffer): unknown => parseChangeUser(cut, changeCapabilities);
    everyTruncation(payload, parse, [database, database + 2, plugin]);
    assert.equal(parseChangeUser(payload.subarray(0, database), changeCapabilities).collation, null);
  });
});

describe('authentication packets', () => {
  it('are read as they were written', () => {
    const data = Buffer.concat([nonce, Buffer.of(0)]);
    assert.deepEqual(parseAuthSwitch(encodeAuthSwitch('x', data)), { plugin: 'x', data });
    assert.deepEqual(parseAuthMoreData(encodeAuthMoreData(data)), data);
  });

  it('from before 4.1 are refused', () => {
    assert.throws(() => parseAuthSwitch(Buffer.of(0xfe)), { code: 'unsupported' });
  });

  it('are told from each other', () => {
    for (const parse of [parseAuthSwitch, parseAuthMoreData, readErr, (p: Buffer) => readOk(p, 0)]) {
      assert.throws(() => parse(Buffer.of(0x55, 1, 2)), { code: 'unexpected-packet' });
    }
  });
});

describe('length-encoded integers', () => {
  it('keep every value, as a bigint only beyond 2^53', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (value) => {
        const read = new PayloadReader(encodeLenencInt(value)).lenencInt('x');
        assert.equal(BigInt(read), value);
        assert.equal(typeof read, value <= 2n ** 53n - 1n ? 'number' : 'bigint');
      }),
      property,
    );
    for (const value of [0, 250, 251, 65535, 65536, 0xffffff, 0x1000000, 2 ** 53 - 1]) {
      const encoded = encodeLenencInt(value);
      assert.equal(new PayloadReader(encoded).lenencInt('x'), value);
      everyTruncation(encoded, (cut) => new PayloadReader(cut).lenencInt('x'));
    }
  });

  it('refuse NULL and the header of an error', () => {
    for (const head of [0xfb, 0xff]) {
      assert.throws(() => new PayloadReader(Buffer.of(head)).lenencInt('x'), { code: 'malformed' });
    }
  });

  it('never make a length beyond the packet', () => {
    const huge = encodeLenencInt(2n ** 64n - 1n);
    assert.throws(() => new PayloadReader(huge).lenencBytes(100, 'x'), { code: 'too-large' });
    assert.throws(() => new PayloadReader(Buffer.of(50, 1)).lenencBytes(100, 'x'), { code: 'truncated' });
  });
});

describe('any bytes', () => {
  const parsers: [string, (payload: Buffer) => unknown][] = [
    ['greeting', parseGreeting],
    ['SSL request', parseSslRequest],
    ['handshake response', parseHandshakeResponse],
    ['COM_CHANGE_USER', (payload) => parseChangeUser(payload, changeCapabilities)],
    ['AuthSwitchRequest', parseAuthSwitch],
    ['AuthMoreData', parseAuthMoreData],
    ['ERR', readErr],
    ['OK', (payload) => readOk(payload, Capability.SESSION_TRACK)],
  ];
  const valid = [
    encodeGreeting(greeting),
    encodeHandshakeResponse(response),
    encodeChangeUser(change, changeCapabilities),
    encodeAuthSwitch('x', nonce),
    Buffer.from('00000000400000000a', 'hex'),
  ];
  for (const [name, parse] of parsers) {
    it(`are answered by the parser of ${name} with a value or a ProtocolError (seed ${seed})`, () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => survives(parse, Buffer.from(bytes))),
        property,
      );
      const mutated = fc.tuple(fc.constantFrom(...valid), fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 5 }));
      fc.assert(
        fc.property(mutated, ([base, edits]) => {
          const bytes = Buffer.from(base);
          for (const [at, value] of edits) bytes[at % bytes.length] = value;
          survives(parse, bytes);
        }),
        property,
      );
    });
  }
});
