// `SET @a = literal`: the one way of setting user variables whose effect is known without asking the server.

import { MAX_USER_VARIABLES } from './cursor.ts';
import { T } from './kinds.ts';
import { dialectOf, Lexer } from './lexer.ts';
import { variableName } from './names.ts';
import type { ClassifyOptions } from './types.ts';
import { W } from './words.ts';

/** A user variable and the text of the literal it was given. */
export interface LiteralAssignment {
  /** Lower case, without `@`. */
  name: string;
  /** As it stood in the statement: means the same only under the same character set and sql_mode. */
  valueSql: string;
}

const lexer = new Lexer();

/**
 * The assignments of a statement `SET @a = literal [, @b = literal …]`; null for anything else, or where any value is not a
 * plain literal (number, string, hexadecimal, bit value, NULL, TRUE, FALSE, with an introducer or a sign).
 */
export function literalUserVariableSet(
  text: Buffer | Uint8Array | string,
  options: ClassifyOptions = { flavor: 'mysql' },
): LiteralAssignment[] | null {
  if (options.multiByteUnsafe === true) return null;
  lexer.open(typeof text === 'string' ? Buffer.from(text) : text, dialectOf(options));
  const found = assignments();
  const sure = !lexer.broken && !lexer.mayRunSeen;
  lexer.close();
  return sure ? found : null;
}

function assignments(): LiteralAssignment[] | null {
  if (lexer.next() !== T.word || lexer.word !== W.set) return null;
  const found: LiteralAssignment[] = [];
  for (;;) {
    if (lexer.next() !== T.userVariable || found.length >= MAX_USER_VARIABLES) return null;
    const name = variableName(lexer, lexer.start, lexer.stop);
    const sign = lexer.next();
    if (name === undefined || (sign !== T.equals && sign !== T.assign)) return null;
    const valueSql = literal();
    if (valueSql === undefined) return null;
    found.push({ name, valueSql });
    const after = lexer.next();
    if (after === T.comma) continue;
    if (after === T.semicolon) return onlySemicolons() ? found : null;
    return after === T.end ? found : null;
  }
}

function onlySemicolons(): boolean {
  let token = lexer.next();
  while (token === T.semicolon) token = lexer.next();
  return token === T.end;
}

const PREFIX = /^(_[a-z0-9]+|[xbn])$/i;
const SIGN = /^[-+]$/;

/** Steps over one literal; undefined where there is none. */
function literal(): string | undefined {
  const token = lexer.next();
  const start = lexer.start;
  const first = lexer.slice(start, lexer.stop);
  if (first === undefined) return undefined;
  switch (token) {
    case T.string:
    case T.number:
      return first;
    case T.other:
      if (!SIGN.test(first) || lexer.next() !== T.number) return undefined;
      return lexer.slice(start, lexer.stop);
    case T.word: {
      if (lexer.word === W.null || lexer.word === W.true || lexer.word === W.false) return first;
      if (!PREFIX.test(first)) return undefined;
      const prefixStop = lexer.stop;
      if (lexer.next() !== T.string) return undefined;
      // `x '00'` with a blank is no hexadecimal literal.
      if (!first.startsWith('_') && lexer.start !== prefixStop) return undefined;
      return lexer.slice(start, lexer.stop);
    }
    default:
      return undefined;
  }
}
