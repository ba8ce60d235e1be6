// What a statement's text says about the session after it: the part that no server tells (design.md section 5).
import {
  beginningOf,
  type Classification,
  type ClassifyOptions,
  literalUserVariableSet,
  type SessionObjects,
  type StatementKind,
  sessionObjects,
  setNames,
  setRole,
  type TableName,
} from '../sql/index.ts';
import type { SessionChange } from '../wire/index.ts';
import type { ServerRequest } from './command.ts';
import type { ServerConnection } from './server-connection.ts';
import type { SessionState } from './session.ts';

export interface Learned {
  warnings: number;
  /** It shared its connection with strangers. */
  shared: boolean;
  link: ServerConnection;
  /** The server says that something changed. */
  changed: boolean;
  /** It says what, of some of it. */
  explained: boolean;
  /** Variables of the session among it. */
  set: boolean;
  /** It looked at something of another schema: then MariaDB says so whether or not anything else changed. */
  elsewhere: boolean;
}

/** The statement succeeded. */
export function learnFromText(session: SessionState, request: ServerRequest, learned: Learned): void {
  const { sql, text } = request;
  const { flags, kind } = sql;
  if (learned.warnings > 0 && !learned.shared) session.diagnostics = true;
  if (session.routineFailed && !learned.shared) learnOfFailedRoutine(session, learned.changed);
  if (kind === 'savepoint') session.savepoint ||= !session.autocommit && !session.inTransaction;
  else if (session.savepoint) session.savepoint = !endsSavepoints(session, sql);
  if (request.plain) {
    const mayBeHidden = learned.set || (learned.elsewhere && kind !== 'write');
    if (learned.changed && RUNS_TRIGGERS.has(kind)) learnFromTrigger(session, mayBeHidden);
    afterOneShot(session, kind);
    return;
  }
  const options = request.options;
  const objects = text === null ? null : sessionObjects(text, options);
  learnPins(session, request, objects);
  const opaque = isOpaque(sql);
  // That a statement was prepared or deallocated is a change, too, and known.
  const prepares = (objects?.kind === 'prepare' || objects?.kind === 'deallocate') && !flags.unknownFunction;
  // A routine may change what is named and what is not at a time; of several statements the text says what they do.
  const explained = learned.explained && kind === 'multi' && !flags.unknownFunction;
  if (opaque && learned.changed && !explained && !prepares) session.pin('unknown-effect');
  if (mayHide(request)) session.hide();
  if (opaque || flags.setsLastInsertId) session.insertIdIsOn(learned.link);
  if (flags.setsNames) learnNames(session, text, options);
  // What was reported is not what stays; what stays is reported with the next answer.
  if (flags.setsUnreported) learnUnreported(session, text);
  // A server reports the time that was set before.
  if (kind === 'set' && text !== null) learnUnmovable(session, text.toString('latin1'));
  if (flags.setsRole) learnRole(session, text, options);
  if (flags.touchesSessionTracking) session.pin('session-tracking');
  if (flags.setsUserVariable) learnUserVariables(session, request);
  if (flags.setsOneShotTransaction && text !== null) {
    session.oneShot = oneShotOf(text.toString('latin1'), session.oneShot);
    if (session.oneShot === null) session.pin('unknown-effect');
    session.oneShotOn = learned.link;
    // A statement behind it in the same text may have been that transaction.
    session.oneShotDoubtful = kind === 'multi';
  } else afterOneShot(session, kind);
  if (flags.calcFoundRows) session.calcFoundRows = true;
}

/**
 * A trigger, or a function in a view, has changed something, of which the server names the settings alone. `mayBeHidden`: or
 * nothing was changed at all.
 */
function learnFromTrigger(session: SessionState, mayBeHidden: boolean): void {
  if (mayBeHidden) session.hide();
  else session.pin('unknown-effect');
}

const RUNS_TRIGGERS: ReadonlySet<StatementKind> = new Set(['read', 'locking-read', 'write']);

