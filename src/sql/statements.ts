// The handler of each verb: finds a statement's kind. A handler is entered with the cursor on the verb and leaves it on
// the statement's end. What no handler knows is `unknown`.
import { ASKS, type Cursor, F } from './cursor.ts';
import { T } from './kinds.ts';
import { setStatement } from './set.ts';
import type { StatementKind } from './types.ts';
import { W } from './words.ts';

type Handler = (cursor: Cursor) => StatementKind;

const DML: ReadonlySet<number> = new Set([W.insert, W.update, W.delete, W.replace]);

/** Classifies one statement; the cursor stands on its first token. */
export function statement(cursor: Cursor): StatementKind {
  let parenthesised = false;
  while (cursor.token === T.open) {
    parenthesised = true;
    cursor.next();
  }
  const verb = cursor.word;
  const handler = HANDLERS[verb];
  // Only queries may stand in parentheses.
  if (handler === undefined || (parenthesised && !QUERIES.has(verb))) return unknown(cursor);
  const kind = handler(cursor);
  cursor.rest();
  return kind;
}

function unknown(cursor: Cursor): StatementKind {
  cursor.rest();
  return 'unknown';
}

/** SELECT, VALUES, TABLE. */
function query(cursor: Cursor): StatementKind {
  cursor.rest();
  if ((cursor.noted & F.writes) !== 0) return 'write';
  if ((cursor.noted & F.into) !== 0) return 'unknown';
  return (cursor.noted & F.locking) !== 0 ? 'locking-read' : 'read';
}

function withClause(cursor: Cursor): StatementKind {
  cursor.declaresNames = true;
  for (;;) {
    cursor.next();
    if (cursor.ended) return 'unknown';
    const atTop = cursor.depth === 0 && cursor.token === T.word;
    // A parenthesis right behind a common table's own opens the query itself.
    const opens = cursor.depth === 1 && cursor.token === T.open && cursor.previous === T.close;
    if (!opens && !(atTop && (QUERIES.has(cursor.word) || DML.has(cursor.word)))) continue;
    cursor.declaresNames = false;
    if (opens) return query(cursor);
    return DML.has(cursor.word) ? write(cursor) : query(cursor);
  }
}

function write(cursor: Cursor): StatementKind {
  cursor.rest();
  return 'write';
}

function loadStatement(cursor: Cursor): StatementKind {
  cursor.next();
  // A user variable in LOAD DATA's list of columns receives a value.
  if (cursor.word === W.data || cursor.word === W.xml) cursor.variablesAreWritten = true;
  else noteCommitOfMysql(cursor);
  return write(cursor);
}

/** MariaDB does not commit for it. */
function noteCommitOfMysql(cursor: Cursor): void {
  if (!cursor.mariadb) cursor.noted |= F.implicitCommit;
}

function cacheStatement(cursor: Cursor): StatementKind {
  noteCommitOfMysql(cursor);
  return write(cursor);
}

/** STOP REPLICA, which MariaDB refuses in a transaction. */
function stopStatement(cursor: Cursor): StatementKind {
  noteCommitOfMysql(cursor);
  return plainAdmin(cursor);
}

/** RESET PERSIST forgets what was persisted, and commits nothing. */
function resetStatement(cursor: Cursor): StatementKind {
  cursor.next();
  return cursor.word === W.persist ? plainAdmin(cursor) : admin(cursor);
}

function definition(cursor: Cursor): StatementKind {
  cursor.accounts = true;
  cursor.noted |= F.implicitCommit;
  let queries = false;
  while (!cursor.ended) {
    cursor.next();
    if (cursor.word === W.select) queries = true;
    else if (cursor.word === W.rename) cursor.noted |= F.renamesTable;
    // Not a partition's VALUES IN or VALUES LESS THAN.
    else if (cursor.previousWord === W.values && cursor.word !== W.in && cursor.word !== W.less) queries = true;
  }
  // Stored functions may not stand in a definition but in its query; `KEY k (a(10))` looks like a call.
  if (!queries) cursor.noted &= ~F.unknownFunction;
  return 'write';
}

