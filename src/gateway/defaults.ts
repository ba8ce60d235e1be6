// SET GLOBAL through Evenkeel: who logs in from then on has the new value, who is logged in keeps the one before. Server
// connections have the values that were global when they were opened. So those that are there go to no new session any more,
// and each session that had chosen no value of its own chooses the one before. For variables with a value in each session that
// every account may set; of others a server connection has what it was opened with.
import type { Flavor, Replaced } from '../messages/index.ts';
import type { ServerRequest } from './command.ts';
import type { QuietCommand } from './quiet.ts';
import type { ServerConnection } from './server-connection.ts';
import type { SessionState } from './session.ts';

const SESSION_VARIABLES = new Set(
  [
    'sql_mode time_zone lc_time_names transaction_isolation transaction_read_only tx_isolation tx_read_only',
    'lock_wait_timeout innodb_lock_wait_timeout max_execution_time max_statement_time sql_select_limit',
    'group_concat_max_len div_precision_increment default_week_format foreign_key_checks unique_checks',
    'sql_safe_updates sql_auto_is_null sql_notes sql_warnings sql_quote_show_create optimizer_switch',
    'default_storage_engine tmp_table_size max_heap_table_size max_sort_length',
    'sort_buffer_size join_buffer_size net_read_timeout net_write_timeout updatable_views_with_limit',
    'optimizer_search_depth optimizer_prune_level eq_range_index_dive_limit completion_type',
  ].flatMap((names) => names.split(' ')),
);

/** Each session has what was global when it began, and cannot choose. */
const INHERITED = new Set(['max_allowed_packet', 'net_buffer_length']);

/** The variables in question that the text of a SET GLOBAL sets: their names stand in front of a `=` or a `:=`. */
export function defaultsSetBy({ text, sql }: ServerRequest, flavor: Flavor): string[] {
  if (!sql.flags.globalScope || sql.kind !== 'admin' || text === null) return [];
  const words = text.toString('latin1').toLowerCase();
  const names = [...words.matchAll(/([a-z_]+)`?\s*:?=/g)].map((found) => found[1] ?? '');
  if (/\btransaction\s+(isolation|read)\b/.test(words)) {
    const prefix = flavor === 'mysql' ? 'transaction' : 'tx';
    names.push(`${prefix}_isolation`, `${prefix}_read_only`);
  }
  return [...new Set(names)].filter((name) => SESSION_VARIABLES.has(name) || INHERITED.has(name));
}

/** Reads, ahead of the statement, what it replaces. */
export function readDefaults(link: ServerConnection, session: SessionState, names: readonly string[]): QuietCommand {
  const row: QuietCommand['row'] = (answer) => {
    const values = names.map((name, at) => [name, answer?.values[at] ?? null] as const);
    session.replaced = Object.fromEntries(values.filter((each): each is [string, string] => each[1] !== null));
  };
  const sql = `SELECT ${names.map((name) => `@@global.${name}`).join(', ')}`;
  return { packet: link.query(sql), what: 'what is global', row, failed: () => {} };
}

/** The session keeps what it has, where it has chosen nothing of its own. */
export function keepReplaced(session: SessionState, replaced: Replaced): void {
  for (const [name, value] of Object.entries(replaced)) {
    if (!INHERITED.has(name) && !session.state.variables.has(name)) session.setVariable(name, value);
  }
}
