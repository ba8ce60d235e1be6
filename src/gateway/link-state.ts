// What a session has built up that can be built up on any server connection, as an immutable value: a session has the
// one that it wants, a server connection the one that it will have after all that is queued on it. Equal states are
// the same object in nearly all cases, so that a statement finds out with one comparison that nothing differs.
//
// `difference` says how to get from one to the other with the fewest commands. Pure.
import type { Flavor } from '../messages/index.ts';

export interface LinkState {
  /** Equal for equal states. */
  readonly key: string;
  /** Equal where a text means the same when it is prepared: schema, sql_mode and character sets are. */
  readonly preparesAs: string;
  /** Null where none was ever chosen; no server goes back to that. */
  readonly schema: string | null;
  /** Session variables that are not as at login, as the server reports them. */
  readonly variables: ReadonlyMap<string, string>;
  /** Values as SQL literals that mean the same under every sql_mode and character set. */
  readonly userVariables: ReadonlyMap<string, string>;
  /** The text of SET ROLE; null for the account's default roles. */
  readonly role: string | null;
  /** COM_SET_OPTION's argument; null as the login said. */
  readonly multiStatements: number | null;
  readonly autocommit: boolean;
}

type Parts = Omit<LinkState, 'key' | 'preparesAs'>;

const NONE: ReadonlyMap<string, string> = new Map();
const MAX_KNOWN = 4096;
const known = new Map<string, LinkState>();

const PREPARES_AS = ['sql_mode', 'character_set_client', 'character_set_connection', 'collation_connection'];

function flat(map: ReadonlyMap<string, string>): string[] {
  return [...map.keys()].sort().flatMap((name) => [name, map.get(name) as string]);
}

function stateOf(parts: Parts): LinkState {
  const { schema, variables, userVariables, role, multiStatements, autocommit } = parts;
  const key = JSON.stringify([schema, flat(variables), flat(userVariables), role, multiStatements, autocommit]);
  const same = known.get(key);
  if (same !== undefined) return same;
  // Only sharing is lost: states are compared by their keys where they are different objects.
  if (known.size >= MAX_KNOWN) known.clear();
  const preparesAs = JSON.stringify([schema, ...PREPARES_AS.map((name) => variables.get(name) ?? null)]);
  const state = Object.freeze({ ...parts, key, preparesAs });
  known.set(key, state);
  return state;
}

/** As a login without a schema leaves a session. */
export const AT_LOGIN: LinkState = stateOf({
  schema: null,
  variables: NONE,
  userVariables: NONE,
  role: null,
  multiStatements: null,
  autocommit: true,
});

/** The state with some parts changed; the same object where nothing is. */
export function changed(state: LinkState, parts: Partial<Parts>): LinkState {
  const { schema, variables, userVariables, role, multiStatements, autocommit } = state;
  return stateOf({ schema, variables, userVariables, role, multiStatements, autocommit, ...parts });
}

/**
 * Stands among the variables of a state where a routine, or a text that we have not seen, may have left what no server tells:
 * a user variable of `SELECT … INTO`, a named lock, the next transaction's isolation level. Nothing can bring it to another
 * connection, and only a reset takes it away.
 */
const HIDDEN = '\0hidden';
let hiddenCount = 0;

/** The state with whatever is hidden on the connection that has it; as it is where something was before. */
export function withHidden(state: LinkState): LinkState {
  if (state.variables.has(HIDDEN)) return state;
  return changed(state, { variables: new Map(state.variables).set(HIDDEN, String(++hiddenCount)) });
}

/** Something may be hidden on the connection that the session had last, and only there. */
export function hides(state: LinkState): boolean {
  return state.variables.has(HIDDEN);
}

/** The state as the session would have it on `there`: what is hidden on another connection is not to be had. */
export function onLink(state: LinkState, there: LinkState): LinkState {
  const hidden = state.variables.get(HIDDEN);
  if (hidden === undefined || hidden === there.variables.get(HIDDEN)) return state;
  const variables = new Map(state.variables);
  variables.delete(HIDDEN);
  return changed(state, { variables });
}

