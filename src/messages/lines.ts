// How messages travel: JSON, one a line, over a unix domain socket. Lines are bounded.

/** The longest line; the accounts of a large cluster are the longest message. */
export const maxLineBytes = 16 * 1024 * 1024;

/** Cuts a byte stream into lines. `push` throws a RangeError past the longest line. */
export class LineDecoder {
  readonly #maxBytes: number;
  #parts: Buffer[] = [];
  #partBytes = 0;

  constructor(maxBytes: number = maxLineBytes) {
    this.#maxBytes = maxBytes;
  }

  push(chunk: Buffer): string[] {
    const lines: string[] = [];
    let from = 0;
    for (;;) {
      const end = chunk.indexOf(10, from);
      const piece = chunk.subarray(from, end === -1 ? chunk.length : end);
      if (this.#partBytes + piece.length > this.#maxBytes) throw new RangeError('line too long');
      if (end === -1) {
        if (piece.length > 0) {
          this.#parts.push(piece);
          this.#partBytes += piece.length;
        }
        return lines;
      }
      lines.push(this.#parts.length === 0 ? piece.toString() : Buffer.concat([...this.#parts, piece]).toString());
      this.#parts = [];
      this.#partBytes = 0;
      from = end + 1;
    }
  }
}
