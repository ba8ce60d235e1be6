// The kinds of token that the lexer tells apart: what a statement is made of, without its comments and blanks.

/** The kinds of token. */
export const T = {
  end: 0,
  /** An unquoted identifier or keyword; `word` is its number. */
  word: 1,
  /** An identifier in backticks, or in double quotes with ANSI_QUOTES. */
  quoted: 2,
  string: 3,
  number: 4,
  /** `@name`, also quoted. */
  userVariable: 5,
  /** `@@name`: the first part; `.name` follows as tokens of their own. */
  systemVariable: 6,
  open: 7,
  close: 8,
  comma: 9,
  semicolon: 10,
  dot: 11,
  assign: 12,
  equals: 13,
  other: 14,
} as const;

/** The kind of a mark that is a token by itself. */
export function markKind(byte: number): number {
  switch (byte) {
    case 0x28:
      return T.open;
    case 0x29:
      return T.close;
    case 0x2c:
      return T.comma;
    case 0x3b:
      return T.semicolon;
    case 0x3d:
      return T.equals;
    default:
      return T.other;
  }
}
