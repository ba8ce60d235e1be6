// How a user variable is named: `@a`, `@'a'`, `@"a"`, `` @`a` `` are one variable, in either case of letters.
import type { Lexer } from './lexer.ts';

/** A user variable's name without `@` and quotes, in lower case; undefined where escapes make it doubtful. */
export function variableName(from: Lexer, start: number, stop: number): string | undefined {
  const raw = from.slice(start + 1, stop);
  if (raw === undefined) return undefined;
  const quote = raw[0];
  if (quote !== "'" && quote !== '"' && quote !== '`') return raw.toLowerCase();
  const inner = raw.slice(1, -1);
  if (inner.includes('\\')) return undefined;
  return inner.replaceAll(quote + quote, quote).toLowerCase();
}
