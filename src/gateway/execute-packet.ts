// COM_STMT_EXECUTE for another server connection than the one that the client's driver has in mind: the statement's
// id differs, and the parameter types, which a driver sends once, have to be sent again.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_execute.html
import { frame, HEADER_BYTES, type Packet } from '../wire/index.ts';
import type { LinkStatement } from './prepared.ts';
import type { PreparedStatement } from './session.ts';

const ID_OFFSET = 1;
const FLAGS_OFFSET = 5;
const PARAMETERS_OFFSET = 10;

/** Writes the server's statement id into a packet, in place. */
export function patchStatementId(raw: Buffer, id: number): Buffer {
  raw.writeUInt32LE(id, HEADER_BYTES + ID_OFFSET);
  return raw;
}

/**
 * The packet as this server connection needs it. Remembers the types that the client sends, and which ones the server
 * was told last, by this client or another: those of an execution without types must be this client's own.
 */
export function executePacket(
  packet: Packet,
  statement: PreparedStatement,
  prepared: LinkStatement,
): { raw: Buffer; opensCursor: boolean } {
  const { payload } = packet;
  const opensCursor = payload.length > FLAGS_OFFSET && ((payload[FLAGS_OFFSET] as number) & 0x07) !== 0;
  const raw = patchStatementId(packet.raw, prepared.id);
  const { parameters } = statement.logical;
  if (parameters === 0) return { raw, opensCursor };
  const boundAt = PARAMETERS_OFFSET + ((parameters + 7) >> 3);
  const typesAt = boundAt + 1;
  const typesBytes = parameters * 2;
  if (payload[boundAt] === 1) {
    const types = payload.subarray(typesAt, typesAt + typesBytes);
    if (statement.types === null || !statement.types.equals(types)) statement.types = Buffer.from(types);
    prepared.types = statement.types;
    return { raw, opensCursor };
  }
  const { types } = statement;
  if (types === null || types === prepared.types || prepared.types?.equals(types) === true) return { raw, opensCursor };
  prepared.types = types;
  const head = Buffer.from(payload.subarray(0, typesAt));
  head[boundAt] = 1;
  head.writeUInt32LE(prepared.id, ID_OFFSET);
  return { raw: frame(Buffer.concat([head, types, payload.subarray(typesAt)]), 0), opensCursor };
}
