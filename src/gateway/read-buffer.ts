// Reading sockets into buffers of our own. Without them Node takes 64 KiB for each read, and the garbage collector pays.
// What is read is valid only until the callback returns: whoever keeps a piece copies it, and whoever hands one to the
// kernel that does not take it at once says so (`retain`), so that its buffer is not read into again.
import net from 'node:net';

/** One read takes no more. */
export const READ_BYTES = 64 * 1024;

/** Buffers with pieces that are, or were, still to be written, and by how many writers. */
const retained = new WeakMap<ArrayBufferLike, number>();
/** Those of them that no connection reads into any more. */
const abandoned = new WeakSet<ArrayBufferLike>();
let retentions = 0;

/** These pieces are still to be written: the buffers that they lie in are not read into any more. Returns the buffers, for `giveBack`. */
export function retain(pieces: readonly Buffer[]): Set<ArrayBufferLike> {
  const buffers = new Set(pieces.map((piece) => piece.buffer));
  for (const buffer of buffers) retained.set(buffer, (retained.get(buffer) ?? 0) + 1);
  retentions++;
  return buffers;
}

/**
 * What a writer retained has been written. Where it was the last one, the memory is free at once, and not when the garbage
 * collector comes to it: of a large result that its client reads slowly that would be tens of MiB.
 */
export function giveBack(buffers: Iterable<ArrayBufferLike>): void {
  for (const buffer of buffers) {
    const others = (retained.get(buffer) ?? 1) - 1;
    retained.set(buffer, others);
    if (others === 0 && abandoned.has(buffer)) (buffer as ArrayBuffer).transfer(0);
  }
}

/** Has been written, and nobody looks at it any more: where nothing else lies in its memory, that is free at once. */
export function release(bytes: Buffer): void {
  if (bytes.buffer.byteLength === bytes.length && bytes.buffer instanceof ArrayBuffer) bytes.buffer.transfer(0);
}

/** One connection's buffer. */
export class ReadBuffer {
  #bytes = Buffer.allocUnsafeSlow(READ_BYTES);
  #seen = retentions;

  /** For the next read: the same as before, unless pieces of it are still to be written. */
  next = (): Buffer => {
    if (this.#seen !== retentions) {
      this.#seen = retentions;
      if (retained.has(this.#bytes.buffer)) {
        abandoned.add(this.#bytes.buffer);
        this.#bytes = Buffer.allocUnsafeSlow(READ_BYTES);
      }
    }
    return this.#bytes;
  };
}

/** A socket's own members that `onread` (https://nodejs.org/api/net.html#socketconnectoptions-connectlistener) sets. */
interface Members {
  buffer: symbol;
  callback: symbol;
}

interface Internals {
  _handle?: { useUserBuffer?: (buffer: Uint8Array) => void } | null;
}

/**
 * Node has `onread` for sockets that connect, and none for those that a server accepts, though they are of one class. Where
 * it keeps the option is found by looking for its values in a socket that has it; null where it is not found.
 */
function findMembers(): Members | null {
  const buffer = Buffer.alloc(1);
  const callback = (): boolean => true;
  const socket = new net.Socket({ onread: { buffer, callback } });
  const symbols = Object.getOwnPropertySymbols(socket) as (keyof net.Socket & symbol)[];
  const holder = (value: unknown): symbol | undefined =>
    symbols.find((symbol) => (socket[symbol] as unknown) === value);
  const [bufferAt, callbackAt] = [holder(buffer), holder(callback)];
  socket.destroy();
  return bufferAt === undefined || callbackAt === undefined ? null : { buffer: bufferAt, callback: callbackAt };
}

const members = findMembers();
/** Of all accepted sockets: each read is taken before the next begins. */
const shared = Buffer.allocUnsafeSlow(READ_BYTES);

/**
 * What an accepted socket receives goes to `take` from now on, in place of its 'data' events. False: this runtime cannot,
 * and nothing was changed. `take` gets copies. A listener for 'data' had better stay: without it the socket would take more memory.
 */
export function readIntoShared(socket: net.Socket, take: (bytes: Buffer) => void): boolean {
  const handle = (socket as unknown as Internals)._handle;
  if (members === null || typeof handle?.useUserBuffer !== 'function' || socket.readableLength > 0) return false;
  const onRead = (bytes: number): boolean => {
    take(Buffer.from(shared.subarray(0, bytes)));
    return true;
  };
  Object.assign(socket, { [members.buffer]: shared, [members.callback]: onRead });
  handle.useUserBuffer(shared);
  return true;
}
