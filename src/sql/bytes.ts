// The classes of bytes that the lexer tells apart, and the names of single ones. Bytes from 0x80 on are a class of their
// own: what they are depends on the character set.

/** Marks and control characters. */
const OTHER = 0;
export const BLANK = 1;
/** What may start a name; digits and high bytes go on with one. */
export const LETTER = 2;
export const DIGIT = 3;
export const HIGH = 4;

const CLASS = new Uint8Array(256);
for (let byte = 0; byte < 256; byte++) {
  const char = String.fromCharCode(byte);
  if (byte >= 0x80) CLASS[byte] = HIGH;
  else if (/[A-Za-z_$]/.test(char)) CLASS[byte] = LETTER;
  else if (/[0-9]/.test(char)) CLASS[byte] = DIGIT;
  else if (byte === 0x20 || (byte >= 0x09 && byte <= 0x0d)) CLASS[byte] = BLANK;
  else CLASS[byte] = OTHER;
}
/** The class of a byte; all that may be part of a name are LETTER or above. */
export const classOf = (byte: number): number => CLASS[byte] ?? OTHER;

/** In place of a byte behind the end. */
export const EOF = -1;
export const QUOTE = 0x27;
export const DOUBLE_QUOTE = 0x22;
export const BACKTICK = 0x60;
export const BACKSLASH = 0x5c;
export const STAR = 0x2a;
export const SLASH = 0x2f;
export const AT = 0x40;
