// The shape of a text: what two statements have in common that differ in their values only.
import { T } from './kinds.ts';
import { dialectOf, Lexer } from './lexer.ts';
import type { ClassifyOptions } from './types.ts';

const VALUE = '?';
/** Values that are written as words; behind these words, which ask for one of them, they are none. */
const WORDS = new Set(['null', 'true', 'false']);
const ASKING = new Set(['is', 'not']);
/** In front of a string they say what it is: DATE '…', X'…', N'…'. */
const KINDS_OF_STRING = new Set(['date', 'time', 'timestamp', 'x', 'b', 'n']);
const INTRODUCER = /^_[a-z0-9]+$/;
/** Behind these a sign belongs to the number. */
const BEFORE_SIGN =
  /^(?:[=<>!(,*/%|&^]+|and|or|xor|not|in|values?|between|like|return|select|when|then|else|limit|by|set|where|on|having|interval|div|mod)$/;
const lexer = new Lexer();

/**
 * Its words and marks, words in lower case, with `?` for every number, string and placeholder, and one `?` for a list of
 * them; lists of rows are one row. Null where the text cannot be read with certainty, or has nothing in it.
 */
export function shapeOf(text: Buffer | Uint8Array | string, options: ClassifyOptions): string | null {
  if (options.multiByteUnsafe === true) return null;
  lexer.open(typeof text === 'string' ? Buffer.from(text) : text, dialectOf(options));
  try {
    const parts: string[] = [];
    for (let kind = lexer.next(); kind !== T.end; kind = lexer.next()) {
      const part = kind === T.string || kind === T.number ? VALUE : lexer.slice(lexer.start, lexer.stop);
      if (part === undefined) return null;
      add(parts, part.toLowerCase(), kind === T.string);
    }
    while (parts.at(-1) === ';') parts.pop();
    return lexer.broken || parts.length === 0 ? null : parts.join(' ');
  } finally {
    lexer.close();
  }
}

/** Lists of values, and of rows of values, become one. */
function add(parts: string[], word: string, isString: boolean): void {
  const last = parts.at(-1) ?? '';
  const part = WORDS.has(word) && !ASKING.has(last) ? VALUE : word;
  if (part === VALUE && isString && (KINDS_OF_STRING.has(last) || INTRODUCER.test(last))) parts.pop();
  else if (part === VALUE && (last === '-' || last === '+') && BEFORE_SIGN.test(parts.at(-2) ?? '')) parts.pop();
  const end = parts.length;
  if (part === VALUE && parts[end - 1] === ',' && parts[end - 2] === VALUE) parts.pop();
  else if (part === ')' && endsWithSecondRow(parts)) parts.length = end - 3;
  else parts.push(part);
}

/** `( ? ) , ( ?`, of which the closing parenthesis comes next. */
function endsWithSecondRow(parts: readonly string[]): boolean {
  const end = parts.length;
  const is = (back: number, part: string) => parts[end - back] === part;
  return is(1, VALUE) && is(2, '(') && is(3, ',') && is(4, ')') && is(5, VALUE) && is(6, '(');
}
