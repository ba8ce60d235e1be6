// Splits a statement's bytes into tokens the way the server's own lexer does, without making an object for any of them:
// the current token is in the lexer's fields. Where two servers, or two settings of one, could read a text differently,
// the lexer says `broken`, and the statement is then `unknown`.
import {
  AT,
  BACKSLASH,
  BACKTICK,
  BLANK,
  classOf,
  DIGIT,
  DOUBLE_QUOTE,
  EOF,
  HIGH,
  LETTER,
  QUOTE,
  SLASH,
  STAR,
} from './bytes.ts';
import { markKind, T } from './kinds.ts';
import type { ClassifyOptions } from './types.ts';
import { findWord, fold, HASH_SEED, mix } from './words.ts';

/** What a literal counts for in the digest: the same as a prepared statement's parameter. */
const PLACEHOLDER = 0x3f;

/** What is known of an executable comment: whether the server runs it. */
const GATE = { none: 0, runs: 1, mayRun: 2 } as const;

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** What the lexer must know of the session. */
export interface Dialect {
  mariadb: boolean;
  ansiQuotes: boolean;
  noBackslashEscapes: boolean;
}

/** As the options say it. A new object: `classify`, which every statement goes through, fills one of its own. */
export function dialectOf({ flavor, sqlMode }: ClassifyOptions): Dialect {
  return {
    mariadb: flavor === 'mariadb',
    ansiQuotes: sqlMode?.ansiQuotes ?? false,
    noBackslashEscapes: sqlMode?.noBackslashEscapes ?? false,
  };
}

/** A reader of tokens. One is used again and again; `open` makes it ready for a text. */
export class Lexer {
  /** Where the current token starts and stops, in bytes. */
  start = 0;
  stop = 0;
  /** The number of the current word, 0 for one we do not know. */
  word = 0;
  /** The text cannot be read with certainty; no token follows. */
  broken = false;
  /** A token stood in a comment of which only the server's version tells whether it runs. */
  mayRunSeen = false;
  /** A hash of the tokens so far, in which every number and string counts the same. */
  digest = HASH_SEED;

  #text: Uint8Array = new Uint8Array(0);
  #length = 0;
  #at = 0;
  #dialect: Dialect = { mariadb: false, ansiQuotes: false, noBackslashEscapes: false };
  #gate: number = GATE.none;
  #gateStop = 0;
  #lastWasName = false;
  #nameHash = 0;

  /** Makes the lexer ready for a text. */
  open(text: Uint8Array, dialect: Dialect): void {
    this.#text = text;
    this.#length = text.length;
    this.#at = 0;
    this.#dialect = dialect;
    this.#gate = GATE.none;
    this.#lastWasName = false;
    this.start = 0;
    this.stop = 0;
    this.word = 0;
    this.broken = false;
    this.mayRunSeen = false;
    this.digest = HASH_SEED;
  }

  /** Lets go of the text, so that a packet is not kept alive. */
  close(): void {
    this.#text = new Uint8Array(0);
    this.#length = 0;
  }

