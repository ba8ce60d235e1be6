// What becomes of a statement whose server connection broke: pure. The rule behind the table: nothing is sent a second
// time unless it certainly had no effect, and nothing is called undone unless it certainly is.
//
// | the statement                              | sent, no answer                 | part of the answer shown |
// |--------------------------------------------|---------------------------------|--------------------------|
// | in a transaction, no COMMIT                | 1213, the transaction is gone   | 1213                     |
// | ROLLBACK                                   | it is rolled back: OK           | OK                       |
// | COMMIT, or a statement that commits        | unknown                         | unknown                  |
// | a read, or a change of the session alone   | again                           | cut off                  |
// | a write with autocommit off                | 1213: it was not committed      | 1213                     |
// | an autocommit write, or anything not known | unknown                         | unknown                  |
import type { Classification } from '../sql/index.ts';
import type { GatewayErrorCode } from './errors.ts';

export type Outcome =
  | { kind: 'again' }
  /** The transaction is gone, as the client asked. */
  | { kind: 'rolled-back' }
  | { kind: 'error'; code: GatewayErrorCode };

export interface LostStatement {
  sql: Classification;
  /** A transaction was open before the statement. */
  inTransaction: boolean;
  autocommit: boolean;
  /** Something of the answer reached the client. */
  shown: boolean;
  /** A local file's content was being sent, and its end was not: the server cannot have executed it. */
  fileUnfinished: boolean;
}

export function outcomeOfLoss(lost: LostStatement): Outcome {
  const { sql } = lost;
  const { flags } = sql;
  if (lost.fileUnfinished && !lost.inTransaction) return { kind: 'error', code: 'file-cut' };
  if (lost.inTransaction) {
    if (sql.kind === 'rollback' && !flags.chain) return { kind: 'rolled-back' };
    if (mayCommit(sql)) return { kind: 'error', code: 'outcome-unknown' };
    return { kind: 'error', code: 'transaction-lost' };
  }
  if (harmless(sql)) return lost.shown ? { kind: 'error', code: 'answer-cut' } : { kind: 'again' };
  // Not run again by us, though no COMMIT was sent: a table without transactions may have kept it.
  if (!lost.autocommit && uncommitted(sql)) return { kind: 'error', code: 'transaction-lost' };
  return { kind: 'error', code: 'outcome-unknown' };
}

/** Could it have made a transaction permanent? */
function mayCommit(sql: Classification): boolean {
  if (sql.flags.implicitCommit) return true;
  switch (sql.kind) {
    case 'commit':
    case 'multi':
    case 'call':
    case 'begin': // commits the one before
    case 'xa':
    case 'lock':
    case 'unlock':
    case 'admin':
    case 'prepare':
    case 'unknown':
      return true;
    case 'set': // SET autocommit=1 commits
      return true;
    case 'rollback': // with AND CHAIN
    case 'read':
    case 'locking-read':
    case 'write':
    case 'savepoint':
    case 'use':
    case 'kill':
    case 'empty':
      return false;
  }
}

/** No effect but on the connection that is gone. Called outside a transaction only. */
function harmless(sql: Classification): boolean {
  switch (sql.kind) {
    case 'read':
      return sql.rerunnable;
    case 'locking-read':
    case 'begin':
    case 'commit':
    case 'rollback':
    case 'savepoint':
    case 'set':
    case 'use':
    case 'empty':
    case 'lock':
    case 'unlock':
      return !sql.flags.unknownFunction && !sql.flags.globalScope && !sql.flags.setsUserVariable;
    case 'write':
    case 'kill':
    case 'call':
    case 'prepare':
    case 'xa':
    case 'admin':
    case 'multi':
    case 'unknown':
      return false;
  }
}

/** With autocommit off, DML waits for a COMMIT that was never sent. */
function uncommitted(sql: Classification): boolean {
  return sql.kind === 'write' && !sql.flags.implicitCommit && !sql.flags.unknownFunction;
}
