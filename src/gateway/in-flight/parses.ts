// Whether a server can read a statement's text: asked before a transaction is committed because the statement would commit
// it. Servers do so once they have read it, and keep the transaction open where they could not.
import { Command, commandPacket, type ErrPacket } from '../../wire/index.ts';
import { runQuietly } from '../quiet.ts';
import type { Loss, ServerConnection } from '../server-connection.ts';

export type Parsed =
  | { kind: 'reads' }
  /** It cannot be read: it fails, and changes nothing. */
  | { kind: 'fails' }
  /** Looking at its tables, the server has rolled the transaction back. */
  | { kind: 'rolled-back'; err: ErrPacket }
  | { kind: 'lost'; loss: Loss };

/**
 * What servers find while they read a text: its syntax, no default schema, too long a name, wrong names of schemas, tables
 * and columns, character sets, collations and types that there are not.
 */
const WHILE_READING = new Set([1064, 1046, 1059, 1102, 1103, 1166, 1115, 1273, 4161]);
const DEADLOCK = 1213;
/** ER_UNSUPPORTED_PS: it was read before it was refused. */
const NOT_PREPARED = 1295;

/** `sets`: it is a SET, which changes nothing where any part of it is not to be had. Calls back once. */
export function parses(link: ServerConnection, text: Buffer, sets: boolean, callback: (parsed: Parsed) => void): void {
  link.lastSession = null;
  link.hasDiagnostics = true;
  const packet = commandPacket(Command.STMT_PREPARE, text);
  runQuietly(link, [{ packet, what: 'syntax', shape: 'prepare' }], (result) => {
    if (result.kind === 'lost') return callback(result);
    if (result.kind === 'done') {
      link.closeStatement(result.statementId);
      return callback({ kind: 'reads' });
    }
    const { err } = result;
    if (err.errno === DEADLOCK) return callback({ kind: 'rolled-back', err });
    const fails = WHILE_READING.has(err.errno) || (sets && err.errno !== NOT_PREPARED);
    callback({ kind: fails ? 'fails' : 'reads' });
  });
}