/** CREATE: temporary tables do not commit; routines have bodies with semicolons of their own. */
function createStatement(cursor: Cursor): StatementKind {
  cursor.accounts = true;
  while (!cursor.ended) {
    cursor.next();
    switch (cursor.word) {
      case W.temporary:
        cursor.noted |= F.temporaryTable;
        return write(cursor);
      case W.index:
        cursor.declaresNames = true;
        return definition(cursor);
      case W.procedure:
      case W.function:
      case W.trigger:
      case W.event:
        return routine(cursor);
      case W.package:
        return unknown(cursor);
      case W.table:
      case W.view:
      case W.user:
      case W.role:
      case W.database:
      case W.schema:
      case W.sequence:
        return definition(cursor);
      default:
    }
  }
  cursor.noted |= F.implicitCommit;
  return 'write';
}

/** What needs an END wherever it stands; the others are functions too, so they count only where a statement starts. */
const ALWAYS_BLOCKS: ReadonlySet<number> = new Set([W.begin, W.case]);
const BLOCKS: ReadonlySet<number> = new Set([W.if, W.loop, W.while, W.repeat, W.for]);
const OPENS_STATEMENT: ReadonlySet<number> = new Set([W.begin, W.then, W.else, W.do, W.loop, W.repeat]);

/** A routine, trigger or event: semicolons inside blocks do not end it. A body that does not come out even is `unknown`. */
function routine(cursor: Cursor): StatementKind {
  let blocks = 0;
  let starts = false;
  cursor.noted |= F.implicitCommit;
  for (;;) {
    cursor.next();
    if (cursor.token === T.end) return blocks === 0 ? 'write' : 'unknown';
    if (cursor.token === T.semicolon) {
      if (blocks === 0) return 'write';
      starts = true;
      continue;
    }
    const word = cursor.word;
    if (word === W.end) {
      if (blocks === 0) return unknown(cursor);
      blocks--;
    } else if (cursor.previousWord !== W.end && (ALWAYS_BLOCKS.has(word) || (starts && BLOCKS.has(word)))) blocks++;
    starts = OPENS_STATEMENT.has(word) || isLabel(cursor);
  }
}

/** `name:` in front of a block. */
function isLabel(cursor: Cursor): boolean {
  return cursor.token === T.other && cursor.lexer.slice(cursor.lexer.start, cursor.lexer.stop) === ':';
}

function dropStatement(cursor: Cursor): StatementKind {
  cursor.next();
  if (cursor.word === W.prepare) return prepared(cursor);
  const temporary = cursor.word === W.temporary;
  if (temporary) cursor.next();
  if (cursor.word === W.table || cursor.word === W.tables) cursor.noted |= F.dropsTable;
  if (!temporary) return definition(cursor);
  cursor.noted |= F.temporaryTable;
  return write(cursor);
}

function renameStatement(cursor: Cursor): StatementKind {
  cursor.noted |= F.renamesTable;
  return definition(cursor);
}

/** HANDLER keeps a table open in the connection. */
function handlerStatement(cursor: Cursor): StatementKind {
  cursor.noted |= F.handler;
  return unknown(cursor);
}

function admin(cursor: Cursor): StatementKind {
  cursor.noted |= F.implicitCommit;
  cursor.rest();
  return 'admin';
}

function plainAdmin(cursor: Cursor): StatementKind {
  cursor.rest();
  return 'admin';
}

function beginStatement(cursor: Cursor): StatementKind {
  cursor.next();
  if (cursor.word === W.work) cursor.next();
  // BEGIN NOT ATOMIC opens a compound statement of MariaDB.
  if (!cursor.ended) return unknown(cursor);
  cursor.noted |= F.implicitCommit;
  return 'begin';
}

function startStatement(cursor: Cursor): StatementKind {
  cursor.next();
  if (cursor.word !== W.transaction) return admin(cursor);
  cursor.next();
  let writes = false;
  for (let first = true; !cursor.ended; first = false) {
    if (!first && (!stepOver(cursor, T.comma) || cursor.ended)) return unknown(cursor);
    if (cursor.word === W.with) {
      cursor.next();
      if (!word(cursor, W.consistent) || !word(cursor, W.snapshot)) return unknown(cursor);
    } else if (!word(cursor, W.read)) return unknown(cursor);
    else if (word(cursor, W.only)) cursor.noted |= F.readOnly;
    else if (word(cursor, W.write)) writes = true;
    else return unknown(cursor);
  }
  // Servers read no text that says both.
  if (writes && (cursor.noted & F.readOnly) !== 0) return unknown(cursor);
  cursor.noted |= F.implicitCommit;
  return 'begin';
}