/** A server tells with the next answer that something was changed before. */
export function learnOfFailedRoutine(session: SessionState, changed: boolean): void {
  session.routineFailed = false;
  if (changed) session.pin('unknown-effect');
}

/** From the first table on the transaction itself is what holds. */
function endsSavepoints({ inTransaction, autocommit }: SessionState, { kind, flags }: Classification): boolean {
  return inTransaction || autocommit || kind === 'commit' || kind === 'rollback' || flags.implicitCommit;
}

const LEVEL =
  /\b(?:isolation\s+level\s+|(?:transaction|tx)_isolation\s*:?=\s*['"]?)(read.(?:un)?committed|repeatable.read|serializable)\b/gi;
const MODE = /\bread\s+(only|write)\b|\b(?:transaction|tx)_read_only\s*:?=\s*(?:(1|on|true)|0|off|false)\b/gi;

/** SET TRANSACTION with what the text says of the next transaction, and what was said before; null: that is not known. */
function oneShotOf(text: string, before: string | null): string | null {
  const levels = [...`${before ?? ''};${text}`.matchAll(LEVEL)];
  const modes = [...`${before ?? ''};${text}`.matchAll(MODE)];
  const said: string[] = [];
  const level = levels.at(-1)?.[1];
  if (level !== undefined) said.push(`ISOLATION LEVEL ${level.replace(/[-\s]+/, ' ').toUpperCase()}`);
  const mode = modes.at(-1);
  if (mode !== undefined) said.push(`READ ${mode[1]?.toUpperCase() ?? (mode[2] === undefined ? 'WRITE' : 'ONLY')}`);
  return said.length === 0 ? null : `SET TRANSACTION ${said.join(', ')}`;
}

/** Whether the isolation level for the next transaction is used up. */
function afterOneShot(session: SessionState, kind: StatementKind): void {
  if (session.oneShot === null || kind === 'set' || kind === 'use' || kind === 'empty') return;
  // Without a table a read is no transaction; which it was, its text does not tell for sure.
  if (kind === 'read' && !session.inTransaction) session.oneShotDoubtful = true;
  else session.oneShot = null;
}

/** It failed: what it had done before, if anything, is not told with the error. */
export function learnFromFailure(session: SessionState, request: ServerRequest, shared: boolean, errno: number): void {
  const { kind, flags, userVariables } = request.sql;
  if (!shared) session.diagnostics = true;
  session.rowCount = -1n;
  if (!session.autocommit && !session.inTransaction) session.halfBegun = mayBegin(request.sql, errno);
  if (request.plain) return;
  if (mayHide(request)) session.hide();
  if (isOpaque(request.sql) || kind === 'set') session.uncertain = true;
  if (flags.setsUnreported) learnUnreported(session, request.text);
  if (kind === 'call' || kind === 'prepare' || flags.unknownFunction) session.routineFailed = true;
  if (flags.setsUserVariable) session.touchUserVariables(userVariables);
  // Part of it may have been done: what each of these leaves behind is there, as far as we know.
  const partly = kind === 'multi';
  const handles = flags.handler && request.text !== null && sessionObjects(request.text, request.options) !== null;
  const unread = errno === PARSE_ERROR && request.text !== null && !RUNS_TEXT.test(request.text.toString('latin1'));
  if ((kind === 'unknown' && !handles && !unread) || (partly && (flags.handler || flags.setsNames || flags.setsRole))) {
    session.pin('unknown-effect');
  }
  if (partly && flags.temporaryTable) session.pin('temporary-table');
  if (flags.namedLock) session.pin('named-lock');
  if (flags.touchesSessionTracking) session.pin('session-tracking');
}

const PARSE_ERROR = 1064;
const DEADLOCK = 1213;

/** With autocommit off. */
function mayBegin({ kind, flags }: Classification, errno: number): boolean {
  if (errno === PARSE_ERROR || errno === DEADLOCK || flags.implicitCommit) return false;
  switch (kind) {
    case 'read':
    case 'locking-read':
    case 'write':
    case 'call':
    case 'prepare':
    case 'multi':
    case 'unknown':
      return true;
    default:
      return false;
  }
}

/** The error may be of a text within, when others have run. */
const RUNS_TEXT = /\b(begin|call|execute|prepare|load)\b/i;

/** What it does is written elsewhere than in its text. */
function isOpaque({ kind, flags }: Classification): boolean {
  return kind === 'call' || kind === 'multi' || kind === 'unknown' || kind === 'prepare' || flags.unknownFunction;
}

/** Something runs whose text we have not seen: a stored routine, a string as SQL. */
function mayHide({ sql, text }: ServerRequest): boolean {
  if (sql.flags.unknownFunction) return true;
  switch (sql.kind) {
    case 'call':
      return text === null || !/^\s*do\b/i.test(text.toString('latin1', 0, 40));
    case 'multi':
      return text === null || /\b(call|execute)\b/i.test(text.toString('latin1'));
    case 'prepare':
      return text === null || /\bexecute\b/i.test(text.toString('latin1'));
    default:
      return false;
  }
}

/** MariaDB tells what SET STATEMENT … FOR sets as if it stayed, and inside a transaction never that it did not. */
export function changesThatStay({ text }: ServerRequest, changes: readonly SessionChange[]): readonly SessionChange[] {
  const words = text === null ? '' : beginningOf(text, text.length).replace(/'[^']*'|"[^"]*"/g, "''");
  const lists = [...words.matchAll(/(?:^|;)\s*set\s+statement\b([^;]*?)\bfor\b/gi)].map(([, list = '']) => list);
  if (lists.length === 0) return changes;
  const names = new Set([...lists.join().matchAll(/(\w+)`?\s*:?=/g)].map(([, name = '']) => name.toLowerCase()));
  return changes.filter((change) => change.kind !== 'variable' || !names.has(change.name));
}

/** IS_FREE_LOCK() and IS_USED_LOCK() only look. */
const GETS_LOCK = /get_lock/i;

/** FLUSH TABLES is taken for one that locks, which among other statements it nearly always is. */
const LOCKS =
  /\b(un)?lock\s+(?:tables?|(instance))\b|\bflush\s+(?:local\s+|no_write_to_binlog\s+)?tables?\b|\b(backup)\s+(?:(unlock|stage\s+end)|lock|stage)\b/gi;

/** Tables, the instance and backups are locked each for itself. */
function learnLocks(session: SessionState, text: string): void {
  for (const [, unlocks, instance, backup, ends] of text.matchAll(LOCKS)) {
    const name = instance === undefined ? (backup === undefined ? 'tables' : 'backup') : 'instance';
    if (unlocks === undefined && ends === undefined) session.pin('table-lock', name);
    else session.unpin('table-lock', name);
  }
}

function learnPins(session: SessionState, { sql, text }: ServerRequest, objects: SessionObjects | null): void {
  const { flags, kind } = sql;
  if (kind === 'lock' || kind === 'unlock' || kind === 'multi') learnLocks(session, text?.toString('latin1') ?? '');
  if (objects?.kind === 'handler') {
    if (objects.verb === 'open') session.pin('handler', objects.name);
    else if (objects.verb === 'close') session.unpin('handler', objects.name);
  } else if (flags.handler) session.pin('handler');
  else if (kind === 'unknown') session.pin('unknown-effect');
  if (kind === 'xa') {
    const over = objects?.kind === 'xa' && (objects.verb === 'commit' || objects.verb === 'rollback');
    if (over && !session.inTransaction) session.unpin('xa');
    else if (objects?.kind !== 'xa' || objects.verb !== 'recover') session.pin('xa');
  }
  if (flags.namedLock) {
    if (objects?.kind === 'release-all-locks') session.unpin('named-lock');
    else if (objects?.kind === 'get-lock') session.pin('named-lock', objects.name);
    else if (objects?.kind !== 'release-lock' && GETS_LOCK.test(text?.toString('latin1') ?? 'get_lock')) {
      session.pin('named-lock');
    }
    session.uncertain = true;
  }
  if (kind === 'prepare') {
    if (objects?.kind === 'prepare') session.pin('sql-prepare', objects.name);
    else if (objects?.kind === 'deallocate') session.unpin('sql-prepare', objects.name);
    else if (session.namesOf('sql-prepare').size === 0) session.pin('sql-prepare');
  }
  learnTemporaryTables(session, flags, objects);
}

function learnTemporaryTables(
  session: SessionState,
  flags: ServerRequest['sql']['flags'],
  objects: SessionObjects | null,
): void {
  const fullName = ({ schema, name }: TableName): string => `${schema ?? session.state.schema ?? ''}.${name}`;
  if (objects?.kind === 'create-temporary') {
    for (const name of objects.names) session.pin('temporary-table', fullName(name));
  } else if (objects?.kind === 'drop-table') {
    for (const name of objects.names) session.unpin('temporary-table', fullName(name));
  } else if (flags.temporaryTable || (flags.renamesTable && session.pins.has('temporary-table'))) {
    session.pin('temporary-table');
  }
}

function learnUnreported(session: SessionState, text: Buffer | null): void {
  session.uncertain = true;
  if (text === null || /gtid_next/i.test(text.toString('latin1'))) session.pin('unmovable-variable');
}

function learnUnmovable(session: SessionState, text: string): void {
  if (UNSETS_TIME.test(text)) session.unsetVariable('timestamp');
  // They follow the schema, and what was chosen instead is as good as reported by no server.
  if (/\b(collation|character_set)_database\b/i.test(text)) session.pin('unmovable-variable');
}

const UNSETS_TIME = /\btimestamp[`\s]*:?=\s*(default|0)\b/i;

/** Of `SET NAMES … COLLATE …` servers tell the character set only. */
function learnNames(session: SessionState, text: Buffer | null, options: ClassifyOptions): void {
  const names = text === null ? null : setNames(text, options);
  if (names === null || names.collation === 'default') session.collationUnknown = true;
  // MariaDB takes that for the one of the character set: alone it names none.
  else if (names.collation?.startsWith('uca1400_') === true) {
    const charset = session.state.variables.get('character_set_connection');
    if (charset === undefined) session.collationUnknown = true;
    else session.setVariable('collation_connection', `${charset}_${names.collation}`);
  } else if (names.collation !== null) session.setVariable('collation_connection', names.collation);
}

function learnRole(session: SessionState, text: Buffer | null, options: ClassifyOptions): void {
  const role = text === null ? null : setRole(text, options);
  if (role === null) session.pin('unknown-effect');
  else session.setRole(/^SET ROLE DEFAULT$/i.test(role) ? null : role);
}

function learnUserVariables(session: SessionState, { sql, text, options }: ServerRequest): void {
  const literals = text === null ? null : literalUserVariableSet(text, options);
  const values = literals?.map(({ name, valueSql }): [string, string | null] => [name, portable(valueSql)]);
  if (values === undefined || values.some(([, literal]) => literal === null)) {
    return session.touchUserVariables(sql.userVariables);
  }
  session.setUserVariables(values.map(([name, sqlText]) => [name, /^null$/i.test(sqlText ?? '') ? null : sqlText]));
}

/**
 * The literal in a form that means the same under any sql_mode and character set, since it is restored before either is
 * as it was; null where there is none.
 */
function portable(valueSql: string): string | null {
  // A string has the character set and collation of the connection: only the server tells which.
  return /^(-?[0-9.]+(e[-+]?[0-9]+)?|null|true|false|[xX]'[0-9a-fA-F]*'|0x[0-9a-fA-F]+)$/i.test(valueSql)
    ? valueSql
    : null;
}
