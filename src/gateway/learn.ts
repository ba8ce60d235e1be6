// What a statement's text says about the session after it: the part that no server tells (design.md section 5).
import { type Classification, literalUserVariableSet } from '../sql/index.ts';
import { Command, commandPacket } from '../wire/index.ts';
import type { SessionState } from './session.ts';

export interface Learned {
  warnings: number;
  /** The server says that something changed, and not what. */
  unexplainedChange: boolean;
}

/** The statement succeeded. */
export function learnFromText(
  session: SessionState,
  sql: Classification,
  text: Buffer | null,
  { warnings, unexplainedChange }: Learned,
): void {
  const { flags, kind } = sql;
  if (flags.temporaryTable) session.pins.add('temporary-table');
  if (flags.namedLock) session.pins.add('named-lock');
  if (kind === 'lock') session.pins.add('table-lock');
  if (kind === 'unlock') session.pins.delete('table-lock');
  if (kind === 'xa') session.pins.add('xa');
  if (kind === 'prepare') session.pins.add('sql-prepare');
  if (kind === 'unknown') session.pins.add('unknown-effect');
  const opaque = kind === 'call' || kind === 'multi' || flags.unknownFunction;
  if (opaque && unexplainedChange) session.pins.add('unknown-effect');
  if (kind === 'set' || kind === 'multi') {
    const sql = text?.toString('latin1') ?? '';
    learnCollation(session, sql);
    // From here on the server may no longer tell what we must know; what is not known cannot be built up elsewhere.
    if (/session_track_/i.test(sql)) session.pins.add('unknown-effect');
  }
  if (flags.setsUserVariable) learnUserVariables(session, sql, text);
  if (flags.setsLastInsertId) session.pins.add('last-insert-id');
  if (flags.setsOneShotTransaction && text !== null) session.oneShot = commandPacket(Command.QUERY, text);
  else if (kind !== 'set' && kind !== 'use' && kind !== 'empty') session.oneShot = null;
  if (warnings > 0) session.diagnostics = true;
  if (flags.calcFoundRows) session.foundRows = true;
}

const NAMES_COLLATE = /(?:^|[,;])\s*(?:SET\s+)?NAMES\s+['"]?\w+['"]?\s+COLLATE\s+['"]?(\w+)['"]?/i;

/** Of `SET NAMES … COLLATE …` servers tell the character set only. */
function learnCollation(session: SessionState, sql: string): void {
  if (!/\bnames\b/i.test(sql) || !/\bcollate\b/i.test(sql)) return;
  const collation = NAMES_COLLATE.exec(sql)?.[1];
  if (collation === undefined) session.pins.add('unknown-effect');
  else session.variables.set('collation_connection', collation);
}

function learnUserVariables(session: SessionState, sql: Classification, text: Buffer | null): void {
  const literals = text === null ? null : literalUserVariableSet(text);
  const values = literals?.map(({ valueSql }) => portable(valueSql));
  if (!literals || !values || values.includes(null)) {
    session.pins.add('user-variable');
    for (const name of sql.userVariables) session.userVariables.delete(name);
    return;
  }
  literals.forEach(({ name }, at) => session.userVariables.set(name, values[at] as string));
}

/**
 * The literal in a form that means the same under any sql_mode and character set, since it is restored before either is
 * as it was; null where there is none.
 */
function portable(valueSql: string): string | null {
  if (!/^[\x20-\x5b\x5d-\x7e]*$/.test(valueSql)) return null;
  if (!valueSql.includes('"')) return valueSql;
  return /^"[^"']*"$/.test(valueSql) ? `'${valueSql.slice(1, -1)}'` : null;
}
