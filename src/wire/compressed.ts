// The compressed protocol: after login, the bytes of both directions travel in frames of their own (compressed length,
// sequence number, length before compression; a frame's borders and a packet's have nothing to do with each other).
// One object a connection, for both directions, since they share the sequence number. Frames are decoded one at a
// time, when the reader has used up the one before: so no more than one of them is ever blown up to its full size.
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_compression_packet.html
import zlib from 'node:zlib';
import { Capability } from './capabilities.ts';
import { HEADER_BYTES, MAX_FRAGMENT_BYTES } from './packet.ts';

export type CompressionAlgorithm = 'zlib' | 'zstd';

/** Why a stream cannot be read on. The connection ends with it. */
export type CompressionFault = 'packet-too-large' | 'sequence' | 'corrupt';

export interface CompressionOptions {
  algorithm: CompressionAlgorithm;
  /** zstd's, as the client asked. */
  level: number;
  /** A frame that would become longer is refused. */
  maxBytes: number;
}

const FRAME_HEADER_BYTES = 7;
/** Less than this travels as it is, as with servers. */
const MIN_COMPRESSED_BYTES = 50;
/** Compressed at once: a large result must not keep other clients waiting for longer than some milliseconds. */
const BLOCK_BYTES = 64 * 1024;
/** Frames that become longer than this are decompressed on another thread. */
const SYNC_BYTES = 256 * 1024;
/** Servers use zlib's 6; next to 1 it costs three times the processor time for a tenth less of bytes. */
const ZLIB_LEVEL = 1;
/** A stream of zlib's for so little needs an eighth of the memory, and getting that is most of its time. */
const SMALL_BYTES = 4096;
const SMALL_MEMORY = { windowBits: 12, memLevel: 4 };
/** A client may ask for 22, which takes seconds for what 3 does in milliseconds, on the thread that serves all others. */
const MAX_ZSTD_LEVEL = 3;
/** As much as the longest frame; what asks for more memory is no frame. */
const ZSTD_WINDOW_LOG = 24;

/** What both sides settled on; zlib where the client speaks both, as servers do. Null: no compression. */
export function compressionOf(capabilities: number): CompressionAlgorithm | null {
  if ((capabilities & Capability.COMPRESS) !== 0) return 'zlib';
  return (capabilities & Capability.ZSTD_COMPRESSION_ALGORITHM) !== 0 ? 'zstd' : null;
}

export class CompressedStream {
  fault: CompressionFault | null = null;
  #algorithm: CompressionAlgorithm;
  #level: number;
  #maxBytes: number;
  #chunks: Buffer[] = [];
  #buffered = 0;
  /** Bytes needed before looking again pays. */
  #wanted = FRAME_HEADER_BYTES;
  /** Of the next frame in either direction, unless a command begins with it. */
  #sequence = 0;
  #border = new PacketBorder();
  /** A frame is being decompressed on another thread, or was, and waits to be taken. */
  #pending: 'none' | 'running' | Buffer = 'none';

  constructor({ algorithm, level, maxBytes }: CompressionOptions) {
    this.#algorithm = algorithm;
    this.#level = Math.min(Math.max(level, 1), MAX_ZSTD_LEVEL);
    this.#maxBytes = maxBytes;
  }

  /** Bytes received and not yet taken, as they came. */
  get bufferedBytes(): number {
    return this.#buffered;
  }

  /** A large frame is being decompressed on another thread. */
  get inflating(): boolean {
    return this.#pending === 'running';
  }

  /** Takes what arrived. After a fault nothing is kept. */
  push(chunk: Buffer): void {
    if (this.fault !== null || chunk.length === 0) return;
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
  }

