// What has come from one client and was not taken yet: packets, cut out of its bytes, which are compressed or not.
import { type CompressedStream, type Packet, PacketReader, type PacketSpan } from '../wire/index.ts';

export type InboxFault = 'packet-too-large' | 'sequence' | 'corrupt';

const nothing = (): void => {};

export class Inbox {
  #maxPacketBytes: number;
  #reader: PacketReader;
  #compression: CompressedStream | null = null;
  #onReady: () => void = nothing;

  constructor(maxPacketBytes: number) {
    this.#maxPacketBytes = maxPacketBytes;
    this.#reader = new PacketReader(maxPacketBytes);
  }

  /**
   * What is pushed from now on is compressed. Everything before was taken. `onReady`: something can be taken that could not
   * before, though nothing has arrived.
   */
  decompress(compression: CompressedStream, onReady: () => void): void {
    this.#compression = compression;
    this.#onReady = onReady;
    this.#reader = new PacketReader(this.#maxPacketBytes, true);
  }

  get bufferedBytes(): number {
    return this.#reader.bufferedBytes + (this.#compression === null ? 0 : this.#compression.bufferedBytes);
  }

  /** Why nothing more can be read. */
  get fault(): InboxFault | null {
    return this.#reader.fault ?? this.#compression?.fault ?? null;
  }

  /** `onReady` will be called; what is pushed meanwhile piles up. */
  get inflating(): boolean {
    return this.#compression?.inflating ?? false;
  }

  push(chunk: Buffer): void {
    if (this.#compression === null) this.#reader.push(chunk);
    else this.#compression.push(chunk);
  }

  next(): Packet | null {
    let packet = this.#reader.next();
    while (packet === null && this.#readOn()) packet = this.#reader.next();
    return packet;
  }

  /** Of a file: see `PacketReader.nextSpan`. */
  nextSpan(number: (() => number) | null): PacketSpan | null {
    let span = this.#reader.nextSpan(number);
    while (span === null && this.#readOn()) span = this.#reader.nextSpan(number);
    return span;
  }

  /** Drops what has come of a file. With its end: the number of its last packet; null before. */
  dropFile(): number | null {
    for (;;) {
      const span = this.nextSpan(null);
      if (span === null || span.ended) return span?.lastSequence ?? null;
    }
  }

  /** Hands on what has been decompressed. False: nothing has. */
  #readOn(): boolean {
    if (this.#compression === null || this.#reader.fault !== null) return false;
    const bytes = this.#compression.next(this.#onReady);
    if (bytes === null) return false;
    this.#reader.push(bytes);
    return true;
  }

  /** For who reads packets by himself: a login. */
  nextBytes(): Buffer | null {
    if (this.#reader.bufferedBytes > 0) return this.#reader.takeRest();
    return this.#compression?.next(this.#onReady) ?? null;
  }

  /** The next answer is one that nothing asked for. */
  restartNumbers(): void {
    this.#compression?.restart();
  }
}
