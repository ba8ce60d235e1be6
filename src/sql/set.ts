// SET in all its forms. What it changes decides where it may run and what must be restored elsewhere.

import { type Cursor, F } from './cursor.ts';
import { T } from './kinds.ts';
import type { StatementKind } from './types.ts';
import { W } from './words.ts';

/** Where a value goes that SET assigns. */
interface Target {
  scoped: boolean;
  /** GLOBAL, PERSIST. */
  global: boolean;
  /** `@@x` without a scope. */
  systemVariable: boolean;
}

/** Handles a statement that starts with SET; `inner` handles what follows SET STATEMENT … FOR. */
export function setStatement(cursor: Cursor, inner: (cursor: Cursor) => StatementKind): StatementKind {
  cursor.next();
  switch (cursor.word) {
    case W.password:
      return account(cursor);
    case W.default:
      return account(cursor);
    case W.role:
      cursor.accounts = true;
      cursor.noted |= F.setsRole;
      cursor.rest();
      return 'set';
    case W.resource: // RESOURCE GROUP: a property of the thread that nothing reports
      cursor.rest();
      return 'unknown';
    case W.statement:
      return cursor.mariadb ? setStatementFor(cursor, inner) : assignments(cursor);
    default:
      return assignments(cursor);
  }
}

/** SET PASSWORD, SET DEFAULT ROLE: a change of an account. */
function account(cursor: Cursor): StatementKind {
  cursor.accounts = true;
  cursor.noted |= F.implicitCommit;
  cursor.rest();
  return 'write';
}

function setStatementFor(cursor: Cursor, inner: (cursor: Cursor) => StatementKind): StatementKind {
  // The server reports the values for one statement, and takes that back in the answer of some later one.
  cursor.noted |= F.setsUnreported;
  while (!cursor.ended) {
    cursor.next();
    if (cursor.depth === 0 && cursor.word === W.for) {
      cursor.next();
      return inner(cursor);
    }
  }
  return 'unknown';
}

/** The comma-separated list; the cursor stands on its first token. */
function assignments(cursor: Cursor): StatementKind {
  for (;;) {
    if (cursor.ended) return 'unknown';
    if (!assignment(cursor)) {
      cursor.rest();
      return 'unknown';
    }
    while (!cursor.ended && !(cursor.token === T.comma && cursor.depth === 0)) cursor.next();
    if (cursor.ended) break;
    cursor.next();
  }
  return (cursor.noted & F.globalScope) !== 0 ? 'admin' : 'set';
}

/** One element up to its value; false where it is none that we know. */
function assignment(cursor: Cursor): boolean {
  if (cursor.token === T.userVariable) {
    const sign = cursor.next();
    if (sign !== T.equals && sign !== T.assign) return false;
    if (sign === T.equals) cursor.writesVariable();
    cursor.next();
    return !cursor.ended;
  }
  const target = scope(cursor);
  switch (cursor.word) {
    case W.names:
    case W.charset:
      cursor.noted |= F.setsNames;
      cursor.next();
      return true;
    case W.character:
      cursor.noted |= F.setsNames;
      cursor.next();
      return cursor.word === W.set;
    case W.transaction:
      if (!target.scoped) cursor.noted |= F.setsOneShotTransaction;
      cursor.rest();
      return true;
    default:
      return variable(cursor, target);
  }
}

/** Steps over GLOBAL, SESSION … or `@@global.` … */
function scope(cursor: Cursor): Target {
  const target: Target = { scoped: false, global: false, systemVariable: cursor.token === T.systemVariable };
  const word = target.systemVariable ? cursor.lexer.word : cursor.word;
  const global = word === W.global || word === W.persist || word === W.persist_only;
  if (!global && word !== W.session && word !== W.local) return target;
  target.scoped = true;
  target.global = global;
  if (global) cursor.noted |= F.globalScope;
  cursor.next();
  if (target.systemVariable && cursor.token === T.dot) cursor.next();
  return target;
}

function variable(cursor: Cursor, target: Target): boolean {
  if (!isName(cursor)) return false;
  let name = variableName(cursor);
  cursor.next();
  while (cursor.token === T.dot) {
    cursor.next();
    if (!isName(cursor)) return false;
    name = variableName(cursor);
    cursor.next();
  }
  if (cursor.token !== T.equals && cursor.token !== T.assign) return false;
  cursor.next();
  noteVariable(cursor, name, target);
  return !cursor.ended;
}

function isName(cursor: Cursor): boolean {
  return cursor.token === T.word || cursor.token === T.quoted || cursor.token === T.systemVariable;
}

function variableName(cursor: Cursor): string {
  const raw = cursor.lexer.slice(cursor.lexer.start, cursor.lexer.stop) ?? '';
  return raw.replaceAll(/[@`"]/g, '').toLowerCase();
}

const OFF = new Set(['0', 'off', 'false', "'0'", "'off'", "'false'", '"0"', '"off"', '"false"']);

/** The variables whose setting is more than a setting; the cursor stands on the value. */
function noteVariable(cursor: Cursor, name: string, target: Target): void {
  if (name.startsWith('session_track_')) cursor.noted |= F.touchesSessionTracking;
  switch (name) {
    case 'transaction_isolation':
    case 'tx_isolation':
    case 'transaction_read_only':
    case 'tx_read_only':
      // `SET @@transaction_isolation` counts for the next transaction, `SET transaction_isolation` for the session.
      if (target.systemVariable && !target.scoped) cursor.noted |= F.setsOneShotTransaction;
      return;
    case 'autocommit': {
      const value = cursor.lexer.slice(cursor.lexer.start, cursor.lexer.stop)?.toLowerCase() ?? '';
      if (!target.global && !OFF.has(value)) cursor.noted |= F.implicitCommit;
      return;
    }
    case 'last_insert_id':
    case 'identity':
      cursor.noted |= F.setsLastInsertId;
      return;
    case 'timestamp':
    case 'insert_id':
    case 'rand_seed1':
    case 'rand_seed2':
    case 'pseudo_thread_id':
    case 'gtid_next':
    case 'gtid_seq_no':
      cursor.noted |= F.setsUnreported;
      return;
    default:
  }
}
