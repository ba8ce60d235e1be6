// What a session's last statement left behind on its server connection, and may be asked for: warnings, or its error, and
// how many rows SQL_CALC_FOUND_ROWS found. Where others need the connection it is read first and kept with the session.
import type { Flavor } from '../messages/index.ts';
import { beginningOf } from '../sql/index.ts';
import { Command } from '../wire/index.ts';
import { executes, type ServerRequest } from './command.ts';
import { type QuietCommand, runQuietly } from './quiet.ts';
import type { ServerConnection } from './server-connection.ts';
import type { SessionState } from './session.ts';

export interface Aftermath {
  /** The answer of SHOW WARNINGS as the client is to get it; null where it was too long to keep, or was lost. */
  readonly warnings: Buffer | null;
}

/** max_error_count bounds how many there are: 64 by default, 1024 on MySQL. */
const MAX_WARNINGS_BYTES = 64 * 1024;

/**
 * Asks for what the session's last statement left behind. The session is taken to have none of it on the link any more:
 * `take` is called with what was read, and not at all where the connection is lost. `capabilities`: the client's.
 */
export function askAftermath(
  link: ServerConnection,
  session: SessionState,
  capabilities: number,
  take: (aftermath: Aftermath) => void,
): QuietCommand[] {
  const whole = {
    capabilities,
    status: session.status,
    maxBytes: MAX_WARNINGS_BYTES,
    take: (warnings: Buffer | null): void => take({ warnings }),
  };
  // In this order: asking for warnings changes none of this, while asking for counts may clear the warnings.
  const commands: QuietCommand[] = [{ packet: link.query('SHOW WARNINGS'), what: 'warnings', whole, failed: () => {} }];
  if (session.calcFoundRows) {
    const row: QuietCommand['row'] = (answer) => {
      session.foundRows = Number(answer?.values[0] ?? -1);
    };
    commands.push({ packet: link.query('SELECT FOUND_ROWS()'), what: 'FOUND_ROWS()', row, failed: () => {} });
  }
  link.lastSession = null; // ROW_COUNT() and the like are of what was read
  return commands;
}

/** Calls back once; null where the connection was lost. */
export function readAftermath(
  link: ServerConnection,
  session: SessionState,
  capabilities: number,
  callback: (aftermath: Aftermath | null) => void,
): void {
  let read: Aftermath = { warnings: null };
  const commands = askAftermath(link, session, capabilities, (aftermath) => {
    read = aftermath;
  });
  runQuietly(link, commands, (result) => callback(result.kind === 'lost' ? null : read));
}

/**
 * What SHOW WARNINGS shows may stay over the statement: over most commands that are no statement, and MariaDB clears it with
 * statements that have tables only. In doubt it stays, and the server knows.
 */
export function keepsWarnings({ sql, text, command }: ServerRequest, flavor: Flavor): boolean {
  const statement = command === Command.QUERY || executes(command);
  if (flavor !== 'mariadb') return !statement && command !== Command.STMT_PREPARE;
  if (!statement) return true;
  switch (sql.kind) {
    case 'write':
    case 'lock':
      return false;
    case 'read':
    case 'locking-read':
      return text === null || !readsTables(text.toString('latin1'));
    default:
      return true;
  }
}

/** SHOW WARNINGS, SHOW ERRORS, GET DIAGNOSTICS: what they ask about stays as it is. */
export function leavesWarnings({ sql, text }: ServerRequest): boolean {
  if (!sql.flags.asksDiagnostics || sql.kind === 'multi' || text === null) return false;
  return /^(show|get)\b/i.test(beginningOf(text, 5));
}

function readsTables(text: string): boolean {
  if (/^\s*show\b/i.test(text)) return !/processlist/i.test(text);
  return (
    /^[\s(]*(select|with)\b/i.test(text) && /\bfrom\s+(?!dual\b)[`\w(]/i.test(text.replace(/'[^']*'|"[^"]*"/g, "''"))
  );
}

/**
 * What FOUND_ROWS() says after a statement that has sent this many rows: -1 where that is not known, null where it is what
 * it was before. `affected`: by what it did last, where that sent none; null: it sent rows.
 */
export function foundRows(
  { sql, text, reads, command, findsMore }: ServerRequest,
  rows: number,
  affected: number | null = null,
): number | null {
  if (text === null || command === Command.STMT_PREPARE) return null;
  if (reads && !selects(text))
    return /^\s*show\s+(create|warnings|errors)\b/i.test(text.toString('latin1', 0, 64)) ? null : -1;
  // SELECT … INTO @a sends none.
  if (reads) return sql.flags.calcFoundRows || findsMore ? -1 : (affected ?? rows);
  switch (sql.kind) {
    case 'call':
    case 'multi':
    case 'prepare':
      return affected === null && rows > 0 && !findsMore ? rows : -1;
    case 'set':
      return sql.flags.setsUserVariable && /\b(select|table|values)\b/i.test(text.toString('latin1')) ? -1 : null;
    case 'begin':
    case 'commit':
    case 'rollback':
    case 'savepoint':
    case 'use':
    case 'empty':
      return null;
    default:
      return leavesFoundRows(text) ? null : -1;
  }
}

/** What reads no rows leaves it alone, but for what creates a table from a query. Of INSERT, which comes often, it is not asked. */
function leavesFoundRows(text: Buffer): boolean {
  const start = text.toString('latin1', 0, 64);
  if (!/^\s*(create|drop|alter|truncate|rename|grant|revoke|lock|unlock|flush|kill)\b/i.test(start)) return false;
  return !/\b(select|with)\b|\btable\b.*\b(table|values)\b/is.test(text.toString('latin1'));
}

/** It sets FOUND_ROWS() on its connection, whatever that is then. */
export function isQuery(text: Buffer | null): boolean {
  return text !== null && selects(text);
}

/** Most of SHOW, DESCRIBE and EXPLAIN change it or not, each in its own way. */
function selects(text: Buffer): boolean {
  const [first = 0, second = 0] = text;
  if ((first | 0x20) === 0x73 && (second | 0x20) === 0x65) return true;
  return /^(\s|\(|\/\*[^!+]([^*]|\*(?!\/))*\*\/)*(select|with|values|table)\b/i.test(text.toString('latin1', 0, 256));
}
