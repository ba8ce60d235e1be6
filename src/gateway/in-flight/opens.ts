// Which statements open a transaction that can be kept through the loss of its server, and which may write.
import { startOf } from '../../sql/index.ts';
import { Command } from '../../wire/index.ts';
import { areReadOnly } from '../answered-here.ts';
import { executes, type ServerRequest } from '../command.ts';
import type { Pin, SessionState } from '../session.ts';
import { repeatable } from './recording.ts';

/** With these a session's writes are not what they seem, or GTIDs are its own business. */
const STANDS_ASIDE: readonly Pin[] = ['table-lock', 'xa', 'unmovable-variable', 'session-tracking', 'unknown-effect'];
/** A local file comes once; rows of an answer that is kept back could be any number. */
const LOADS = /\bload\b/i;
const FILE = /\binfile\b/i;
const RETURNS = /\breturning\b/i;
const QUERIES =
  /^(\(|(select|table|values|analyze|explain|describe|desc)\b|with\b(?!.*\b(insert|update|delete|replace)\b))/is;

/** A transaction that waits for its group at its beginning cannot have a GTID that was chosen (3797). */
const WAITS_FOR_GROUP = /^before(_and_after)?$/i;

export const READ_WRITE = /\bread\s+write\b/i;

/** Without a table a read begins no transaction. */
const NAMES_TABLE = /\b(from|table)\b/i;

export type Opening =
  /** An autocommit write, in a transaction of its own. */
  | 'own'
  /** The first statement behind a BEGIN that was answered already. */
  | 'begun'
  /** START TRANSACTION itself. */
  | 'begin'
  /** With autocommit off. */
  | 'implicit';

/** Null where it opens none, or one that cannot be kept. */
export function opens({ sql, command, options, text }: ServerRequest, session: SessionState): Opening | null {
  if (session.inTransaction || session.savepoint || session.halfBegun) return null;
  for (const pin of session.pins) if (STANDS_ASIDE.includes(pin)) return null;
  const { variables } = session.state;
  // Then COMMIT does not end the matter.
  if (/^(chain|release|1|2)$/i.test(variables.get('completion_type') ?? '')) return null;
  if (WAITS_FOR_GROUP.test(variables.get('group_replication_consistency') ?? '')) return null;
  if (command !== Command.QUERY && !executes(command)) return null;
  const { flags, kind } = sql;
  if (kind === 'begin') return session.begun || !session.autocommit || begunOtherwise(text, session) ? null : 'begin';
  if (flags.implicitCommit || flags.temporaryTable || flags.namedLock || flags.asksDiagnostics) return null;
  // A procedure may commit inside: MySQL does not let it under a GTID that was chosen, and the ledger comes with the COMMIT.
  if (session.begun) return repeatable(sql) || (kind === 'call' && options.flavor === 'mariadb') ? 'begun' : null;
  if (!session.autocommit) {
    if (kind === 'read' && text !== null && !NAMES_TABLE.test(text.toString('latin1'))) return null;
    return kind === 'read' || kind === 'locking-read' || kind === 'write' ? 'implicit' : null;
  }
  // What SET TRANSACTION said for the next one would be used up where the write fails.
  if (kind !== 'write' || flags.handler || text === null || session.oneShot !== null) return null;
  // Wherever: behind SET STATEMENT … FOR, or in a comment that runs.
  const words = text.toString('latin1');
  return (LOADS.test(words) && FILE.test(words)) || RETURNS.test(words) || QUERIES.test(words.slice(startOf(text)))
    ? null
    : 'own';
}

/** What is chained to it, or begun in it, would be as this one is, and no SET TRANSACTION has said how. */
function begunOtherwise(text: Buffer | null, { oneShot, state }: SessionState): boolean {
  if (oneShot === null && !areReadOnly(state)) return false;
  return text === null || READ_WRITE.test(text.toString('latin1'));
}

/** The transaction that it opens is read-only: by its own words, those of SET TRANSACTION before it, or all are. */
export function beginsReadOnly({ sql }: ServerRequest, { oneShot, state }: SessionState): boolean {
  if (sql.flags.readOnly) return true;
  if (oneShot === null || !/\bread\s+(only|write)\b/i.test(oneShot)) return areReadOnly(state);
  return !READ_WRITE.test(oneShot);
}

export function mayWrite({ sql, command }: ServerRequest): boolean {
  if (command !== Command.QUERY && !executes(command)) return false;
  if (sql.flags.unknownFunction) return true;
  switch (sql.kind) {
    case 'read':
    case 'locking-read':
    case 'savepoint':
    case 'use':
    case 'empty':
    case 'set':
    case 'begin':
    case 'rollback':
      return false;
    default:
      return true;
  }
}
