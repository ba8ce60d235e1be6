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
  /** It stands in the place of an EOF. */
  endsRows?: boolean;
}

export interface ErrPacket {
  errno: number;
  /** Five characters. */
  sqlState: string;
  message: string;
}

const NONE = Buffer.alloc(0);
const ZERO = 0n;

/**
 * An OK packet that is read in place, and over and over: what is read lies in the packet that was read last, and is
 * made into bigints and views only where it is asked for. So it costs next to nothing where only the status counts.
 */
export class OkReader implements OkPacket {
  affectedRows = ZERO;
  insertId = ZERO;
  status = 0;
  warnings = 0;
  infoOffset = 0;
  endsRows = false;
  /** Of the session state, in bytes; 0 where there is none. */
  sessionStateBytes = 0;
  /** Where, in `data`, the status flags are. */
  statusAt = 0;
  /** Where, in `data`, the packet could end: behind its info, or its warnings where it has none. */
  textEnd = 0;
  #data: Buffer = NONE;
  #at = 0;
  #infoAt = 0;
  #stateAt = 0;

  /**
   * Reads the packet whose payload is `data` from `start` to `end` (header 0x00, or 0xFE in the place of EOF). `tracks`:
   * the connection speaks SESSION_TRACK. Throws MalformedPacket.
   */
  read(data: Buffer, start: number, end: number, tracks: boolean): void {
    this.#data = data;
    this.#at = start + 3;
    this.endsRows = data[start] === 0xfe;
    // The usual answer: nothing affected, no insert id.
    if (end - start >= 3 && data[start + 1] === 0 && data[start + 2] === 0) {
      this.affectedRows = ZERO;
      this.insertId = ZERO;
    } else {
      this.#at = start + 1;
      this.affectedRows = this.#readBig(end);
      this.insertId = this.#readBig(end);
    }
    const at = this.#at;
    if (end < at + 4) throw new MalformedPacket('an OK packet is cut off before its status');
    this.status = (data[at] as number) | ((data[at + 1] as number) << 8);
    this.warnings = (data[at + 2] as number) | ((data[at + 3] as number) << 8);
    this.statusAt = at;
    this.#at = at + 4;
    this.infoOffset = at + 4 - start;
    this.#infoAt = at + 4;
    this.textEnd = at + 4;
    this.sessionStateBytes = 0;
    if (this.#at < end) this.#readText(end, tracks);
  }

  #readText(end: number, tracks: boolean): void {
    // With a length also without SESSION_TRACK, whatever the manual says: seen on MySQL 9.7 and MariaDB 10.11.
    const infoBytes = this.#readLength(end);
    this.#infoAt = this.#at;
    this.#at += infoBytes;
    if (infoBytes > 0) this.textEnd = this.#at;
    if (!tracks || (this.status & ServerStatus.SESSION_STATE_CHANGED) === 0 || this.#at >= end) return;
    this.sessionStateBytes = this.#readLength(end);
    this.#stateAt = this.#at;
    this.#at += this.sessionStateBytes;
  }

  get info(): Buffer {
    return this.textEnd <= this.#infoAt ? NONE : this.#data.subarray(this.#infoAt, this.textEnd);
  }

  get sessionState(): Buffer {
    const bytes = this.sessionStateBytes;
    return bytes === 0 ? NONE : this.#data.subarray(this.#stateAt, this.#stateAt + bytes);
  }

  #readBig(end: number): bigint {
    const at = this.#at;
    const head = at < end ? (this.#data[at] as number) : 0xff;
    if (at >= end) throw new MalformedPacket('a length-encoded integer is missing');
    if (head < 0xfb) {
      this.#at = at + 1;
      return head === 0 ? ZERO : BigInt(head);
    }
    const bytes = head === 0xfc ? 2 : head === 0xfd ? 3 : head === 0xfe ? 8 : 0;
    if (bytes === 0 || end < at + 1 + bytes) throw new MalformedPacket('a length-encoded integer is cut off');
    this.#at = at + 1 + bytes;
    return bytes === 8 ? this.#data.readBigUInt64LE(at + 1) : BigInt(this.#data.readUIntLE(at + 1, bytes));
  }

  /** Of a string that lies before `end`. */
  #readLength(end: number): number {
    const head = this.#data[this.#at] as number;
    const length = head < 0xfb ? head : Number(this.#readBig(end));
    if (head < 0xfb) this.#at++;
    if (length > end - this.#at)
      throw new MalformedPacket(`a string of ${length} bytes where ${end - this.#at} are left`);
    return length;
  }
}

/** Parses an OK packet (header 0x00, or 0xFE in the place of EOF). `capabilities` are those of the connection. */
export function parseOk(payload: Buffer, capabilities: number): OkPacket {
  const ok = new OkReader();
  ok.read(payload, 0, payload.length, (capabilities & Capability.SESSION_TRACK) !== 0);
  const { affectedRows, insertId, status, warnings, info, infoOffset, sessionState } = ok;
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
export function plainOk(status: number, capabilities: number, warnings = 0): Buffer {
  const fields = { affectedRows: ZERO, insertId: ZERO, status, warnings, info: NONE, sessionState: NONE };
  return encodeOk(fields, capabilities);
}