  /**
   * The bytes of the next frame, or null: none is complete, there is a `fault`, or a large one is being decompressed
   * and `onReady` will be called when it is worth asking again.
   */
  next(onReady: () => void): Buffer | null {
    for (;;) {
      if (this.#pending !== 'none') return this.#takePending();
      const frame = this.#nextFrame();
      if (frame === null) return null;
      const { body, fullBytes } = frame;
      if (fullBytes > SYNC_BYTES) {
        this.#inflateElsewhere(body, fullBytes, onReady);
        return null;
      }
      const bytes = fullBytes === 0 ? body : this.#inflate(body, fullBytes);
      if (bytes === null) return null;
      if (bytes.length > 0) return this.#taken(bytes);
    }
  }

  /** An answer to nothing comes next: numbering starts anew. */
  restart(): void {
    this.#sequence = 0;
  }

  /** Frames for the other side. */
  encode(pieces: readonly Buffer[]): Buffer[] {
    const bytes = pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces);
    const frames: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += BLOCK_BYTES)
      this.#encodeBlock(bytes.subarray(at, at + BLOCK_BYTES), frames);
    return frames;
  }

  #encodeBlock(block: Buffer, frames: Buffer[]): void {
    const packed = block.length < MIN_COMPRESSED_BYTES ? null : this.#deflate(block);
    const smaller = packed !== null && packed.length < block.length;
    const body = smaller ? packed : block;
    const header = Buffer.allocUnsafe(FRAME_HEADER_BYTES);
    header.writeUIntLE(body.length, 0, 3);
    header[3] = this.#sequence;
    header.writeUIntLE(smaller ? block.length : 0, 4, 3);
    this.#sequence = (this.#sequence + 1) & 0xff;
    frames.push(header, body);
  }

  #deflate(block: Buffer): Buffer {
    const chunkSize = Math.max(block.length, 64); // what comes out longer is not used
    if (this.#algorithm === 'zlib') {
      const small = block.length <= SMALL_BYTES ? SMALL_MEMORY : {};
      return zlib.deflateSync(block, { level: ZLIB_LEVEL, chunkSize, ...small });
    }
    return zlib.zstdCompressSync(block, {
      chunkSize,
      params: { [zlib.constants.ZSTD_c_compressionLevel]: this.#level },
      pledgedSrcSize: block.length,
    });
  }

  #nextFrame(): { body: Buffer; fullBytes: number } | null {
    if (this.fault !== null || this.#buffered < this.#wanted) return null;
    const data = this.#joined();
    const length = data.readUIntLE(0, 3);
    const sequence = data[3] as number;
    const fullBytes = data.readUIntLE(4, 3);
    // A command numbers anew; whatever goes on counts on from the other side's last frame.
    if (sequence !== this.#sequence && !(sequence === 0 && this.#border.between)) return this.#fail('sequence');
    if (fullBytes > this.#maxBytes + HEADER_BYTES) return this.#fail('packet-too-large');
    const end = FRAME_HEADER_BYTES + length;
    if (data.length < end) {
      this.#wanted = end;
      return null;
    }
    this.#sequence = (sequence + 1) & 0xff;
    const rest = data.subarray(end);
    this.#chunks = rest.length > 0 ? [rest] : [];
    this.#buffered = rest.length;
    this.#wanted = FRAME_HEADER_BYTES;
    return { body: data.subarray(FRAME_HEADER_BYTES, end), fullBytes };
  }

  #joined(): Buffer {
    if (this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks, this.#buffered)];
    return this.#chunks[0] as Buffer;
  }

  #inflate(body: Buffer, fullBytes: number): Buffer | null {
    try {
      const options = inflateOptions(fullBytes);
      const zstd = this.#algorithm === 'zstd';
      const bytes = zstd ? zlib.zstdDecompressSync(body, zstdOptions(options)) : zlib.inflateSync(body, options);
      return bytes.length === fullBytes ? bytes : this.#fail('corrupt');
    } catch {
      return this.#fail('corrupt');
    }
  }

  #inflateElsewhere(body: Buffer, fullBytes: number, onReady: () => void): void {
    this.#pending = 'running';
    const done = (error: Error | null, bytes: Buffer): void => {
      this.#pending = 'none';
      if (error !== null || bytes.length !== fullBytes) this.#fail('corrupt');
      else this.#pending = bytes;
      onReady();
    };
    const options = inflateOptions(fullBytes);
    if (this.#algorithm === 'zstd') zlib.zstdDecompress(body, zstdOptions(options), done);
    else zlib.inflate(body, options, done);
  }

  #takePending(): Buffer | null {
    if (this.#pending === 'none' || this.#pending === 'running') return null;
    const bytes = this.#pending;
    this.#pending = 'none';
    return this.#taken(bytes);
  }

  #taken(bytes: Buffer): Buffer {
    this.#border.pass(bytes);
    return bytes;
  }

  #fail(fault: CompressionFault): null {
    this.fault = fault;
    this.#chunks = [];
    this.#buffered = 0;
    return null;
  }
}

interface InflateOptions {
  maxOutputLength: number;
  chunkSize: number;
}

function inflateOptions(fullBytes: number): InflateOptions {
  // 64 is the least that zlib takes.
  return { maxOutputLength: fullBytes, chunkSize: Math.min(Math.max(fullBytes, 64), BLOCK_BYTES) };
}

function zstdOptions(options: InflateOptions): zlib.ZstdOptions {
  return { ...options, params: { [zlib.constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG } };
}

/** Knows whether a stream of packets stands between two of them. */
class PacketBorder {
  #bodyLeft = 0;
  #headerRead = 0;
  #length = 0;
  #continues = false;

  get between(): boolean {
    return this.#bodyLeft === 0 && this.#headerRead === 0 && !this.#continues;
  }

  pass(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; ) {
      if (this.#bodyLeft > 0) {
        const step = Math.min(this.#bodyLeft, bytes.length - at);
        this.#bodyLeft -= step;
        at += step;
        continue;
      }
      if (this.#headerRead < 3) this.#length |= (bytes[at] as number) << (8 * this.#headerRead);
      at++;
      if (++this.#headerRead < HEADER_BYTES) continue;
      this.#bodyLeft = this.#length;
      this.#continues = this.#length === MAX_FRAGMENT_BYTES;
      this.#headerRead = 0;
      this.#length = 0;
    }
  }
}
