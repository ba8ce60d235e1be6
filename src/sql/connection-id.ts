// Replaces CONNECTION_ID() by the id that the client knows, so that a statement means the same on whichever server
// connection it runs. A select item keeps the column's name, which servers make of the text as it is written.
import { classify } from './classify.ts';
import { T } from './kinds.ts';
import { readTokens, type Token } from './tokens.ts';
import type { Classification, ClassifyOptions } from './types.ts';

interface Edit {
  start: number;
  stop: number;
  bytes: Buffer;
}

/** One level of parentheses. */
interface Level {
  clause: 'select' | 'by' | 'limit' | 'other';
  /** Index of the select item's first token. */
  itemStart: number;
  /** A call was replaced in the current select item. */
  itemHasCall: boolean;
  /** A call was replaced anywhere in these parentheses. */
  hasCall: boolean;
}

const newLevel = (clause: Level['clause']): Level => ({ clause, itemStart: 0, itemHasCall: false, hasCall: false });

/**
 * The text with every call of CONNECTION_ID() replaced by the id. Null where there is none, or where it is not sure that
 * all else stays the same: definitions, ORDER BY and GROUP BY (a number there is a column's), UNION (the call's
 * type counts), names that cannot be kept.
 * The literal's type may differ from the call's in length and sign. Classifies the text: `lastDigest` is of it, then.
 */
export function rewriteConnectionId(text: Buffer, options: ClassifyOptions, id: number): Buffer | null {
  if (!Number.isSafeInteger(id) || id < 0 || !classify(text, options).flags.connectionId) return null;
  return rewriteCalls(text, options, { connection_id: String(id) });
}

/**
 * The same for any functions without arguments: `calls` has the integer that each stands for, by its name in lower case.
 */
export function rewriteCalls(
  text: Buffer,
  options: ClassifyOptions,
  calls: Readonly<Record<string, string>>,
): Buffer | null {
  if (!mayBeRewritten(classify(text, options))) return null;
  const tokens = readTokens(text, options);
  const edits = tokens === null ? null : new Rewriter(text, tokens, options.flavor === 'mariadb', calls).edits();
  return edits === null || edits.length === 0 ? null : edited(text, edits);
}

function mayBeRewritten({ kind, flags }: Classification): boolean {
  // What is defined outlives the connection.
  if (flags.implicitCommit || flags.temporaryTable) return false;
  switch (kind) {
    case 'read':
    case 'locking-read':
    case 'write':
    case 'set':
    case 'call':
    case 'kill':
    case 'multi':
      return true;
    default:
      return false;
  }
}

function edited(text: Buffer, edits: Edit[]): Buffer {
  const parts: Buffer[] = [];
  let at = 0;
  for (const { start, stop, bytes } of edits.toSorted((a, b) => a.start - b.start)) {
    parts.push(text.subarray(at, start), bytes);
    at = stop;
  }
  return Buffer.concat([...parts, text.subarray(at)]);
}