/** The state with what is hidden in `there`, and with nothing else hidden. */
export function hiddenAs(state: LinkState, there: LinkState): LinkState {
  const hidden = there.variables.get(HIDDEN);
  if (state.variables.get(HIDDEN) === hidden) return state;
  const variables = new Map(state.variables);
  if (hidden === undefined) variables.delete(HIDDEN);
  else variables.set(HIDDEN, hidden);
  return changed(state, { variables });
}

/** The state, with what decides how a text is prepared as it is in `then`. A schema that was none cannot be had again. */
export function asPrepared(state: LinkState, then: LinkState, seesUserVariables: boolean): LinkState {
  const variables = new Map(state.variables);
  for (const name of PREPARES_AS) {
    const value = then.variables.get(name);
    if (value === undefined) variables.delete(name);
    else variables.set(name, value);
  }
  const { userVariables } = seesUserVariables ? then : state;
  return changed(state, { schema: then.schema ?? state.schema, variables, userVariables });
}

/** What COM_RESET_CONNECTION leaves of a state. */
export function asReset({ schema, role, multiStatements }: LinkState): LinkState {
  return changed(AT_LOGIN, { schema, role, multiStatements });
}

export function sameState(a: LinkState, b: LinkState): boolean {
  return a === b || a.key === b.key;
}

/** One command that changes a server connection's state. */
export type Step =
  | { kind: 'reset' }
  | { kind: 'schema'; schema: string }
  | { kind: 'option'; value: number }
  | {
      kind: 'query';
      sql: string;
      /** Cannot fail. */
      sure: boolean;
      /** Session variables that it sets to DEFAULT. */
      defaults: string[];
    };

export interface Terms {
  flavor: Flavor;
  /** What the login set, as SQL, and a reset takes back; the character set comes first. Null where it is not known. */
  asAtLogin: readonly string[] | null;
  /** Sent after a reset, before all else. */
  tracking: string;
  /** The login asked for multi-statements. */
  multiStatements: boolean;
  /** Variables that turned out to have no DEFAULT. */
  withoutDefault: ReadonlySet<string>;
  /** Variables of which the login set another value than DEFAULT. */
  ofLogin: readonly string[];
}

/** What SET NAMES of the login sets. */
const CHARACTER_SET = new Set([
  'character_set_client',
  'character_set_connection',
  'character_set_results',
  'collation_connection',
]);

/** The way from one state to another; null where there is none and another connection is needed. */
export function difference(from: LinkState, to: LinkState, terms: Terms): Step[] | null {
  if (from === to) return [];
  if (from.schema !== null && to.schema === null) return null;
  // Which roles MariaDB gives at login is not to be had back by SQL.
  if (from.role !== null && to.role === null && terms.flavor === 'mariadb') return null;
  const gone = [...from.variables.keys()].filter((name) => !to.variables.has(name));
  const charset = gone.some((name) => CHARACTER_SET.has(name));
  const plain = gone.filter((name) => !CHARACTER_SET.has(name));
  const noDefault = (name: string): boolean => terms.withoutDefault.has(name) || terms.ofLogin.includes(name);
  const hidden = from.variables.get(HIDDEN);
  const stranger = hidden !== undefined && hidden !== to.variables.get(HIDDEN);
  const mustReset = stranger || plain.some(noDefault) || (charset && terms.asAtLogin === null);
  return mustReset ? afterReset(from, to, terms) : directly(from, to, terms, plain, charset);
}

/** By a reset, which leaves the schema, the roles and COM_SET_OPTION's choice as they are (measured, both families). */
function afterReset(from: LinkState, to: LinkState, terms: Terms): Step[] | null {
  if (terms.asAtLogin === null) return null;
  const steps: Step[] = [{ kind: 'reset' }, query(terms.tracking)];
  for (const sql of terms.asAtLogin) steps.push(query(sql));
  return [...steps, ...directly(asReset(from), to, terms, [], false)];
}

