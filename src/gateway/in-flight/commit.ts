// What a failed commit means. Of servers' errors most say that the transaction was rolled back; on MariaDB the error may be
// that of the ledger's update in front of it, and the transaction be as open as before.
import type { ErrPacket } from '../../wire/index.ts';
import type { ClusterGreeting } from '../directory.ts';
import { isReadOnlyNode, isShutdown } from '../evidence.ts';
import { NOT_CLAIMED } from './witness.ts';

export type CommitFailed =
  /** Whether it was executed the next server tells, or this one on another connection. */
  | 'ask'
  /** The member has rolled it back, and its group may have agreed on it: a member that is cut off does not hear that. */
  | 'ask-the-group'
  /** The ledger is not there, or not for this account; the transaction is open. */
  | 'unable'
  /** The transaction is open, and the ledger cannot be written in it. */
  | 'plain'
  /** The server has rolled it back. */
  | 'rolled-back'
  /** It may be open still. */
  | 'roll-back';

/** No access to the schema, no such schema, no such statement, no access to the table or its columns, no such table. */
const NO_LEDGER = new Set([1044, 1049, 1064, 1142, 1143, 1146]);
/** ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION */
const READ_ONLY_TRANSACTION = 1792;
const DEADLOCK = 1213;

export function whatNow(err: ErrPacket, { flavor, group }: Pick<ClusterGreeting, 'flavor' | 'group'>): CommitFailed {
  if (isShutdown(err) || isReadOnlyNode(err) || err.errno === NOT_CLAIMED) return 'ask';
  if (flavor === 'mysql' || err.errno === DEADLOCK) return group === null ? 'rolled-back' : 'ask-the-group';
  if (NO_LEDGER.has(err.errno)) return 'unable';
  if (err.errno === READ_ONLY_TRANSACTION) return 'plain';
  return group === null ? 'roll-back' : 'ask-the-group';
}
