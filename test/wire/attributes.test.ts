// COM_QUERY and COM_STMT_EXECUTE with query attributes, built here from the protocol's manual.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  Capability,
  executeAttributes,
  executeLayout,
  ProtocolError,
  queryAttributes,
  queryPacket,
  queryTextOffset,
} from '../../src/wire/index.ts';
import fc, { seed } from '../seed.ts';

const SPOKEN = Capability.QUERY_ATTRIBUTES;
const TEXT = Buffer.from('SELECT 1');

interface Attribute {
  type: number;
  name: string;
  /** Null: NULL. */
  value: Buffer | null;
}

function lenenc(value: number): Buffer {
  if (value < 251) return Buffer.from([value]);
  return Buffer.from([0xfc, value & 0xff, value >> 8]);
}

const lenencText = (text: Buffer): Buffer => Buffer.concat([lenenc(text.length), text]);

function query(attributes: Attribute[], text: Buffer): Buffer {
  const counts = [lenenc(attributes.length), Buffer.from([1])];
  if (attributes.length === 0) return Buffer.concat([Buffer.from([3]), ...counts, text]);
  const nulls = Buffer.alloc((attributes.length + 7) >> 3);
  for (const [i, { value }] of attributes.entries()) {
    if (value === null) nulls[i >> 3] = (nulls[i >> 3] as number) | (1 << (i & 7));
  }
  const types = attributes.map(({ type, name }) =>
    Buffer.concat([Buffer.from([type, 0x80]), lenencText(Buffer.from(name))]),
  );
  const values = attributes.map(({ value }) => value ?? Buffer.alloc(0));
  return Buffer.concat([Buffer.from([3]), ...counts, nulls, Buffer.from([1]), ...types, ...values, text]);
}

const bytes = (length: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ minLength: length, maxLength: length }).map((value) => Buffer.from(value));
const strings = fc.uint8Array({ maxLength: 300 }).map((value) => lenencText(Buffer.from(value)));
const temporal = fc.constantFrom(0, 4, 7, 8, 11, 12).chain((length) => bytes(length).map((value) => lenencText(value)));
const typed = (types: number[], value: fc.Arbitrary<Buffer>): fc.Arbitrary<[number, Buffer]> =>
  fc.tuple(fc.constantFrom(...types), value);
const attribute: fc.Arbitrary<Attribute> = fc
  .tuple(
    fc.oneof(
      typed([0x01], bytes(1)),
      typed([0x02, 0x0d], bytes(2)),
      typed([0x03, 0x04, 0x09], bytes(4)),
      typed([0x05, 0x08], bytes(8)),
      typed([0x06], bytes(0)),
      typed([0x07, 0x0a, 0x0b, 0x0c], temporal),
      typed([0x00, 0x0f, 0x10, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff], strings),
    ),
    fc.string({ maxLength: 260 }),
    fc.boolean(),
  )
  .map(([[type, value], name, isNull]) => ({ type, name, value: isNull ? null : value }));

describe('the text of a COM_QUERY', () => {
  test('is found behind attributes of any type, and NULLs among them', () => {
    fc.assert(
      fc.property(fc.array(attribute, { maxLength: 20 }), (attributes) => {
        const payload = query(attributes, TEXT);
        assert.deepEqual(payload.subarray(queryTextOffset(payload, SPOKEN)), TEXT);
      }),
      { seed, numRuns: 500 },
    );
  });

  test('has those attributes in front of it that are text', () => {
    fc.assert(
      fc.property(fc.array(attribute, { maxLength: 20 }), fc.string(), (others, value) => {
        const named = others.filter(({ name }) => name !== 'wanted');
        const wanted = { type: 0xfd, name: 'wanted', value: lenencText(Buffer.from(value)) };
        const found = queryAttributes(query([...named, wanted, ...named], TEXT), SPOKEN);
        assert.equal(found?.get('wanted'), Buffer.from(value).toString());
      }),
      { seed, numRuns: 500 },
    );
    const number = { type: 0x03, name: 'number', value: Buffer.alloc(4) };
    const none = { type: 0xfd, name: 'none', value: null };
    assert.deepEqual(queryAttributes(query([number, none], TEXT), SPOKEN), new Map());
    assert.equal(queryAttributes(query([], TEXT), SPOKEN), null);
    assert.equal(queryAttributes(query([number], TEXT), 0), null);
  });

  test('is all of it where the client does not speak of attributes', () => {
    assert.equal(queryTextOffset(query([], TEXT), 0), 1);
  });

  test('is found in what we build ourselves', () => {
    for (const capabilities of [0, SPOKEN]) {
      const packet = queryPacket('SELECT 1', capabilities);
      assert.deepEqual(packet.subarray(4 + queryTextOffset(packet.subarray(4), capabilities)), TEXT);
    }
    assert.deepEqual(queryPacket('x', 0), Buffer.from([2, 0, 0, 0, 3, 0x78]));
    assert.deepEqual(queryPacket('x', SPOKEN), Buffer.from([4, 0, 0, 0, 3, 0, 1, 0x78]));
  });

  test('is not looked for behind attributes that are cut off', () => {
    const payload = query([{ type: 0xfd, name: 'name', value: lenencText(Buffer.from('value')) }], Buffer.alloc(0));
    for (let length = 1; length < payload.length; length++) {
      assert.throws(() => queryTextOffset(payload.subarray(0, length), SPOKEN), ProtocolError, `${length}`);
    }
    assert.equal(queryTextOffset(payload, SPOKEN), payload.length);
  });

  test('any bytes have an offset within them, or are a ProtocolError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 60 }), (noise) => {
        try {
          const offset = queryTextOffset(Buffer.from(noise), SPOKEN);
          assert.ok(offset > 0 && offset <= noise.length);
        } catch (error) {
          assert.ok(error instanceof ProtocolError);
        }
      }),
      { seed, numRuns: 3000 },
    );
  });
});

