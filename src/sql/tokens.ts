// A text as a list of tokens, for the slower second looks (objects, settings, connection-id): those are made for few
// statements only and may make objects. What cannot be read with certainty gives no list at all.
import { T } from './kinds.ts';
import { dialectOf, Lexer } from './lexer.ts';
import type { ClassifyOptions } from './types.ts';

/** A longer text is not looked at a second time. */
export const MAX_TOKENS = 4096;

export interface Token {
  /** One of T. */
  kind: number;
  /** In bytes. */
  start: number;
  stop: number;
  /** As it is written; empty where that is not UTF-8. */
  text: string;
  /** A word in lower case; empty for all other tokens, and for a name behind a dot. */
  keyword: string;
}

const lexer = new Lexer();

/** The text's tokens; null where servers could read it in more than one way, or where it has more than MAX_TOKENS. */
export function readTokens(text: Uint8Array | string, options: ClassifyOptions): Token[] | null {
  if (options.multiByteUnsafe === true) return null;
  lexer.open(typeof text === 'string' ? Buffer.from(text) : text, dialectOf(options));
  const tokens: Token[] = [];
  let dotted = false;
  while (tokens.length <= MAX_TOKENS) {
    const kind = lexer.next();
    if (kind === T.end) break;
    const { start, stop } = lexer;
    const written = lexer.slice(start, stop) ?? '';
    tokens.push({ kind, start, stop, text: written, keyword: kind === T.word && !dotted ? written.toLowerCase() : '' });
    dotted = kind === T.dot;
  }
  const sure = !lexer.broken && !lexer.mayRunSeen && tokens.length <= MAX_TOKENS;
  lexer.close();
  return sure ? tokens : null;
}

/** Walks over the tokens of one statement. */
export class Walk {
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  /** Walks over a text of a single statement; null for any other. */
  static over(text: Uint8Array | string, options: ClassifyOptions): Walk | null {
    const tokens = readTokens(text, options);
    if (tokens === null) return null;
    while (tokens.at(-1)?.kind === T.semicolon) tokens.pop();
    return tokens.some(({ kind }) => kind === T.semicolon) ? null : new Walk(tokens);
  }

  get ended(): boolean {
    return this.#at >= this.#tokens.length;
  }

  get current(): Token | undefined {
    return this.#tokens[this.#at];
  }

  /** Steps over the words if they stand here, all of them and in this order. */
  words(...keywords: string[]): boolean {
    if (!keywords.every((keyword, at) => this.#tokens[this.#at + at]?.keyword === keyword)) return false;
    this.#at += keywords.length;
    return true;
  }

  /** Steps over one of the words and returns it. */
  oneOf<Keyword extends string>(...keywords: Keyword[]): Keyword | null {
    return keywords.find((keyword) => this.words(keyword)) ?? null;
  }

  /** Steps over a token of the kind and returns it. */
  take(kind: number): Token | null {
    const token = this.#tokens[this.#at];
    if (token?.kind !== kind) return null;
    this.#at++;
    return token;
  }

  /** Steps over an identifier and returns its name, as it is written but without its quotes. */
  identifier(): string | null {
    const token = this.take(T.word) ?? this.take(T.quoted);
    if (token === null || token.text === '') return null;
    return token.kind === T.word ? token.text : unquoted(token.text);
  }

  /** Steps over a name that may be written as an identifier or as a string. */
  identifierOrString(): string | null {
    const string = this.take(T.string);
    return string === null ? this.identifier() : unquoted(string.text);
  }
}

/** What stands in quotes; null where a backslash makes it doubtful. */
export function unquoted(text: string): string | null {
  const quote = text[0] ?? '';
  const inner = text.slice(1, -1);
  if (quote !== '`' && inner.includes('\\')) return null;
  return inner.replaceAll(quote + quote, quote);
}