/** True: it was the current one, and the cursor has gone on. */
function word(cursor: Cursor, expected: number): boolean {
  if (cursor.word !== expected) return false;
  cursor.next();
  return true;
}

function stepOver(cursor: Cursor, token: number): boolean {
  if (cursor.token !== token) return false;
  cursor.next();
  return true;
}

/** COMMIT and ROLLBACK: [WORK] [AND [NO] CHAIN] [[NO] RELEASE]. */
function ending(kind: 'commit' | 'rollback'): Handler {
  return (cursor) => {
    cursor.next();
    if (cursor.word === W.work) cursor.next();
    if (kind === 'rollback' && cursor.word === W.to) {
      cursor.rest();
      return 'savepoint';
    }
    if (cursor.word === W.and) {
      cursor.next();
      if (!option(cursor, W.chain, F.chain)) return unknown(cursor);
    }
    if (cursor.word === W.no || cursor.word === W.release) {
      if (!option(cursor, W.release, F.release)) return unknown(cursor);
    }
    return cursor.ended ? kind : unknown(cursor);
  };
}

/** [NO] word. */
function option(cursor: Cursor, word: number, flag: number): boolean {
  const negated = cursor.word === W.no;
  if (negated) cursor.next();
  if (cursor.word !== word) return false;
  if (!negated) cursor.noted |= flag;
  cursor.next();
  return true;
}

function lockStatement(cursor: Cursor): StatementKind {
  cursor.next();
  if (cursor.word === W.tables || cursor.word === W.table) cursor.noted |= F.implicitCommit;
  cursor.rest();
  return 'lock';
}

function unlockStatement(cursor: Cursor): StatementKind {
  cursor.next();
  if (cursor.word === W.tables || cursor.word === W.table) cursor.noted |= F.implicitCommit;
  cursor.rest();
  return 'unlock';
}

/** BACKUP STAGE, BACKUP LOCK, BACKUP UNLOCK of MariaDB. */
function backupStatement(cursor: Cursor): StatementKind {
  cursor.next();
  const kind = cursor.word === W.unlock ? 'unlock' : 'lock';
  cursor.rest();
  return cursor.mariadb ? kind : 'unknown';
}

function flushStatement(cursor: Cursor): StatementKind {
  let tables = false;
  let locks = false;
  cursor.noted |= F.implicitCommit;
  for (;;) {
    cursor.next();
    if (cursor.ended) break;
    if (cursor.word === W.tables || cursor.word === W.table) tables = true;
    if (cursor.word === W.lock || cursor.word === W.export) locks = true;
  }
  return tables && locks ? 'lock' : 'admin';
}

function constant(kind: StatementKind): Handler {
  return (cursor) => {
    cursor.rest();
    return kind;
  };
}

/** KILL [HARD|SOFT] [CONNECTION|QUERY] n. MariaDB's KILL QUERY ID n names a query, KILL USER an account. */
function killStatement(cursor: Cursor): StatementKind {
  cursor.next();
  if (cursor.word === W.hard || cursor.word === W.soft) cursor.next();
  const queryOnly = cursor.word === W.query;
  if (queryOnly || cursor.word === W.connection) cursor.next();
  if (cursor.token === T.number) {
    const text = cursor.lexer.slice(cursor.lexer.start, cursor.lexer.stop) ?? '';
    cursor.next();
    const connectionId = /^[0-9]{1,15}$/.test(text) ? Number(text) : undefined;
    if (cursor.ended && connectionId !== undefined) cursor.kill = { connectionId, queryOnly };
  }
  cursor.rest();
  return 'kill';
}

function callStatement(cursor: Cursor): StatementKind {
  // An OUT parameter's variable is written.
  cursor.variablesAreWritten = true;
  // The procedure's own name is not a function's.
  cursor.declaresNames = true;
  cursor.rest();
  return 'call';
}

function prepared(cursor: Cursor): StatementKind {
  cursor.rest();
  return 'prepare';
}

function executeStatement(cursor: Cursor): StatementKind {
  cursor.variablesAreWritten = true;
  return prepared(cursor);
}

function releaseStatement(cursor: Cursor): StatementKind {
  cursor.next();
  return cursor.word === W.savepoint ? constant('savepoint')(cursor) : unknown(cursor);
}

function diagnostics(cursor: Cursor): StatementKind {
  cursor.variablesAreWritten = true;
  cursor.noted |= ASKS.diagnostics | F.asksServer;
  cursor.rest();
  return 'read';
}

