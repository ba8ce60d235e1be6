// COM_STMT_EXECUTE as another server connection needs it: the id written in, the parameter types sent again where this
// connection has not had them, and every other byte as the client's driver sent it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bulkExecutePacket, executePacket, patchStatementId } from '../../src/gateway/execute-packet.ts';
import type { LinkStatement, LogicalStatement } from '../../src/gateway/prepared.ts';
import type { PreparedStatement } from '../../src/gateway/session.ts';
import { frame, HEADER_BYTES, type Packet, PacketReader } from '../../src/wire/index.ts';

const CLIENT_ID = 5;
const SERVER_ID = 0x0a0b0c0d;

/** Of its text's statement only the number of parameters matters here. */
function statementOf(parameters: number): PreparedStatement {
  const logical = { parameters } as LogicalStatement;
  return { id: CLIENT_ID, logical, types: null, longData: null, longDataBytes: 0 };
}

/** A server connection on which the statement was just prepared. */
const on = (id: number): LinkStatement => ({ id, types: null, usedAt: 0 });

/** Half the parameters are NULL; each type is another. */
function execute(parameters: number, types: boolean, { flags = 0, id = CLIENT_ID, valueBytes = 20 } = {}): Buffer {
  const head = Buffer.alloc(10);
  head[0] = 0x17;
  head.writeUInt32LE(id, 1);
  head[5] = flags;
  head.writeUInt32LE(1, 6);
  if (parameters === 0) return head;
  const nulls = Buffer.alloc((parameters + 7) >> 3, 0x55);
  const bound = Buffer.from([types ? 1 : 0]);
  const typeBytes = types ? typesOf(parameters) : Buffer.alloc(0);
  return Buffer.concat([head, nulls, bound, typeBytes, Buffer.alloc(valueBytes, 0x77)]);
}

function typesOf(parameters: number): Buffer {
  return Buffer.from(Array.from({ length: parameters * 2 }, (_, i) => (i % 2 === 0 ? i : 0x80)));
}

function packet(payload: Buffer): Packet {
  const reader = new PacketReader(64 << 20);
  reader.push(frame(payload, 0));
  const read = reader.next();
  assert.ok(read);
  return read;
}

for (let parameters = 0; parameters <= 17; parameters++) {
  test(`${parameters} parameters: the id is the server's, and the types are sent once to each connection`, () => {
    const statement = statementOf(parameters);
    const here = on(SERVER_ID);
    const first = executePacket(packet(execute(parameters, true)), statement, here, 0);
    assert.deepEqual(first.raw, frame(execute(parameters, true, { id: SERVER_ID }), 0));
    const known = executePacket(packet(execute(parameters, false)), statement, here, 0);
    assert.deepEqual(known.raw, frame(execute(parameters, false, { id: SERVER_ID }), 0));
    const elsewhere = executePacket(packet(execute(parameters, false)), statement, on(SERVER_ID + 1), 0);
    assert.deepEqual(elsewhere.raw, frame(execute(parameters, true, { id: SERVER_ID + 1 }), 0));
  });
}

test('the types are a copy: the chunk that they came in may be reused', () => {
  const statement = statementOf(3);
  const came = packet(execute(3, true));
  executePacket(came, statement, on(SERVER_ID), 0);
  came.raw.fill(0xee);
  assert.deepEqual(statement.types, typesOf(3));
});

test('a client that never sent types is passed on as it came: the server judges', () => {
  const statement = statementOf(2);
  const { raw } = executePacket(packet(execute(2, false)), statement, on(SERVER_ID), 0);
  assert.deepEqual(raw, frame(execute(2, false, { id: SERVER_ID }), 0));
});

test("an execution without types gets its own client's, also where another client told the server others", () => {
  const [mine, theirs] = [statementOf(2), statementOf(2)];
  const shared = on(SERVER_ID);
  executePacket(packet(execute(2, true)), mine, shared, 0);
  const other = execute(2, true);
  other[12] = 0x55; // the first type
  executePacket(packet(other), theirs, shared, 0);
  const again = executePacket(packet(execute(2, false)), mine, shared, 0);
  assert.deepEqual(again.raw, frame(execute(2, true, { id: SERVER_ID }), 0));
  const known = executePacket(packet(execute(2, false)), mine, shared, 0);
  assert.deepEqual(known.raw, frame(execute(2, false, { id: SERVER_ID }), 0));
});

test('an open cursor is noticed by its flag, whatever its kind', () => {
  for (const [flags, opens] of [
    [0, false],
    [1, true],
    [2, true],
    [4, true],
    [8, false], // the parameter count follows: no cursor
  ] as const) {
    assert.equal(
      executePacket(packet(execute(1, true, { flags })), statementOf(1), on(SERVER_ID), 0).opensCursor,
      opens,
    );
  }
});

test('values of 16 MiB keep their fragments, and get the types in front', () => {
  const statement = statementOf(1);
  statement.types = typesOf(1);
  const valueBytes = 0xffffff - 12; // with the types it is just over one fragment
  const { raw } = executePacket(packet(execute(1, false, { valueBytes })), statement, on(SERVER_ID), 0);
  const reader = new PacketReader(64 << 20);
  reader.push(raw);
  assert.ok(reader.next()?.payload.equals(execute(1, true, { id: SERVER_ID, valueBytes })));
});

test('packets too short to be what they say are patched within their bounds or not at all', () => {
  for (let length = 5; length < 14; length++) {
    const { raw } = executePacket(packet(execute(2, true).subarray(0, length)), statementOf(2), on(SERVER_ID), 0);
    assert.equal(raw.length, HEADER_BYTES + length);
  }
  // It may still wait to be written elsewhere, under the id that it has there.
  const before = patchStatementId(Buffer.alloc(9), 7);
  assert.equal(patchStatementId(before, SERVER_ID).readUInt32LE(5), SERVER_ID);
  assert.equal(before.readUInt32LE(5), 7);
  assert.equal(patchStatementId(Buffer.alloc(9), SERVER_ID).readUInt32LE(5), SERVER_ID);
});

test("MariaDB's bulk execution: the id is the server's, and the types are sent once to each connection", () => {
  const bulk = (types: boolean, id = CLIENT_ID): Buffer => {
    const head = Buffer.alloc(7);
    head[0] = 0xfa;
    head.writeUInt32LE(id, 1);
    head.writeUInt16LE(types ? 0x80 : 0, 5);
    return Buffer.concat([head, types ? typesOf(2) : Buffer.alloc(0), Buffer.from([0, 1, 0x61, 1, 0, 1, 0x62])]);
  };
  const statement = statementOf(2);
  const send = (types: boolean, link: LinkStatement): Buffer =>
    packet(bulkExecutePacket(packet(bulk(types)), statement, link).subarray(HEADER_BYTES)).payload;
  const here = on(SERVER_ID);
  assert.deepEqual(send(false, here), bulk(false, SERVER_ID)); // the server judges
  assert.deepEqual(send(true, here), bulk(true, SERVER_ID));
  assert.deepEqual(send(false, here), bulk(false, SERVER_ID));
  assert.deepEqual(send(false, on(SERVER_ID)), bulk(true, SERVER_ID));
  for (let length = 1; length < 12; length++) {
    const short = packet(bulk(true).subarray(0, length));
    assert.equal(bulkExecutePacket(short, statementOf(2), on(SERVER_ID)).length, length + HEADER_BYTES);
  }
});
