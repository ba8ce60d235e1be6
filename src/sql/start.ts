// Where a text begins: behind blanks and comments. By hand, since a pattern would need a stack as deep as a comment is long.

const [TAB, NEWLINE, RETURN, BLANK] = [0x09, 0x0a, 0x0d, 0x20];
const [HASH, STAR, DASH, SLASH] = [0x23, 0x2a, 0x2d, 0x2f];
/** What stands in them may run. */
const RUNS = /^\/\*(!|M!)/;

/** The first byte that is no blank and in no comment; the text's length where there is none. */
export function startOf(text: Buffer): number {
  let at = 0;
  for (;;) {
    const byte = text[at];
    if (byte === undefined) return text.length;
    if (byte === BLANK || (byte >= TAB && byte <= RETURN)) at++;
    else if (byte === SLASH && text[at + 1] === STAR && !RUNS.test(text.toString('latin1', at, at + 4))) {
      const end = text.indexOf('*/', at + 2);
      if (end < 0) return text.length;
      at = end + 2;
    } else if (byte === HASH || (byte === DASH && text[at + 1] === DASH && (text[at + 2] ?? BLANK) <= BLANK)) {
      const end = text.indexOf(NEWLINE, at);
      if (end < 0) return text.length;
      at = end + 1;
    } else return at;
  }
}

/** The words with which a text begins, as far as `length` characters of them. */
export function beginningOf(text: Buffer, length: number): string {
  const at = startOf(text);
  return text.toString('latin1', at, at + length);
}
