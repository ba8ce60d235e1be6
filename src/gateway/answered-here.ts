// Statements that need no server: warnings that were read before their connection was given away, and a BEGIN or the end of
// a transaction in which nothing was sent yet.
import { beginningOf } from '../sql/index.ts';
import { Capability, Command, type ErrPacket } from '../wire/index.ts';
import { type Aftermath, keepsWarnings } from './aftermath.ts';
import { asBinaryResult } from './binary-rows.ts';
import type { Client } from './client.ts';
import { executes, type ServerRequest } from './command.ts';
import { gatewayError } from './errors.ts';
import type { LinkState } from './link-state.ts';

const SHOW_WARNINGS = /^show\s+warnings\s*;?\s*$/i;
const PLAIN_BEGIN = /^\s*(begin(\s+work)?|start\s+transaction)\s*;?\s*$/i;

export function keepsWarningsOf({ worker, cluster }: Client, request: ServerRequest): boolean {
  return keepsWarnings(request, worker.flavor(cluster));
}

/**
 * The connection that the statement before left its warnings on is gone. Null where this one does not ask for them; else it
 * was answered, or is to be told that they are gone.
 */
export function fromAftermath(
  client: Client,
  request: ServerRequest,
  { warnings }: Aftermath,
): { answered: true } | { error: ErrPacket } | null {
  const { session, tether } = client;
  const { sql, text, command } = request;
  // Prepared, a question is not asked yet.
  if (command === Command.STMT_PREPARE) return null;
  const newer = session.diagnostics || tether.mayRunAgain;
  if (newer || !sql.flags.asksDiagnostics) {
    if (newer || !keepsWarningsOf(client, request)) tether.aftermath = null;
    return null;
  }
  const asks = text !== null && SHOW_WARNINGS.test(beginningOf(text, text.length));
  const answer = warnings !== null && asks ? inProtocolOf(client, command, warnings) : null;
  if (answer === null) {
    tether.aftermath = null; // said once
    return { error: gatewayError('state-lost', 'the warnings of the statement before') };
  }
  session.rowCount = -1n;
  session.lastAnsweredHere = true;
  client.write(answer);
  return { answered: true };
}

/** They were read as text. */
function inProtocolOf({ capabilities }: Client, command: number, warnings: Buffer): Buffer | null {
  if (command === Command.QUERY) return warnings;
  return executes(command) ? asBinaryResult(warnings, (capabilities & Capability.DEPRECATE_EOF) !== 0) : null;
}

/**
 * A plain BEGIN does nothing before the transaction's first statement, so it is sent with that: one round trip less,
 * and no server connection meanwhile. True: it was answered.
 */
export function defers(client: Client, request: ServerRequest): boolean {
  const { session, link } = client;
  const { sql, text } = request;
  if (session.state.variables.has('completion_type')) return false; // COMMIT is not all that it says
  if (session.begun && !sql.flags.implicitCommit && (sql.kind === 'commit' || sql.kind === 'rollback')) {
    if (sql.flags.chain || sql.flags.release) return false;
    session.begun = false; // nothing was begun on any server
  } else {
    if (sql.kind !== 'begin' || session.inTransaction || link !== null || session.hold !== null) return false;
    const words = text?.toString('latin1', 0, 40) ?? '';
    if (!PLAIN_BEGIN.test(words) || areReadOnly(session.state)) return false;
    // In Oracle's mode it begins a block.
    if (/^\s*b/i.test(words) && /oracle/i.test(session.state.variables.get('sql_mode') ?? session.sqlMode ?? '')) {
      return false;
    }
    session.begun = true;
  }
  session.rowCount = 0n;
  session.lastAnsweredHere = true;
  if (!keepsWarningsOf(client, request)) client.tether.rememberWarned(null);
  client.answerOk();
  return true;
}

/** Transactions of the session are read-only, and then a status flag tells of it, too. */
export function areReadOnly({ variables }: LinkState): boolean {
  return READ_ONLY.some((name) => /^(on|1)$/i.test(variables.get(name) ?? ''));
}

/** The variable has one name or the other, or both. */
const READ_ONLY = ['transaction_read_only', 'tx_read_only'];
