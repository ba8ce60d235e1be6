// From a text to its classification: walks over the statements of a text, joins what was noted and hands out the result.
// Results without variables or a KILL are shared, so that the hot path makes no object.
import { Cursor, F } from './cursor.ts';
import { T } from './kinds.ts';
import type { Dialect } from './lexer.ts';
import { statement } from './statements.ts';
import type { Classification, ClassifyOptions, StatementFlags, StatementKind } from './types.ts';

const FLAG_NAMES: readonly (keyof StatementFlags & keyof typeof F)[] = [
  'temporaryTable',
  'namedLock',
  'setsUserVariable',
  'usesUserVariable',
  'asksPrevious',
  'calcFoundRows',
  'unknownFunction',
  'chain',
  'release',
  'readOnly',
  'setsLastInsertId',
  'implicitCommit',
  'setsOneShotTransaction',
  'globalScope',
  'touchesSessionTracking',
  'asksInsertId',
  'asksDiagnostics',
  'asksCounts',
  'asksConnection',
  'connectionId',
  'setsRole',
  'setsNames',
  'handler',
  'mayRelease',
  'dropsTable',
  'renamesTable',
  'setsUnreported',
  'asksServer',
];
const FLAG_BITS = F.locking - 1;

/** A read with one of these must not be run a second time. */
const NOT_AGAIN =
  F.temporaryTable |
  F.namedLock |
  F.setsUserVariable |
  F.asksPrevious |
  F.unknownFunction |
  F.setsLastInsertId |
  F.locking |
  F.writes |
  F.into |
  F.notAgain;

const KINDS: readonly StatementKind[] = [
  ...(['read', 'locking-read', 'write', 'begin', 'commit', 'rollback', 'savepoint', 'set', 'use', 'kill'] as const),
  ...(['call', 'prepare', 'lock', 'unlock', 'xa', 'admin', 'multi', 'empty', 'unknown'] as const),
];
const KIND_NUMBERS = new Map(KINDS.map((kind, at) => [kind, at]));

/** Shared results by kind, flags and rerunnable. Texts made to fill it up only lose the sharing. */
const MAX_SHARED = 1024;
const shared = new Map<number, Classification>();
const NO_VARIABLES: readonly string[] = Object.freeze([]);

const cursor = new Cursor();
let digestRead = false;
const dialect: Dialect = { mariadb: false, ansiQuotes: false, noBackslashEscapes: false };

/**
 * Tells what a statement's text does, in one pass. Never throws, never guesses: a text that servers could read in more
 * than one way is `unknown` and not rerunnable. What a view, a trigger or a prepared text hides is not seen.
 */
export function classify(text: Buffer | Uint8Array | string, options: ClassifyOptions): Classification {
  if (options.multiByteUnsafe === true) {
    digestRead = false;
    return result('unknown', 0, false);
  }
  digestRead = true;
  dialect.mariadb = options.flavor === 'mariadb';
  dialect.ansiQuotes = options.sqlMode?.ansiQuotes ?? false;
  dialect.noBackslashEscapes = options.sqlMode?.noBackslashEscapes ?? false;
  cursor.open(typeof text === 'string' ? Buffer.from(text) : text, dialect);
  try {
    return statements();
  } finally {
    cursor.lexer.close();
  }
}

/**
 * A hash of the shape of the text that was classified last, as an unsigned 32-bit number: words in either case, and each
 * number, string and `?` as one placeholder. Texts of equal digest may differ: good for remembering how long such
 * statements take, never for what is right. 0 where the text was not read; of a text that is `unknown` it may be of a part.
 */
