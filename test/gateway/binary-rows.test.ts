// Rows of a text result put as a prepared statement's, checked byte by byte.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asBinaryResult } from '../../src/gateway/binary-rows.ts';
import { frame } from '../../src/wire/index.ts';

const LONG = 3;
const DATETIME = 12;
const VAR_STRING = 253;

function definition(type: number): Buffer {
  return Buffer.from([3, 0x64, 0x65, 0x66, 0x0c, 0x21, 0, 7, 0, 0, 0, type, 1, 0, 0, 0, 0]);
}

function answer(types: number[], rows: Buffer[], eof: boolean): Buffer {
  let sequence = 1;
  const packets = [Buffer.from([types.length]), ...types.map(definition)];
  const end = eof ? Buffer.from([0xfe, 0, 0, 2, 0]) : Buffer.from([0xfe, 0, 0, 2, 0, 0, 0]);
  if (eof) packets.push(end);
  return Buffer.concat([...packets, ...rows, end].map((payload) => frame(payload, sequence++)));
}

const text = (value: string): Buffer => Buffer.concat([Buffer.from([Buffer.byteLength(value)]), Buffer.from(value)]);

for (const eof of [true, false]) {
  test(`warnings are told in both protocols alike, ${eof ? 'with' : 'without'} EOF packets`, () => {
    const types = [VAR_STRING, LONG, VAR_STRING];
    const asText = [
      Buffer.concat([text('Warning'), text('1062'), text('Duplicate entry')]),
      Buffer.concat([text('Note'), text('4294967295'), Buffer.from([0xfb])]),
    ];
    const asBinary = [
      Buffer.concat([Buffer.from([0, 0]), text('Warning'), Buffer.from([0x26, 4, 0, 0]), text('Duplicate entry')]),
      Buffer.concat([Buffer.from([0, 1 << 4]), text('Note'), Buffer.from([255, 255, 255, 255])]),
    ];
    assert.deepEqual(asBinaryResult(answer(types, asText, eof), !eof), answer(types, asBinary, eof));
  });
}

test('no rows are no rows', () => {
  const none = answer([VAR_STRING], [], true);
  assert.deepEqual(asBinaryResult(none, false), none);
});

test('long texts keep their lengths', () => {
  const long = Buffer.concat([Buffer.from([0xfc, 0x2c, 1]), Buffer.alloc(300, 'x')]);
  const expected = answer([VAR_STRING], [Buffer.concat([Buffer.from([0, 0]), long])], false);
  assert.deepEqual(asBinaryResult(answer([VAR_STRING], [long], false), true), expected);
});

test('a value that is written otherwise is not guessed', () => {
  assert.equal(asBinaryResult(answer([DATETIME], [text('2026-11-24 17:00:00')], true), false), null);
});

test('what is no result set is none', () => {
  assert.equal(asBinaryResult(frame(Buffer.from([0, 0, 0, 2, 0, 0, 0]), 1), true), null);
});
