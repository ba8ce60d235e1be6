// OK, ERR and EOF packets: parsed from a server, written for a client.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_ok_packet.html
import { Capability, ServerStatus } from './capabilities.ts';

/** A payload that ends before its fields do, or a length that cannot be. */
export class MalformedPacket extends Error {
  override name = 'MalformedPacket';
}

export interface OkPacket {
  affectedRows: bigint;
  insertId: bigint;
  status: number;
  warnings: number;
  info: Buffer;
  /** Where the info field begins in the payload; its length where there is none. */
  infoOffset: number;
  /** Undecoded session state, empty where there is none. */
  sessionState: Buffer;
}

export interface ErrPacket {
  errno: number;
  /** Five characters. */
  sqlState: string;
  message: string;
}

interface Cursor {
  data: Buffer;
  at: number;
}

function readLenencBig(cursor: Cursor): bigint {
  const { data, at } = cursor;
  const head = data[at];
  if (head === undefined) throw new MalformedPacket('a length-encoded integer is missing');
  if (head < 0xfb) {
    cursor.at = at + 1;
    return BigInt(head);
  }
  const bytes = head === 0xfc ? 2 : head === 0xfd ? 3 : head === 0xfe ? 8 : 0;
  if (bytes === 0 || data.length < at + 1 + bytes) throw new MalformedPacket('a length-encoded integer is cut off');
  cursor.at = at + 1 + bytes;
  return bytes === 8 ? data.readBigUInt64LE(at + 1) : BigInt(data.readUIntLE(at + 1, bytes));
}

function readLenencBytes(cursor: Cursor): Buffer {
  const length = readLenencBig(cursor);
  const left = cursor.data.length - cursor.at;
  if (length > BigInt(left)) throw new MalformedPacket(`a string of ${length} bytes where ${left} are left`);
  const value = cursor.data.subarray(cursor.at, cursor.at + Number(length));
  cursor.at += value.length;
  return value;
}

const NONE = Buffer.alloc(0);
const ZERO = 0n;

/** Parses an OK packet (header 0x00, or 0xFE in the place of EOF). `capabilities` are those of the connection. */
export function parseOk(payload: Buffer, capabilities: number): OkPacket {
  // The usual answer: nothing affected, no insert id.
  let affectedRows = ZERO;
  let insertId = ZERO;
  const cursor: Cursor = { data: payload, at: 3 };
  if (payload[1] !== 0 || payload[2] !== 0) {
    cursor.at = 1;
    affectedRows = readLenencBig(cursor);
    insertId = readLenencBig(cursor);
  }
  if (payload.length < cursor.at + 4) throw new MalformedPacket('an OK packet is cut off before its status');
  const status = payload.readUInt16LE(cursor.at);
  const warnings = payload.readUInt16LE(cursor.at + 2);
  cursor.at += 4;
  const infoOffset = cursor.at;
  let info: Buffer = NONE;
  let sessionState: Buffer = NONE;
  if (infoOffset < payload.length) {
    // With a length also without SESSION_TRACK, whatever the manual says: seen on MySQL 9.7 and MariaDB 10.11.
    info = readLenencBytes(cursor);
    const tracks = (capabilities & Capability.SESSION_TRACK) !== 0;
    if (tracks && (status & ServerStatus.SESSION_STATE_CHANGED) !== 0 && cursor.at < payload.length) {
      sessionState = readLenencBytes(cursor);
    }
  }
  return { affectedRows, insertId, status, warnings, info, infoOffset, sessionState };
}

/** Parses an ERR packet of the command phase. */
export function parseErr(payload: Buffer): ErrPacket {
  if (payload.length < 3) throw new MalformedPacket('an ERR packet is cut off');
  const errno = payload.readUInt16LE(1);
  if (payload[3] === 0x23 && payload.length >= 9) {
    return { errno, sqlState: payload.toString('latin1', 4, 9), message: payload.toString('utf8', 9) };
  }
  return { errno, sqlState: 'HY000', message: payload.toString('utf8', 3) };
}

export function encodeErr(error: ErrPacket): Buffer {
  const head = Buffer.allocUnsafe(9);
  head[0] = 0xff;
  head.writeUInt16LE(error.errno, 1);
  head.write(`#${error.sqlState.padEnd(5, '0').slice(0, 5)}`, 3, 'latin1');
  return Buffer.concat([head, Buffer.from(error.message, 'utf8')]);
}

function lenenc(value: bigint): Buffer {
  if (value < 0xfbn) return Buffer.from([Number(value)]);
  const wide = value < 0x1_0000n ? 2 : value < 0x100_0000n ? 3 : 8;
  const out = Buffer.alloc(1 + wide);
  out[0] = wide === 2 ? 0xfc : wide === 3 ? 0xfd : 0xfe;
  if (wide === 8) out.writeBigUInt64LE(value, 1);
  else out.writeUIntLE(Number(value), 1, wide);
  return out;
}

function lenencBytes(value: Buffer): Buffer {
  return Buffer.concat([lenenc(BigInt(value.length)), value]);
}

export type OkFields = Pick<OkPacket, 'affectedRows' | 'insertId' | 'status' | 'warnings' | 'info' | 'sessionState'>;

/** Writes an OK packet as a client with `capabilities` reads it; header 0xFE in the place of EOF. */
export function encodeOk(ok: OkFields, capabilities: number, header: 0x00 | 0xfe = 0x00): Buffer {
  const tracks = (capabilities & Capability.SESSION_TRACK) !== 0;
  const told = tracks && ok.sessionState.length > 0;
  const status = told
    ? ok.status | ServerStatus.SESSION_STATE_CHANGED
    : ok.status & ~ServerStatus.SESSION_STATE_CHANGED;
  const flags = Buffer.allocUnsafe(4);
  flags.writeUInt16LE(status & 0xffff, 0);
  flags.writeUInt16LE(ok.warnings, 2);
  const pieces = [Buffer.from([header]), lenenc(ok.affectedRows), lenenc(ok.insertId), flags];
  if (told || ok.info.length > 0) pieces.push(lenencBytes(ok.info));
  if (told) pieces.push(lenencBytes(ok.sessionState));
  return Buffer.concat(pieces);
}

/** An OK packet with nothing but status flags. */
export function plainOk(status: number, capabilities: number): Buffer {
  const fields = { affectedRows: ZERO, insertId: ZERO, status, warnings: 0, info: NONE, sessionState: NONE };
  return encodeOk(fields, capabilities);
}

/** An EOF packet, for clients without DEPRECATE_EOF. */
export function encodeEof(status: number, warnings: number): Buffer {
  const payload = Buffer.allocUnsafe(5);
  payload[0] = 0xfe;
  payload.writeUInt16LE(warnings, 1);
  payload.writeUInt16LE(status & 0xffff & ~ServerStatus.SESSION_STATE_CHANGED, 3);
  return payload;
}