describe('the attributes of a COM_STMT_EXECUTE', () => {
  const head = (flags: number): Buffer => Buffer.from([0x17, 1, 0, 0, 0, flags, 1, 0, 0, 0]);
  const NONE = new Set<number>();

  /** Laid out as a text's, behind another head; what was sent before has no value here. */
  function execution(parameters: Attribute[], elsewhere: ReadonlySet<number>): Buffer {
    const sent = parameters.map((one, at) => (elsewhere.has(at) ? { ...one, value: Buffer.alloc(0) } : one));
    const { length } = Buffer.concat([Buffer.from([3]), lenenc(sent.length), Buffer.from([1])]);
    return Buffer.concat([head(8), lenenc(sent.length), query(sent, Buffer.alloc(0)).subarray(length)]);
  }

  test('stand behind the parameters, of which some may have been sent before', () => {
    const lists = fc.array(attribute, { maxLength: 12 });
    fc.assert(
      fc.property(lists, lists, fc.infiniteStream(fc.boolean()), fc.string(), (own, others, before, value) => {
        const elsewhere = new Set(
          own.flatMap(({ value: its }, at) => (its !== null && before.next().value ? [at] : [])),
        );
        const wanted = { type: 0xfd, name: 'wanted', value: lenencText(Buffer.from(value)) };
        const all = [...own, wanted, ...others.filter(({ name }) => name !== 'wanted')];
        const found = executeAttributes(execution(all, elsewhere), SPOKEN, own.length, elsewhere);
        assert.equal(found?.get('wanted'), Buffer.from(value).toString());
        for (const { name } of own)
          assert.ok(!found.has(name) || others.some((other) => other.name === name) || name === 'wanted');
        assert.equal(executeAttributes(execution(own, elsewhere), SPOKEN, own.length, elsewhere), null);
      }),
      { seed, numRuns: 500 },
    );
  });

  test('are none where the packet is cut off, or its client does not speak of them', () => {
    const one = { type: 0xfd, name: 'name', value: lenencText(Buffer.from('value')) };
    const payload = execution([one, one], NONE);
    assert.deepEqual(executeAttributes(payload, SPOKEN, 1, NONE), new Map([['name', 'value']]));
    assert.equal(executeAttributes(payload, 0, 1, NONE), null);
    for (let length = 1; length < payload.length; length++) {
      assert.equal(executeAttributes(payload.subarray(0, length), SPOKEN, 1, NONE), null, `${length}`);
    }
  });
});

describe('the layout of a COM_STMT_EXECUTE', () => {
  const head = (flags: number): Buffer => Buffer.from([0x17, 1, 0, 0, 0, flags, 1, 0, 0, 0]);
  const own = [Buffer.from([0xfd, 0, 0]), Buffer.from([0x03, 0, 0])];
  const named = Buffer.from([0xfd, 0, 1, 0x6e]);
  const at = (payload: Buffer, capabilities: number, parameters = 2): unknown =>
    executeLayout(payload, capabilities, parameters);

  test('without attributes in the dialect', () => {
    const payload = Buffer.concat([head(0), Buffer.from([0, 1, 0xfd, 0, 3, 0, 1, 0x78, 1, 0, 0, 0])]);
    assert.deepEqual(at(payload, 0), { hasAttributes: false, boundAt: 11, typesAt: 12, typesEnd: 16 });
    payload[11] = 0;
    assert.deepEqual(at(payload, 0), { hasAttributes: false, boundAt: 11, typesAt: 12, typesEnd: 12 });
    assert.equal(at(payload, 0, 0), null);
  });

  test('with a parameter count, names, and attributes behind the parameters', () => {
    const plain = Buffer.concat([head(8), Buffer.from([2, 0, 1]), ...own]);
    assert.deepEqual(at(plain, SPOKEN), { hasAttributes: false, boundAt: 12, typesAt: 13, typesEnd: 19 });
    const more = Buffer.concat([head(8), Buffer.from([3, 0, 1]), ...own, named]);
    assert.deepEqual(at(more, SPOKEN), { hasAttributes: true, boundAt: 12, typesAt: 13, typesEnd: 19 });
    const only = Buffer.concat([head(8), Buffer.from([1, 0, 1]), named]);
    assert.deepEqual(at(only, SPOKEN, 0), { hasAttributes: true, boundAt: 12, typesAt: 13, typesEnd: 13 });
    assert.equal(at(Buffer.concat([head(8), Buffer.from([0])]), SPOKEN, 0), null);
  });

  test('of a packet that is cut off is none', () => {
    const payload = Buffer.concat([head(8), Buffer.from([2, 0, 1]), ...own]);
    for (let length = 1; length < payload.length; length++) {
      assert.equal(at(payload.subarray(0, length), SPOKEN), null, `${length}`);
    }
  });
});