  /** The bytes of the current token as text, or undefined where they are not UTF-8. */
  slice(start: number, stop: number): string | undefined {
    try {
      return decoder.decode(this.#text.subarray(start, stop));
    } catch {
      return undefined;
    }
  }

  /** Steps to the next token and returns its kind. */
  next(): number {
    const kind = this.#scan();
    if (kind !== T.end) {
      this.stop = this.#at;
      if (this.#gate === GATE.mayRun) this.mayRunSeen = true;
      const digest = this.digest;
      this.digest = mix((digest << 5) | (digest >>> 27), this.#shape(kind));
    }
    this.#lastWasName = kind === T.word || kind === T.quoted || kind === T.systemVariable;
    return kind;
  }

  /** What the current token counts for in the digest. */
  #shape(kind: number): number {
    switch (kind) {
      case T.word:
        return this.#nameHash;
      case T.string:
      case T.number:
        return PLACEHOLDER;
      case T.quoted:
      case T.userVariable:
      case T.systemVariable:
        return this.#hash(this.start, this.stop);
      default:
        return this.#text[this.start] ?? 0;
    }
  }

  #hash(start: number, stop: number): number {
    let hash = HASH_SEED;
    for (let at = start; at < stop; at++) hash = mix(hash, fold(this.#text[at] ?? 0));
    return hash;
  }

  /** The number of the word in the quotes of a token that was at start … stop, after any `@`; 0 for one we do not know. */
  quotedWord(start: number, stop: number): number {
    let from = start;
    while (this.#text[from] === AT) from++;
    return findWord(this.#text, from + 1, stop - 1, this.#hash(from + 1, stop - 1));
  }

  /** Whether what follows could be read differently under another sql_mode or character set. */
  restDependsOnDialect(): boolean {
    for (let at = this.#at; at < this.#length; at++) {
      const byte = this.#text[at] ?? 0;
      if (byte === BACKSLASH || byte === DOUBLE_QUOTE || byte >= 0x80) return true;
    }
    return false;
  }

  /** From the current token on there is nothing but semicolons and blanks. */
  restIsDropped(): boolean {
    for (let at = this.start; at < this.#length; at++) {
      const byte = this.#text[at] ?? 0;
      if (byte !== 0x3b && byte !== 0x20 && (byte < 0x09 || byte > 0x0d)) return false;
    }
    return true;
  }

  #peek(at: number): number {
    return at < this.#length ? (this.#text[at] ?? 0) : EOF;
  }

  #fail(): number {
    this.broken = true;
    this.#at = this.#length;
    this.start = this.#length;
    this.stop = this.#length;
    return T.end;
  }

  #scan(): number {
    const text = this.#text;
    const length = this.#length;
    if (this.broken) return T.end;
    for (;;) {
      if (this.#at >= length) {
        if (this.#gate !== GATE.none) return this.#fail();
        this.start = length;
        return T.end;
      }
      const byte = text[this.#at] ?? 0;
      const kind = classOf(byte);
      if (kind === BLANK) {
        this.#at++;
        continue;
      }
      this.start = this.#at;
      if (kind === LETTER || kind === HIGH) return this.#name(byte);
      if (kind === DIGIT) return this.#numberOrName();
      if (this.#skipComment(byte)) {
        if (this.broken) return T.end;
        continue;
      }
      return this.#mark(byte);
    }
  }

  /** Skips a comment, or enters or leaves an executable one. False where there is none. */
  #skipComment(byte: number): boolean {
    const next = this.#peek(this.#at + 1);
    switch (byte) {
      case 0x23: // #
        return this.#skipLine();
      case 0x2d: // -
        // "--" opens a comment only before a blank, a control character or the end.
        if (next !== 0x2d) return false;
        return this.#peek(this.#at + 2) <= 0x20 || this.#peek(this.#at + 2) === 0x7f ? this.#skipLine() : false;
      case SLASH:
        return next === STAR ? this.#skipBlock() : false;
      case STAR:
        if (next !== SLASH || this.#gate === GATE.none) return false;
        // Where the server may skip the comment, both readings must end it at the same place.
        if (this.#gate === GATE.mayRun && this.#at !== this.#gateStop) this.#fail();
        this.#gate = GATE.none;
        this.#at += 2;
        return true;
      default:
        return false;
    }
  }

  #skipLine(): true {
    const text = this.#text;
    const length = this.#length;
    let at = this.#at;
    for (; at < length; at++) {
      const byte = text[at];
      if (byte === 0x0a) break;
      // The server ends a line comment at a NUL.
      if (byte === 0) {
        this.#fail();
        return true;
      }
    }
    this.#at = at;
    return true;
  }

  #skipBlock(): true {
    const third = this.#peek(this.#at + 2);
    if (third === 0x21) this.#enterGate(this.#at + 3);
    else if ((third === 0x4d || third === 0x6d) && this.#peek(this.#at + 3) === 0x21 && this.#dialect.mariadb) {
      // MariaDB's own executable comment; its lexer accepts the capital letter only.
      if (third === 0x4d) this.#enterGate(this.#at + 4);
      else this.#fail();
    } else this.#skipPlain(third === 0x2b);
    return true;
  }

  #skipPlain(hint: boolean): void {
    const text = this.#text;
    const end = this.#length - 1;
    let quote = 0;
    for (let at = this.#at + 2; at < end; at++) {
      const byte = text[at];
      if (byte === STAR && text[at + 1] === SLASH) {
        // A hint's own lexer knows quotes: one that is still open would hide this end from it.
        if (quote !== 0) break;
        this.#at = at + 2;
        return;
      }
      if (!hint) continue;
      if (quote !== 0) {
        if (byte === quote) quote = 0;
      } else if (byte === QUOTE || byte === DOUBLE_QUOTE || byte === BACKTICK) quote = byte;
    }
    this.#fail();
  }

  #enterGate(at: number): void {
    if (this.#gate !== GATE.none) {
      this.#fail();
      return;
    }
    let digits = 0;
    let version = 0;
    while (digits < 6) {
      const byte = this.#peek(at + digits);
      if (classOf(byte) !== DIGIT) break;
      version = version * 10 + byte - 0x30;
      digits++;
    }
    if (digits < 5) {
      this.#gate = GATE.runs;
      this.#at = at;
      return;
    }
    this.#at = at + digits;
    // Every server that we serve is younger than these.
    if (version < 50700 || (this.#dialect.mariadb && version >= 100000 && version <= 100600)) {
      this.#gate = digits === 5 || this.#dialect.mariadb ? GATE.runs : GATE.mayRun;
    } else this.#gate = GATE.mayRun;
    if (this.#gate === GATE.mayRun) this.#gateStop = this.#rawEnd(this.#at);
  }

  /** Where a server that skips an executable comment sees its end; fails where it is nested or open. */
  #rawEnd(from: number): number {
    const text = this.#text;
    for (let at = from; at + 1 < this.#length; at++) {
      const byte = text[at];
      if (byte === STAR && text[at + 1] === SLASH) return at;
      if (byte === SLASH && text[at + 1] === STAR) break;
    }
    this.#fail();
    return -1;
  }

  #name(first: number): number {
    // MySQL 9 quotes bodies of routines as $tag$ … $tag$.
    if (first === 0x24 && !this.#dialect.mariadb) return this.#fail();
    const text = this.#text;
    const length = this.#length;
    let at = this.#at;
    let hash = HASH_SEED;
    let high = false;
    for (; at < length; at++) {
      const byte = text[at] ?? 0;
      const kind = classOf(byte);
      if (kind < LETTER) break;
      if (kind === HIGH) high = true;
      hash = mix(hash, fold(byte));
    }
    this.#at = at;
    this.#nameHash = hash;
    if (high) return this.#nameBeyondAscii(at);
    this.word = findWord(text, this.start, at, hash);
    return T.word;
  }

  /** In a single-byte character set a byte such as 0xA0 is a blank: accept only what is surely part of a name. */
  #nameBeyondAscii(stop: number): number {
    for (let at = this.start; at < stop; at++) if (this.#text[at] === 0xa0) return this.#fail();
    if (this.slice(this.start, stop) === undefined) return this.#fail();
    this.word = 0;
    return T.word;
  }

  #digits(from: number): number {
    let at = from;
    while (at < this.#length && classOf(this.#text[at] ?? 0) === DIGIT) at++;
    return at;
  }

  /** A number, or an identifier that starts with a digit. */
  #numberOrName(): number {
    let at = this.#digits(this.#at);
    const next = this.#peek(at);
    if (next !== EOF && classOf(next) >= LETTER) {
      // 1e5, 1e+5: a number in spite of the letter.
      const sign = this.#peek(at + 1);
      if (fold(next) === 0x65 && (sign === 0x2b || sign === 0x2d) && classOf(this.#peek(at + 2)) === DIGIT) {
        this.#at = this.#digits(at + 2);
        return T.number;
      }
      // 1e5 ends with its digits, whatever follows: 1e5FOR UPDATE has a keyword in it.
      if (fold(next) === 0x65 && classOf(sign) === DIGIT) {
        this.#at = this.#digits(at + 1);
        return T.number;
      }
      return this.#digitsThenLetters(at);
    }
    if (next === 0x2e) at = this.#fraction(at + 1);
    this.#at = at;
    return T.number;
  }

  #digitsThenLetters(digits: number): number {
    let at = digits;
    let high = false;
    while (at < this.#length && classOf(this.#text[at] ?? 0) >= LETTER) {
      if (classOf(this.#text[at] ?? 0) === HIGH) high = true;
      at++;
    }
    this.#at = at;
    // No name is that long: it is a literal in hexadecimal.
    this.#nameHash = at - this.start <= 64 ? this.#hash(this.start, at) : PLACEHOLDER;
    if (high) return this.#nameBeyondAscii(at);
    const text = Buffer.from(this.#text.subarray(this.start, Math.min(at, this.start + 64))).toString('latin1');
    this.word = 0;
    return at - this.start <= 64 && /^(0x[0-9a-f]+|0b[01]+)$/i.test(text) ? T.number : T.word;
  }

  #fraction(from: number): number {
    const at = this.#digits(from);
    if (this.#peek(at) !== 0x65 && this.#peek(at) !== 0x45) return at;
    const sign = this.#peek(at + 1);
    const exponent = sign === 0x2b || sign === 0x2d ? at + 2 : at + 1;
    return classOf(this.#peek(exponent)) === DIGIT ? this.#digits(exponent) : at;
  }

  #mark(byte: number): number {
    switch (byte) {
      case QUOTE:
        return this.#quoted(byte, !this.#dialect.noBackslashEscapes, T.string);
      case DOUBLE_QUOTE:
        return this.#dialect.ansiQuotes
          ? this.#quoted(byte, false, T.quoted)
          : this.#quoted(byte, !this.#dialect.noBackslashEscapes, T.string);
      case BACKTICK:
        return this.#quoted(byte, false, T.quoted);
      case AT:
        return this.#variable();
      case 0x2e: // .
        return this.#dot();
      case 0:
        return this.#fail();
      case BACKSLASH: // \N, an old spelling of NULL
        this.#at += this.#peek(this.#at + 1) === 0x4e ? 2 : 1;
        return T.other;
      case 0x3a: // :
        if (this.#peek(this.#at + 1) !== 0x3d) break;
        this.#at += 2;
        return T.assign;
      case 0x3b: // ;
        if (this.#gate !== GATE.none) return this.#fail();
        break;
      default:
        break;
    }
    this.#at++;
    return markKind(byte);
  }

  #dot(): number {
    // Right behind a name the dot joins; `SELECT .5` and `t .5` are numbers.
    const joins = this.#lastWasName && this.stop === this.start;
    if (!joins && classOf(this.#peek(this.#at + 1)) === DIGIT) {
      this.#at = this.#fraction(this.#at + 1);
      return T.number;
    }
    this.#at++;
    return T.dot;
  }

  #quoted(quote: number, escapes: boolean, kind: number): number {
    const text = this.#text;
    const length = this.#length;
    for (let at = this.#at + 1; at < length; at++) {
      const byte = text[at];
      if (byte === quote) {
        if (text[at + 1] === quote && at + 1 < length) at++;
        else {
          this.#at = at + 1;
          return kind;
        }
      } else if (byte === BACKSLASH && escapes) at++;
    }
    return this.#fail();
  }

  /** `@name`, `@'name'`, `@@name`. */
  #variable(): number {
    const next = this.#peek(this.#at + 1);
    if (next === AT) {
      this.#at += 2;
      return this.#systemVariable();
    }
    if (next === QUOTE || next === DOUBLE_QUOTE || next === BACKTICK) {
      this.#at++;
      const isString = next === QUOTE || (next === DOUBLE_QUOTE && !this.#dialect.ansiQuotes);
      return this.#quoted(next, isString && !this.#dialect.noBackslashEscapes, T.userVariable);
    }
    let at = this.#at + 1;
    for (; at < this.#length; at++) {
      const kind = classOf(this.#text[at] ?? 0);
      if (kind === HIGH) return this.#fail();
      if (kind < LETTER && this.#text[at] !== 0x2e) break;
    }
    if (at === this.#at + 1) return this.#fail();
    this.#at = at;
    return T.userVariable;
  }

  #systemVariable(): number {
    const next = this.#peek(this.#at);
    if (next === BACKTICK) {
      this.word = 0;
      return this.#quoted(BACKTICK, false, T.systemVariable);
    }
    if (next === EOF || classOf(next) < LETTER) return this.#fail();
    const start = this.start;
    this.start = this.#at;
    const kind = this.#name(next);
    this.start = start;
    return kind === T.word ? T.systemVariable : kind;
  }
}