/** CHECKSUM TABLE, HELP. */
function ofServer(cursor: Cursor): StatementKind {
  cursor.noted |= F.asksServer;
  cursor.rest();
  return 'read';
}

const SHOWS_DIAGNOSTICS: ReadonlySet<number> = new Set([W.warnings, W.errors, W.count]);

function showStatement(cursor: Cursor): StatementKind {
  cursor.accounts = true;
  cursor.noted |= F.asksServer;
  cursor.next();
  const first = cursor.word;
  // COUNT: SHOW COUNT(*) WARNINGS
  if (SHOWS_DIAGNOSTICS.has(first)) cursor.noted |= ASKS.diagnostics;
  else if (first === W.profile || first === W.profiles) cursor.noted |= ASKS.profile;
  cursor.rest();
  // SHOW PROCEDURE STATUS is not SELECT … PROCEDURE.
  cursor.noted &= ~F.notAgain;
  return 'read';
}

const STATEMENT_AFTER_EXPLAIN: ReadonlySet<number> = new Set([W.select, W.with, W.table, W.values, ...DML]);

/** EXPLAIN, DESCRIBE, DESC: of a table, a connection or a statement. */
function explainStatement(cursor: Cursor): StatementKind {
  let runs = false;
  cursor.noted |= F.asksServer;
  for (;;) {
    cursor.next();
    if (cursor.ended) return 'read';
    if (cursor.word === W.analyze) runs = true;
    if (cursor.token === T.open || STATEMENT_AFTER_EXPLAIN.has(cursor.word)) break;
    if (cursor.mariadb && cursor.word === W.set) return unknown(cursor);
  }
  // What EXPLAIN … INTO @a put in so far is not the statement's.
  cursor.noted &= ~F.into;
  const kind = statement(cursor);
  if (runs) return kind;
  return kind === 'write' ? 'locking-read' : kind;
}

function analyzeStatement(cursor: Cursor): StatementKind {
  cursor.next();
  const word = cursor.word;
  if (word === W.table || word === W.tables || word === W.no_write_to_binlog || word === W.local) {
    return definition(cursor);
  }
  if (!cursor.mariadb) return unknown(cursor);
  cursor.noted |= F.asksServer;
  if (word === W.format) {
    cursor.next();
    cursor.next();
    cursor.next();
  }
  return STATEMENT_AFTER_EXPLAIN.has(cursor.word) || cursor.token === T.open ? statement(cursor) : unknown(cursor);
}

const QUERIES: ReadonlySet<number> = new Set([W.select, W.with, W.table, W.values]);

const set: Handler = (cursor) => setStatement(cursor, statement);

/** By the verb's number. */
const HANDLERS: (Handler | undefined)[] = [];
const register = (handler: Handler, ...verbs: number[]): void => {
  for (const verb of verbs) HANDLERS[verb] = handler;
};
register(query, W.select, W.values, W.table);
register(withClause, W.with);
register(write, ...DML);
register(loadStatement, W.load);
register(renameStatement, W.rename);
register(handlerStatement, W.handler);
register(definition, W.alter, W.truncate, W.grant, W.revoke, W.optimize, W.repair, W.check);
register(definition, W.install, W.uninstall, W.import);
register(cacheStatement, W.cache);
register(createStatement, W.create);
register(dropStatement, W.drop);
register(analyzeStatement, W.analyze);
register(explainStatement, W.explain, W.describe, W.desc);
register(ofServer, W.checksum, W.help);
register(showStatement, W.show);
register(diagnostics, W.get);
register(set, W.set);
register(constant('use'), W.use);
register(killStatement, W.kill);
register(beginStatement, W.begin);
register(startStatement, W.start);
register(ending('commit'), W.commit);
register(ending('rollback'), W.rollback);
register(constant('savepoint'), W.savepoint);
register(releaseStatement, W.release);
register(constant('xa'), W.xa);
register(lockStatement, W.lock);
register(unlockStatement, W.unlock);
register(backupStatement, W.backup);
register(flushStatement, W.flush);
register(callStatement, W.call);
register(constant('call'), W.do);
register(prepared, W.prepare, W.deallocate);
register(executeStatement, W.execute);
register(admin, W.change);
register(stopStatement, W.stop);
register(resetStatement, W.reset);
register(plainAdmin, W.purge, W.shutdown, W.restart, W.clone, W.binlog);
