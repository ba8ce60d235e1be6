// The shape of a text: what two statements have in common that differ in their values only.
import { T } from './kinds.ts';
import { dialectOf, Lexer } from './lexer.ts';
import type { ClassifyOptions } from './types.ts';

const VALUE = '?';
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
      add(parts, part.toLowerCase());
    }
    while (parts.at(-1) === ';') parts.pop();
    return lexer.broken || parts.length === 0 ? null : parts.join(' ');
  } finally {
    lexer.close();
  }
}

/** Lists of values, and of rows of values, become one. */
function add(parts: string[], part: string): void {
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