export function lastDigest(): number {
  if (!digestRead) return 0;
  // The last tokens must reach the lower bits, too: a caller may take those as a table's index.
  let hash = cursor.lexer.digest;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/**
 * The first statement of a text of several, by itself, and the place of the semicolon behind it. Null where that is not sure, or there
 * is no other.
 */
export function classifyFirst(text: Buffer, options: ClassifyOptions): { sql: Classification; end: number } | null {
  if (classify(text, options).kind !== 'multi') return null;
  cursor.open(text, dialect);
  try {
    cursor.next();
    const kind = oneStatement();
    if (cursor.token !== T.semicolon || kind === 'unknown' || cursor.doubtful || cursor.lexer.mayRunSeen) return null;
    return { sql: result(kind, cursor.noted, false), end: cursor.lexer.start };
  } finally {
    cursor.lexer.close();
  }
}

/** Whether what was classified last may find more rows than it sends. Sure where it says no. */
export function lastFindsMore(): boolean {
  return !digestRead || cursor.findsMore;
}

function statements(): Classification {
  let kind: StatementKind = 'empty';
  let count = 0;
  let noted = 0;
  let doubtful = false;
  let dialectChecked = false;
  let calls = false;
  cursor.next();
  while (cursor.token !== T.end) {
    // The server drops semicolons at the end of a text, and refuses an empty statement elsewhere.
    if (cursor.token === T.semicolon) {
      if (count > 0 && !doubtful && cursor.lexer.restIsDropped()) break;
      doubtful = true;
    } else {
      // In a comment that may not run, the verb itself is in doubt.
      const verbInDoubt = cursor.lexer.mayRunSeen;
      count++;
      kind = oneStatement();
      // What follows in the same text is read with the dialect that this statement may have changed.
      if (!dialectChecked && cursor.token === T.semicolon && mayChangeDialect(kind, cursor.noted)) {
        dialectChecked = true;
        doubtful ||= cursor.lexer.restDependsOnDialect();
      }
      noted |= cursor.noted;
      cursor.noted = 0;
      doubtful ||= kind === 'unknown' || verbInDoubt;
      calls ||= kind === 'call' || kind === 'prepare';
      if (cursor.token === T.end) break;
    }
    cursor.startStatement();
    cursor.next();
  }
  noted |= cursor.noted;
  if (cursor.lexer.broken || cursor.doubtful || doubtful) return result('unknown', noted, false);
  // Among others, what a routine may do is told by its flag only.
  if (count > 1) return result('multi', calls ? noted | F.unknownFunction : noted, false);
  return result(kind, noted, kind === 'read' && (noted & NOT_AGAIN) === 0 && !cursor.lexer.mayRunSeen);
}

function mayChangeDialect(kind: StatementKind, noted: number): boolean {
  return kind === 'set' || kind === 'call' || kind === 'prepare' || (noted & F.unknownFunction) !== 0;
}

function oneStatement(): StatementKind {
  const kind = statement(cursor);
  if (!cursor.lexer.mayRunSeen || kind === 'unknown') return kind;
  // Part of the statement runs on some servers only. A write of rows or a definition stays one; of others little is sure.
  return kind === 'write' && (cursor.noted & F.temporaryTable) === 0 ? kind : 'unknown';
}

function result(kind: StatementKind, noted: number, rerunnable: boolean): Classification {
  const bits = noted & FLAG_BITS;
  if (cursor.written.length > 0 && (bits & F.setsUserVariable) !== 0) return build(kind, bits, rerunnable);
  if (kind === 'kill' && cursor.kill !== undefined) return build(kind, bits, rerunnable);
  const key = (bits * KINDS.length + (KIND_NUMBERS.get(kind) ?? 0)) * 2 + (rerunnable ? 1 : 0);
  const known = shared.get(key);
  if (known !== undefined) return known;
  const fresh = build(kind, bits, rerunnable);
  if (shared.size < MAX_SHARED) shared.set(key, fresh);
  return fresh;
}

function build(kind: StatementKind, bits: number, rerunnable: boolean): Classification {
  const flags = Object.fromEntries(
    FLAG_NAMES.map((name) => [name, (bits & F[name]) !== 0]),
  ) as unknown as StatementFlags;
  const userVariables = (bits & F.setsUserVariable) === 0 ? NO_VARIABLES : Object.freeze(cursor.written);
  const plain = { kind, rerunnable, flags: Object.freeze(flags), userVariables };
  const kill = kind === 'kill' ? cursor.kill : undefined;
  return Object.freeze(kill === undefined ? plain : { ...plain, kill });
}
