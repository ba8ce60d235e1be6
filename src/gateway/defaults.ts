// SET GLOBAL through Evenkeel: who logs in from then on has the new value, who is logged in keeps the one before. Server
// connections have the values that were global when they were opened. So those that are there go to no new session any more,
// and each session that had chosen no value of its own chooses the one before. For variables with a value in each session that
// every account may set; of others a server connection has what it was opened with.
import { type Flavor, INHERITED_DEFAULTS, type Replaced, SESSION_DEFAULTS } from '../messages/index.ts';
import type { ServerRequest } from './command.ts';
import type { QuietCommand } from './quiet.ts';
import type { ServerConnection } from './server-connection.ts';
import type { SessionState } from './session.ts';

/** The variables in question that the text of a SET GLOBAL sets: their names stand in front of a `=` or a `:=`. */
export function defaultsSetBy({ text, sql }: ServerRequest, flavor: Flavor): string[] {
  if (!sql.flags.globalScope || sql.kind !== 'admin' || text === null) return [];
  const words = text.toString('latin1').toLowerCase();
  const names = [...words.matchAll(/([a-z_]+)`?\s*:?=/g)].map((found) => found[1] ?? '');
  if (/\btransaction\s+(isolation|read)\b/.test(words)) {
    const prefix = flavor === 'mysql' ? 'transaction' : 'tx';
    names.push(`${prefix}_isolation`, `${prefix}_read_only`);
  }
  return [...new Set(names)].filter((name) => SESSION_DEFAULTS.has(name) || INHERITED_DEFAULTS.has(name));
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
    if (!INHERITED_DEFAULTS.has(name) && !session.state.variables.has(name)) session.setVariable(name, value);
  }
}
