// Framing: the four-byte header (payload length, sequence number) that precedes every payload, and the reader
// that cuts a client's byte stream into commands. A command is handed out whole, with its headers as they came,
// because it may be sent to a server verbatim, and more than once.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_packets.html

export const HEADER_BYTES = 4;
/** A payload of this length is continued by the next packet. */
export const MAX_FRAGMENT_BYTES = 0xffffff;

/** One payload with its header; from 16 MiB − 1 bytes on, in as many packets as it takes. */
export function frame(payload: Buffer, sequence: number): Buffer {
  if (payload.length >= MAX_FRAGMENT_BYTES) return frameLarge(payload, sequence);
  const packet = Buffer.allocUnsafe(HEADER_BYTES + payload.length);
  packet.writeUIntLE(payload.length, 0, 3);
  packet[3] = sequence & 0xff;
  payload.copy(packet, HEADER_BYTES);
  return packet;
}

function frameLarge(payload: Buffer, sequence: number): Buffer {
  const pieces: Buffer[] = [];
  let next = sequence;
  for (let at = 0; ; at += MAX_FRAGMENT_BYTES) {
    const piece = payload.subarray(at, at + MAX_FRAGMENT_BYTES);
    const header = Buffer.allocUnsafe(HEADER_BYTES);
    header.writeUIntLE(piece.length, 0, 3);
    header[3] = next++ & 0xff;
    pieces.push(header, piece);
    if (piece.length < MAX_FRAGMENT_BYTES) return Buffer.concat(pieces);
  }
}

/** A command of one byte and an argument, ready to send (sequence number 0). */
export function commandPacket(command: number, argument: Buffer | string = ''): Buffer {
  const body = typeof argument === 'string' ? Buffer.from(argument, 'utf8') : argument;
  return frame(Buffer.concat([Buffer.from([command]), body]), 0);
}

/** One logical packet: all its fragments. */
export interface Packet {
  /** Headers and payloads as they came. */
  raw: Buffer;
  /** The payload without headers; fragments joined. */
  payload: Buffer;
  /** Sequence number of the first fragment. */
  sequence: number;
  /** Sequence number of the last fragment. */
  lastSequence: number;
}

/** A packet of our own making, of one fragment, as if it had been received. */
export function asPacket(raw: Buffer): Packet {
  return { raw, payload: raw.subarray(HEADER_BYTES), sequence: raw[3] as number, lastSequence: raw[3] as number };
}

/** Why a stream cannot be read on. The connection ends with it. */
export type FramingFault = 'packet-too-large' | 'sequence';

/** Bytes of packets that are passed on as they come. */
export interface PacketSpan {
  raw: Buffer;
  /** Its last packet is empty. */
  ended: boolean;
  /** The number that the last packet that begins in it came with; 0 within compression. */
  lastSequence: number;
}

/**
 * Cuts a byte stream into packets. `push` what arrives, `next` until null. Holds no more than `maxBytes` of one
 * packet: an announced length above it is a fault before any of it is buffered; announced but unsent bytes cost nothing.
 */
export class PacketReader {
  fault: FramingFault | null = null;
  #maxBytes: number;
  #numbersAnew: boolean;
  #chunks: Buffer[] = [];
  #buffered = 0;
  /** Bytes needed before looking again pays. */
  #wanted = HEADER_BYTES;
  /** Of a packet that is passed on as it comes: bytes of its fragment that are still to come, and whether another one follows. */
  #left = 0;
  #continues = false;

  /** `numbersAnew`: within compression clients number as they like; each packet is numbered from 0 then. */
  constructor(maxBytes: number, numbersAnew = false) {
    this.#maxBytes = maxBytes;
    this.#numbersAnew = numbersAnew;
  }

  /** Bytes received of a packet that is not complete. */
  get bufferedBytes(): number {
    return this.#buffered;
  }

  /** Takes what arrived. After a fault nothing is kept: nobody will read it. */
  push(chunk: Buffer): void {
    if (this.fault !== null) return;
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
  }

  /** Hands back what was pushed and not yet taken, e.g. before TLS starts on the same socket. */
  takeRest(): Buffer {
    const rest = this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks);
    this.#chunks = [];
    this.#buffered = 0;
    this.#wanted = HEADER_BYTES;
    return rest;
  }

  next(): Packet | null {
    if (this.fault !== null || this.#buffered < this.#wanted) return null;
    const data = this.#joined();
    let at = 0;
    let payloadBytes = 0;
    let sequence = -1;
    for (;;) {
      if (data.length < at + HEADER_BYTES) return this.#need(at + HEADER_BYTES);
      const length = data.readUIntLE(at, 3);
      if (this.#numbersAnew) data[at + 3] = (sequence + 1) & 0xff;
      const fragment = data[at + 3] as number;
      if (sequence >= 0 && fragment !== ((sequence + 1) & 0xff)) {
        this.fault = 'sequence';
        return null;
      }
      sequence = fragment;
      payloadBytes += length;
      if (payloadBytes > this.#maxBytes) {
        this.fault = 'packet-too-large';
        return null;
      }
      at += HEADER_BYTES + length;
      if (length < MAX_FRAGMENT_BYTES) break;
    }
    if (data.length < at) return this.#need(at);
    // Most often a chunk is one packet.
    const whole = data.length === at;
    const raw = whole ? data : data.subarray(0, at);
    if (whole) this.#chunks.length = 0;
    else this.#chunks = [data.subarray(at)];
    this.#buffered = data.length - at;
    this.#wanted = HEADER_BYTES;
    return { raw, payload: joinFragments(raw, payloadBytes), sequence: raw[3] as number, lastSequence: sequence };
  }

  /**
   * All that has come of packets that nobody looks into, up to and with an empty one; null where that is nothing. It may end
   * within a packet. `number`: gives each the number that its next reader awaits; null leaves them as they are.
   */
  nextSpan(number: (() => number) | null): PacketSpan | null {
    if (this.#buffered === 0) return null;
    const data = this.#joined();
    let at = Math.min(this.#left, data.length);
    let ended = false;
    let lastSequence = 0;
    this.#left -= at;
    while (!ended && this.#left === 0 && at + HEADER_BYTES <= data.length) {
      const length = data.readUIntLE(at, 3);
      lastSequence = this.#numbersAnew ? 0 : (data[at + 3] as number);
      if (number !== null) data[at + 3] = number() & 0xff;
      ended = length === 0 && !this.#continues;
      this.#continues = length === MAX_FRAGMENT_BYTES;
      at += HEADER_BYTES;
      const here = Math.min(length, data.length - at);
      at += here;
      this.#left = length - here;
    }
    if (at === 0) return null;
    this.#chunks = at < data.length ? [data.subarray(at)] : [];
    this.#buffered = data.length - at;
    return { raw: at < data.length ? data.subarray(0, at) : data, ended, lastSequence };
  }

  #joined(): Buffer {
    if (this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks, this.#buffered)];
    return this.#chunks[0] as Buffer;
  }

  #need(bytes: number): null {
    this.#wanted = bytes;
    return null;
  }
}

function joinFragments(raw: Buffer, payloadBytes: number): Buffer {
  if (raw.length === payloadBytes + HEADER_BYTES) return raw.subarray(HEADER_BYTES);
  const pieces: Buffer[] = [];
  for (let at = 0; at < raw.length; ) {
    const length = raw.readUIntLE(at, 3);
    pieces.push(raw.subarray(at + HEADER_BYTES, at + HEADER_BYTES + length));
    at += HEADER_BYTES + length;
  }
  return Buffer.concat(pieces, payloadBytes);
}
