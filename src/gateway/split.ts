// Which statements of `route: auto` may leave the primary: pure. In doubt none does. What is asked of the server itself, what
// only the session's connection to the primary knows, and what could write goes to the primary.
import { Command } from '../wire/index.ts';
import type { Client } from './client.ts';
import type { ServerRequest } from './command.ts';
import { opens } from './in-flight/index.ts';
import { hides, type LinkState } from './link-state.ts';
import type { SessionState } from './session.ts';

/** Where a statement of `route: auto` runs. Of other endpoints all is `primary`: where their route leads. */
export type Way = 'primary' | 'replica';

export type Leave =
  /** A read by itself. */
  | 'read'
  /** START TRANSACTION READ ONLY: all of the transaction goes with it. */
  | 'transaction'
  /** It asks about the statement before, which ran on a replica. */
  | 'follow';

/** Where the server connection is that a client's statement is on, or that its session holds. */
export function wayOf({ tether, statement }: Client): Way {
  return (tether.link === null ? statement?.way : tether.way) ?? 'primary';
}

/** How a statement may leave the primary; null: it may not. Outside of transactions; `replays`: one can be run again. */
export function leaves(request: ServerRequest, session: SessionState, replays: boolean): Leave | null {
  const { sql, command, executesPlainly } = request;
  const { flags, kind } = sql;
  if (kind !== 'read' && !(kind === 'begin' && flags.readOnly)) return null;
  if (session.inTransaction || session.begun || session.savepoint || !session.autocommit) return null;
  if (session.oneShot !== null || !carries(session.state) || inSystemSchema(request)) return null;
  if (command !== Command.QUERY && !(command === Command.STMT_EXECUTE && executesPlainly)) return null;
  if (kind === 'begin') {
    return replays && session.hold === null && opens(request, session) === 'begin' ? 'transaction' : null;
  }
  if (sql.rerunnable && !flags.asksServer && !flags.calcFoundRows && !flags.setsUnreported) {
    return session.hold === null || session.hold === 'diagnostics' ? 'read' : null;
  }
  const follows = (flags.asksDiagnostics || flags.asksCounts) && !flags.asksInsertId && !flags.asksConnection;
  if (!follows || flags.unknownFunction || flags.setsUserVariable || flags.namedLock) return null;
  // Whatever else it asks for is to be as new as any read, and the primary's.
  return asksNothingElse(request) ? 'follow' : null;
}

/** Prepared under a schema that is every server's own, a text still means that. */
function inSystemSchema({ statement }: ServerRequest): boolean {
  return SYSTEM_SCHEMAS.test(statement?.logical.state.schema ?? '');
}

/** SHOW WARNINGS and its like, or a SELECT of nothing but counts. */
function asksNothingElse({ text }: ServerRequest): boolean {
  const words = text?.toString('latin1') ?? '';
  return (
    /^\s*show\b/i.test(words) || !/\b(from|table)\b|@@(?!(session\.|local\.)?(warning|error)_count\b)/i.test(words)
  );
}

/** Not where its client wants it so, a routine may have left something on the primary that is nowhere else, where the schema is every server's own, where writes do not replicate, or where reads see or wait for others' transactions. */
function carries(state: LinkState): boolean {
  const { schema, variables, userVariables } = state;
  if (hides(state) || !NOTHING.test(userVariables.get(ROUTE_VARIABLE) ?? '')) return false;
  if (schema !== null && SYSTEM_SCHEMAS.test(schema)) return false;
  if (/^(off|0)$/i.test(variables.get('sql_log_bin') ?? '')) return false;
  return !/^(serializable|read-uncommitted)$/i.test(
    variables.get('transaction_isolation') ?? variables.get('tx_isolation') ?? '',
  );
}

/** `SET @evenkeel_route = 'primary'`: a client's word for all of its statements from then on. Whatever the word, it is not taken for none. */
const ROUTE_VARIABLE = 'evenkeel_route';
const NOTHING = /^$|^(_\w+ )?[Xx]?''/;

const SYSTEM_SCHEMAS = /^(information_schema|performance_schema|mysql|sys)$/i;

/** Whether a statement of a read-only transaction can run on the replica that has it. */
export function staysOnReplica({ sql, command, executesPlainly }: ServerRequest): boolean {
  const { flags, kind } = sql;
  if (command === Command.STMT_EXECUTE && !executesPlainly) return false;
  if (flags.unknownFunction || flags.namedLock || flags.temporaryTable || flags.handler) return false;
  switch (kind) {
    case 'read':
    case 'begin':
    case 'commit':
    case 'rollback':
    case 'savepoint':
    case 'set':
    case 'use':
    case 'empty':
      return !flags.touchesSessionTracking && !flags.setsUnreported;
    default:
      return false;
  }
}
