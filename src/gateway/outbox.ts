// What is on its way to one client: pieces of answers are gathered and written in one system call, at the answer's end
// or at the end of the read, or of the turn of the event loop, in which they came.
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { CompressedStream } from '../wire/index.ts';
import { giveBack, retain } from './read-buffer.ts';

/** Copying a few bytes is cheaper than handing the kernel a list. */
const JOIN_BYTES = 16 * 1024;

/** A client that does not take the end of TLS is cut off. */
const HANG_UP_MS = 1000;

/** Shared: most clients never have any. */
const NOTHING: Set<ArrayBufferLike>[] = [];

const flushLater = (outbox: Outbox): void => outbox.flush();

export class Outbox {
  #socket: Socket;
  #maxBytes: number;
  #nowMs: () => number;
  #pieces: Buffer[] = [];
  #bytes = 0;
  /** In what is still to be written; empty where nothing waits. */
  #retained: Set<ArrayBufferLike>[] = NOTHING;
  #compression: CompressedStream | null = null;
  /** Since when the client has left an answer unread; null while it reads. */
  stalledSinceMs: number | null = null;

  /** `maxBytes`: what may wait for the client before its server connection is paused. */
  constructor(socket: Socket, maxBytes: number, nowMs: () => number) {
    this.#socket = socket;
    this.#maxBytes = maxBytes;
    this.#nowMs = nowMs;
  }

  /** TLS stands: what follows goes out over `socket`. */
  adopt(socket: Socket): void {
    this.flush();
    this.#socket = socket;
  }

  /** What is written from now on is compressed. */
  compress(compression: CompressedStream): void {
    this.flush();
    this.#compression = compression;
  }

  /** As `gather`, and it is written at the end of this turn at the latest. */
  write(piece: Buffer): boolean {
    if (this.#pieces.length === 0) process.nextTick(flushLater, this);
    return this.gather(piece);
  }

  /** The caller sees to it that it is flushed. False: the client reads too slowly; wait for `onceDrained`. */
  gather(piece: Buffer): boolean {
    this.#pieces.push(piece);
    this.#bytes += piece.length;
    return this.#socket.writableLength + this.#bytes < this.#maxBytes;
  }

  flush(): void {
    let pieces = this.#pieces;
    if (pieces.length === 0 || this.#socket.writableEnded || this.#socket.destroyed) return;
    const join = pieces.length > 1 && this.#bytes <= JOIN_BYTES;
    this.#pieces = [];
    this.#bytes = 0;
    if (this.#compression !== null) pieces = this.#compression.encode(pieces);
    if (pieces.length === 1) this.#socket.write(pieces[0] as Buffer);
    else if (join) this.#socket.write(Buffer.concat(pieces));
    else {
      this.#socket.cork();
      for (const piece of pieces) this.#socket.write(piece);
      this.#socket.uncork();
    }
    if (this.#socket.writableLength > 0) this.#retain(pieces);
  }

  #retain(pieces: readonly Buffer[]): void {
    const buffers = retain(pieces);
    // Without the event what is retained is left to the garbage collector.
    if (!this.#socket.writableNeedDrain) return;
    if (this.#retained.length === 0) {
      this.#retained = [];
      // All that was written before has reached the kernel then.
      this.#socket.once('drain', () => {
        const written = this.#retained;
        this.#retained = NOTHING;
        for (const each of written) giveBack(each);
      });
    }
    this.#retained.push(buffers);
  }

  onceDrained(callback: () => void): void {
    this.flush();
    if (!this.#socket.writableNeedDrain) return queueMicrotask(callback);
    this.stalledSinceMs ??= this.#nowMs();
    this.#socket.once('drain', () => {
      this.stalledSinceMs = null;
      callback();
    });
  }

  /** What is not written yet is lost. Over TLS the end is said: else OpenSSL tells of a broken TLS, which no driver takes for a lost connection. */
  hangUp(): void {
    const socket = this.#socket;
    if (!(socket instanceof TLSSocket) || socket.destroyed) return void socket.destroy();
    setTimeout(() => socket.destroy(), HANG_UP_MS).unref();
    socket.resume();
    socket.destroySoon();
  }

  /** The last words. */
  end(piece: Buffer): void {
    this.write(piece);
    this.flush();
    this.#socket.end();
  }
}