function directly(from: LinkState, to: LinkState, terms: Terms, gone: string[], charset: boolean): Step[] {
  const steps: Step[] = [];
  if (from.role !== to.role) steps.push(query(to.role ?? 'SET ROLE DEFAULT'));
  if (from.multiStatements !== to.multiStatements) {
    steps.push({ kind: 'option', value: to.multiStatements ?? (terms.multiStatements ? 0 : 1) });
  }
  if (from.schema !== to.schema && to.schema !== null) steps.push({ kind: 'schema', schema: to.schema });
  // The character set as at login first: what the session wants of it comes behind.
  if (charset) steps.push(query(terms.asAtLogin?.[0] ?? ''));
  const sets = gone.map((name) => `SESSION ${quoteName(name)}=DEFAULT`);
  const before = charset ? NONE : from.variables;
  // A character set brings its default collation, so a collation of its own goes last.
  for (const [name, value] of to.variables) {
    if (name === 'collation_connection' || name === HIDDEN) continue;
    if (before.get(name) !== value) sets.push(assignment(name, value));
  }
  const collation = to.variables.get('collation_connection');
  const renewed = charset || CHARACTER_SET_SETS.some((name) => before.get(name) !== to.variables.get(name));
  if (collation !== undefined && (renewed || before.get('collation_connection') !== collation)) {
    sets.push(assignment('collation_connection', collation));
  }
  if (from.autocommit !== to.autocommit) sets.push(`SESSION autocommit=${to.autocommit ? 1 : 0}`);
  if (sets.length > 0) steps.push({ kind: 'query', sql: `SET ${sets.join(', ')}`, sure: false, defaults: gone });
  const user = userVariables(from.userVariables, to.userVariables);
  if (user !== null) steps.push({ kind: 'query', sql: user, sure: true, defaults: [] });
  return steps;
}

const CHARACTER_SET_SETS = ['character_set_client', 'character_set_connection', 'character_set_results'];

function userVariables(from: ReadonlyMap<string, string>, to: ReadonlyMap<string, string>): string | null {
  if (from === to) return null;
  const sets: string[] = [];
  for (const [name, value] of to) if (from.get(name) !== value) sets.push(`@${quoteName(name)}=${value}`);
  for (const name of from.keys()) {
    if (to.has(name)) continue;
    // A NULL keeps the type and the collation of the value before, which would be a stranger's: as never set it is binary.
    const variable = `@${quoteName(name)}`;
    sets.push(`${variable}=x''`, `${variable}=NULL`);
  }
  return sets.length === 0 ? null : `SET ${sets.join(', ')}`;
}

function query(sql: string): Step {
  return { kind: 'query', sql, sure: false, defaults: [] };
}

export function quoteName(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``;
}

function assignment(name: string, value: string): string {
  return `SESSION ${quoteName(name)}=${variableValue(name, value)}`;
}

/** NULL unless somebody chooses, which servers report as nothing; to set NULL itself may need a privilege. */
const NULL_BY_DEFAULT = new Set([
  'default_tmp_storage_engine',
  'enforce_storage_engine',
  'innodb_tmpdir',
  'innodb_ft_user_stopword_table',
  'external_table_storage_engine',
  'external_table_secondary_storage_engine',
]);

/** Servers report every value as text; numbers must go back as numbers, and text as text. */
function variableValue(name: string, value: string): string {
  if (/^-?\d+(\.\d+)?$/.test(value)) return value;
  if (value === '' && name === 'character_set_results') return 'NULL';
  if (value === 'DEFAULT' || (value === '' && NULL_BY_DEFAULT.has(name))) return 'DEFAULT';
  if (/^[\w.,:/+ -]*$/.test(value)) return `'${value}'`;
  // Hex: no quote, backslash or sql_mode can change what it means.
  return `CONVERT(0x${Buffer.from(value, 'utf8').toString('hex')} USING utf8mb4)`;
}
