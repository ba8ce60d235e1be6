// COM_STMT_EXECUTE for another server connection than the one that the client's driver has in mind: the statement's
// id differs, and the parameter types, which a driver sends once, have to be sent again.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_stmt_execute.html
import { executeAttributes, executeLayout, frame, HEADER_BYTES, type Packet } from '../wire/index.ts';
import type { LinkStatement } from './prepared.ts';
import type { PreparedStatement } from './session.ts';

const ID_OFFSET = 1;
const FLAGS_OFFSET = 5;

const BULK_TYPES_OFFSET = 7;
const SEND_TYPES_TO_SERVER = 0x80;

/** MariaDB's COM_STMT_BULK_EXECUTE: the same. https://mariadb.com/kb/en/com_stmt_bulk_execute/ */
export function bulkExecutePacket(
  { raw: asSent, payload }: Packet,
  statement: PreparedStatement,
  prepared: LinkStatement,
): Buffer {
  if (payload.length < BULK_TYPES_OFFSET) return asSent; // the server judges
  const raw = patchStatementId(asSent, prepared.id);
  const typesEnd = BULK_TYPES_OFFSET + 2 * statement.logical.parameters;
  if (((payload[FLAGS_OFFSET] as number) & SEND_TYPES_TO_SERVER) !== 0) {
    statement.types = Buffer.from(payload.subarray(BULK_TYPES_OFFSET, typesEnd));
    prepared.types = statement.types;
    return raw;
  }
  if (statement.types === null || tells(prepared, statement.types)) return raw;
  prepared.types = statement.types;
  const head = Buffer.from(payload.subarray(0, BULK_TYPES_OFFSET));
  head[FLAGS_OFFSET] = (head[FLAGS_OFFSET] as number) | SEND_TYPES_TO_SERVER;
  head.writeUInt32LE(prepared.id, ID_OFFSET);
  return frame(Buffer.concat([head, statement.types, payload.subarray(BULK_TYPES_OFFSET)]), 0);
}

/** The server was told these types last. */
function tells({ types }: LinkStatement, wanted: Buffer): boolean {
  return types === wanted || types?.equals(wanted) === true;
}

/**
 * The packet with the server's statement id. A copy: a statement that is sent elsewhere may still wait to be written to the
 * connection that it leaves, where the id of another one would execute another statement.
 */
export function patchStatementId(raw: Buffer, id: number): Buffer {
  const patched = Buffer.from(raw);
  patched.writeUInt32LE(id, HEADER_BYTES + ID_OFFSET);
  return patched;
}

/**
 * The packet as this server connection needs it. Remembers the types that the client sends, and which ones the server
 * was told last, by this client or another: those of an execution without types must be this client's own.
 * `capabilities`: the client's.
 */
export function executePacket(
  packet: Packet,
  statement: PreparedStatement,
  prepared: LinkStatement,
  capabilities: number,
): { raw: Buffer; opensCursor: boolean } {
  const { payload } = packet;
  const opensCursor = payload.length > FLAGS_OFFSET && ((payload[FLAGS_OFFSET] as number) & 0x07) !== 0;
  const raw = patchStatementId(packet.raw, prepared.id);
  const layout = executeLayout(payload, capabilities, statement.logical.parameters);
  if (layout === null) return { raw, opensCursor };
  const { boundAt, typesAt, typesEnd, hasAttributes } = layout;
  if (typesEnd > typesAt) {
    const types = payload.subarray(typesAt, typesEnd);
    if (statement.types === null || !statement.types.equals(types)) statement.types = Buffer.from(types);
    prepared.types = hasAttributes ? null : statement.types;
    return { raw, opensCursor };
  }
  // Attributes come with their types always; the server refuses what lacks them.
  if (hasAttributes || statement.types === null || tells(prepared, statement.types)) return { raw, opensCursor };
  prepared.types = statement.types;
  const head = Buffer.from(payload.subarray(0, typesAt));
  head[boundAt] = 1;
  head.writeUInt32LE(prepared.id, ID_OFFSET);
  return { raw: frame(Buffer.concat([head, statement.types, payload.subarray(typesAt)]), 0), opensCursor };
}

/** In COM_STMT_SEND_LONG_DATA. */
const PARAMETER_OFFSET = HEADER_BYTES + 5;

/** What its client sends along by name; null where that is nothing. `capabilities`: the client's. */
export function attributesOfExecution(
  { payload }: Packet,
  { logical, longData }: PreparedStatement,
  capabilities: number,
): ReadonlyMap<string, string> | null {
  const sentBefore = longData?.map((chunk) => chunk.readUInt16LE(PARAMETER_OFFSET));
  return executeAttributes(payload, capabilities, logical.parameters, sentBefore && new Set(sentBefore));
}
