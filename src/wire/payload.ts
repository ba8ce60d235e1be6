// Reading and writing the fields of one payload (a packet without its 4-byte header), bounded at every
// step: whatever a peer sends, a reader answers with a value or a ProtocolError, never with a RangeError.

/** What was wrong with the peer's bytes; stable, for logs and metrics. */
export type ProtocolErrorCode =
  | 'truncated' // the payload ends inside a field
  | 'too-large' // a field or the payload is over its bound
  | 'malformed' // a field says something that it cannot say
  | 'unexpected-packet' // a packet that has no place here
  | 'unsupported-version' // a greeting of a protocol other than 10
  | 'old-client' // a client older than protocol 4.1
  | 'unsupported'; // something legal that we do not speak

/** The peer's bytes cannot be understood; its connection ends. The message carries no content of the payload. */
export class ProtocolError extends Error {
  readonly code: ProtocolErrorCode;

  constructor(code: ProtocolErrorCode, message: string) {
    super(message);
    this.name = 'ProtocolError';
    this.code = code;
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** Names come in the client's character set; UTF-8 is tried first, anything else is taken byte for byte as latin1. */
export function decodeText(bytes: Buffer): string {
  try {
    return utf8.decode(bytes);
  } catch {
    return bytes.toString('latin1');
  }
}

/** Walks one payload from front to back. */
export class PayloadReader {
  readonly #payload: Buffer;
  #offset: number;

  constructor(payload: Buffer, offset = 0) {
    this.#payload = payload;
    this.#offset = offset;
  }

  get remaining(): number {
    return Math.max(0, this.#payload.length - this.#offset);
  }

  #take(length: number, what: string): number {
    if (length > this.remaining) throw new ProtocolError('truncated', `the packet ends inside ${what}`);
    const at = this.#offset;
    this.#offset += length;
    return at;
  }

  u8(what: string): number {
    return this.#payload.readUInt8(this.#take(1, what));
  }

  u16(what: string): number {
    return this.#payload.readUInt16LE(this.#take(2, what));
  }

  u32(what: string): number {
    return this.#payload.readUInt32LE(this.#take(4, what));
  }

  skip(length: number, what: string): void {
    this.#take(length, what);
  }

  /** A view, not a copy. */
  bytes(length: number, what: string): Buffer {
    const at = this.#take(length, what);
    return this.#payload.subarray(at, at + length);
  }

  rest(): Buffer {
    return this.bytes(this.remaining, 'the rest');
  }

  /** Length-encoded integer; a bigint only where a number would lose digits. */
  lenencInt(what: string): number | bigint {
    const first = this.u8(what);
    if (first < 0xfb) return first;
    switch (first) {
      case 0xfc:
        return this.u16(what);
      case 0xfd:
        return this.#payload.readUIntLE(this.#take(3, what), 3);
      case 0xfe: {
        const value = this.#payload.readBigUInt64LE(this.#take(8, what));
        return value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
      }
      default: // 0xfb is NULL in a row, 0xff an error packet's header
        throw new ProtocolError('malformed', `${what} is no length-encoded integer`);
    }
  }

  lenencBytes(maxBytes: number, what: string): Buffer {
    const length = this.lenencInt(what);
    if (length > maxBytes) throw new ProtocolError('too-large', `${what} is longer than ${maxBytes} bytes`);
    return this.bytes(Number(length), what);
  }

  /** Up to a zero byte, which is consumed. */
  nulBytes(maxBytes: number, what: string): Buffer {
    const end = this.#payload.indexOf(0, this.#offset);
    const length = (end < 0 ? this.#payload.length : end) - this.#offset;
    if (length > maxBytes) throw new ProtocolError('too-large', `${what} is longer than ${maxBytes} bytes`);
    if (end < 0) throw new ProtocolError('truncated', `the packet ends inside ${what}`);
    const value = this.bytes(length, what);
    this.#offset++;
    return value;
  }

  nulText(maxBytes: number, what: string): string {
    return decodeText(this.nulBytes(maxBytes, what));
  }
}

/** The length-encoded form of an integer of at most 64 bits. */
export function encodeLenencInt(value: number | bigint): Buffer {
  if (value < 0) throw new TypeError('a length-encoded integer is not negative');
  if (value < 0xfb) return Buffer.from([Number(value)]);
  if (value <= 0xffff) {
    const out = Buffer.alloc(3, 0xfc);
    out.writeUInt16LE(Number(value), 1);
    return out;
  }
  if (value <= 0xffffff) {
    const out = Buffer.alloc(4, 0xfd);
    out.writeUIntLE(Number(value), 1, 3);
    return out;
  }
  const out = Buffer.alloc(9, 0xfe);
  out.writeBigUInt64LE(BigInt(value), 1);
  return out;
}

/** Collects the fields of one payload. */
export class PayloadWriter {
  readonly #parts: Buffer[] = [];

  u8(value: number): this {
    this.#parts.push(Buffer.from([value & 0xff]));
    return this;
  }

  u16(value: number): this {
    const part = Buffer.alloc(2);
    part.writeUInt16LE(value & 0xffff);
    this.#parts.push(part);
    return this;
  }

  u32(value: number): this {
    const part = Buffer.alloc(4);
    part.writeUInt32LE(value >>> 0);
    this.#parts.push(part);
    return this;
  }

  zeros(length: number): this {
    this.#parts.push(Buffer.alloc(length));
    return this;
  }

  bytes(value: Uint8Array | string): this {
    this.#parts.push(typeof value === 'string' ? Buffer.from(value, 'utf8') : Buffer.from(value));
    return this;
  }

  lenencInt(value: number | bigint): this {
    this.#parts.push(encodeLenencInt(value));
    return this;
  }

  lenencBytes(value: Uint8Array | string): this {
    const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : value;
    return this.lenencInt(bytes.length).bytes(bytes);
  }

  /** The value and a zero byte. A zero byte inside would shift every later field, so it is a programming error. */
  nulBytes(value: Uint8Array | string): this {
    const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : Buffer.from(value);
    if (bytes.includes(0)) throw new TypeError('a zero byte inside a zero-terminated field');
    return this.bytes(bytes).u8(0);
  }

  finish(): Buffer {
    return Buffer.concat(this.#parts);
  }
}