const CALL = /^[`"]?\w+[`"]?\s*\(\s*\)$/;
const DECLARERS: ReadonlySet<string> = new Set(
  'into insert ignore replace table references with recursive as from join update key index'.split(' '),
);
const SELECT_OPTIONS: ReadonlySet<string> = new Set(
  `all distinct distinctrow high_priority straight_join sql_small_result sql_big_result sql_buffer_result sql_no_cache
  sql_cache sql_calc_found_rows`.split(/\s+/),
);
/** What ends a list of select items. */
const ENDS: ReadonlySet<string> = new Set('from where limit order group having into procedure on for lock'.split(' '));
const MYSQL_ENDS: ReadonlySet<string> = new Set(['window', 'qualify']);
const MARIADB_ENDS: ReadonlySet<string> = new Set(['offset', 'fetch']);
const ENDS_BY: ReadonlySet<string> = new Set(['having', 'window']);

class Rewriter {
  readonly #text: Buffer;
  readonly #tokens: readonly Token[];
  readonly #mariadb: boolean;
  readonly #calls: ReadonlyMap<string, string>;
  readonly #edits: Edit[] = [];
  #levels: Level[] = [newLevel('other')];
  #doubtful = false;

  constructor(text: Buffer, tokens: readonly Token[], mariadb: boolean, calls: Readonly<Record<string, string>>) {
    this.#text = text;
    this.#tokens = tokens;
    this.#mariadb = mariadb;
    this.#calls = new Map(Object.entries(calls));
  }

  /** Null where anything is in doubt. */
  edits(): Edit[] | null {
    for (let at = 0; at < this.#tokens.length; at++) {
      if (this.#isCall(at)) {
        this.#replace(at);
        at += 2;
      } else this.#step(at);
      if (this.#doubtful) return null;
    }
    this.#finishItem(this.#tokens.length);
    return this.#doubtful ? null : this.#edits;
  }

  get #level(): Level {
    return this.#levels.at(-1) ?? newLevel('other');
  }

  #step(at: number): void {
    const token = this.#tokens[at];
    switch (token?.kind) {
      case T.open:
        this.#open(at);
        break;
      case T.close:
        this.#close(at);
        break;
      case T.semicolon:
        this.#finishItem(at);
        this.#levels = [newLevel('other')];
        break;
      case T.comma:
        if (this.#level.clause !== 'select') break;
        this.#finishItem(at);
        this.#startItem(at + 1);
        break;
      default:
        if (token !== undefined && token.keyword !== '') this.#keyword(token.keyword, at);
    }
  }

  #open(at: number): void {
    const before = this.#tokens[at - 1];
    const calls = before?.kind === T.quoted || (before?.kind === T.word && before.keyword !== 'by');
    this.#levels.push(newLevel(this.#level.clause === 'by' && !calls ? 'by' : 'other'));
  }

  #close(at: number): void {
    this.#finishItem(at);
    const closed = this.#levels.pop();
    if (this.#levels.length === 0) this.#doubtful = true;
    else if (closed?.hasCall === true) this.#level.hasCall = this.#level.itemHasCall = true;
  }

  #keyword(keyword: string, at: number): void {
    const level = this.#level;
    const before = this.#tokens[at - 1];
    if (keyword === 'select' || (this.#mariadb && keyword === 'returning')) {
      level.clause = 'select';
      let start = at + 1;
      while (SELECT_OPTIONS.has(this.#tokens[start]?.keyword ?? '')) start++;
      this.#startItem(start);
    } else if (keyword === 'union' || keyword === 'except' || keyword === 'intersect') {
      // The column's type comes of both sides, and the call's is unsigned.
      this.#doubtful = true;
    } else if (keyword === 'values' && (before === undefined || before.kind === T.open)) {
      // Its columns are named after its first row.
      this.#doubtful = true;
    } else if (level.clause === 'select' && this.#endsItems(keyword)) {
      // MariaDB names a column with a lock clause right behind it in a way of its own.
      if (level.itemHasCall && this.#mariadb && (keyword === 'for' || keyword === 'lock')) this.#doubtful = true;
      this.#finishItem(at);
      level.clause = keyword === 'limit' ? 'limit' : 'other';
    } else if (keyword === 'by') level.clause = 'by';
    else if (keyword === 'limit') level.clause = 'limit';
    else if (level.clause === 'by' && ENDS_BY.has(keyword)) level.clause = 'other';
  }

  #endsItems(keyword: string): boolean {
    return ENDS.has(keyword) || (this.#mariadb ? MARIADB_ENDS : MYSQL_ENDS).has(keyword);
  }

  #isCall(at: number): boolean {
    const name = this.#tokens[at];
    if (name === undefined || this.#tokens[at + 1]?.kind !== T.open || this.#tokens[at - 1]?.kind === T.dot) {
      return false;
    }
    return this.#valueOf(name) !== undefined;
  }

  #valueOf(name: Token): string | undefined {
    return this.#calls.get(name.kind === T.quoted ? name.text.slice(1, -1).toLowerCase() : name.keyword);
  }

  #replace(at: number): void {
    const name = this.#tokens[at];
    const end = this.#tokens[at + 2];
    const { clause } = this.#level;
    const positional = clause === 'by' || clause === 'limit';
    if (name === undefined || end?.kind !== T.close || positional) this.#doubtful = true;
    else if (DECLARERS.has(this.#tokens[at - 1]?.keyword ?? '')) this.#doubtful = true;
    else if (!CALL.test(this.#slice(name.start, end.stop))) this.#doubtful = true;
    else {
      // Digits must not run into a name behind them, nor into the version of an executable comment.
      const before = /[0-9!.]/.test(this.#slice(name.start - 1, name.start)) ? ' ' : '';
      const behind = /[\w$.\x80-\xff]/.test(this.#slice(end.stop, end.stop + 1)) ? ' ' : '';
      this.#edit(name.start, end.stop, before + (this.#valueOf(name) ?? '') + behind);
      this.#level.hasCall = this.#level.itemHasCall = true;
    }
  }

  #edit(start: number, stop: number, text: string): void {
    this.#edits.push({ start, stop, bytes: Buffer.from(text, 'latin1') });
  }

  #slice(start: number, stop: number): string {
    return this.#text.toString('latin1', Math.max(start, 0), stop);
  }

  #startItem(at: number): void {
    this.#level.itemStart = at;
    this.#level.itemHasCall = false;
  }

  /** The select item in front of the token ends: gives the column its name back. */
  #finishItem(end: number): void {
    const { clause, itemHasCall, itemStart } = this.#level;
    const first = this.#tokens[itemStart];
    const last = this.#tokens[end - 1];
    if (clause !== 'select' || !itemHasCall || first === undefined || last === undefined) return;
    this.#level.itemHasCall = false;
    switch (naming(this.#tokens.slice(itemStart, end))) {
      case 'named':
        return;
      case 'unknown':
        this.#doubtful = true;
        return;
      case 'unnamed': {
        const name = this.#slice(first.start, last.stop);
        if (isName(name)) this.#edit(last.stop, last.stop, ` AS \`${name.replaceAll('`', '``')}\``);
        else this.#doubtful = true;
      }
    }
  }
}

/** Servers name a column after text like this as it stands. Comments are kept in part only. */
function isName(text: string): boolean {
  return text.length <= 64 && /^[\t\n\r\x20-\x7e]+$/.test(text) && !/\/\*|--|#/.test(text);
}

/** Behind one of these an operand stands, not an alias. */
const OPERATORS: ReadonlySet<string> = new Set(
  'is not div mod and or xor like rlike regexp collate escape then else between'.split(' '),
);

/** Whether a select item has an alias. */
function naming(item: readonly Token[]): 'named' | 'unnamed' | 'unknown' {
  const last = item.at(-1);
  const before = item.at(-2);
  if (last === undefined || before === undefined) return 'unknown';
  if (last.kind !== T.word && last.kind !== T.quoted && last.kind !== T.string) return 'unnamed';
  if (before.keyword === 'as') return 'named';
  switch (before.kind) {
    case T.dot:
    case T.other:
    case T.equals:
    case T.assign:
      return 'unnamed';
    case T.word:
      return OPERATORS.has(before.keyword) ? 'unnamed' : 'unknown';
    case T.string:
      // A string behind a string only goes on with it.
      if (last.kind === T.string) return 'unknown';
      break;
    default:
  }
  if (last.keyword === 'end') return 'unnamed';
  return item.some(({ keyword }) => keyword === 'interval') ? 'unknown' : 'named';
}
