// Which objects of the server connection a statement makes or lets go of: temporary tables, prepared statements, locks,
// XA. A second look, for statements whose flags or kind call for it.
import { T } from './kinds.ts';
import { unquoted, Walk } from './tokens.ts';
import type { ClassifyOptions } from './types.ts';

/** A table as the statement names it; whether case matters, the server's lower_case_table_names tells. */
export interface TableName {
  /** null: the session's default schema. */
  schema: string | null;
  name: string;
}

export type SessionObjects =
  | { kind: 'create-temporary'; names: TableName[] }
  /** Temporary tables hide others of their name, and go first. */
  | { kind: 'drop-table'; names: TableName[] }
  /** A prepared statement's name, in lower case. */
  | { kind: 'prepare' | 'deallocate'; name: string }
  /** A lock's name: MySQL does not tell letters' case apart, so there it is in lower case. */
  | { kind: 'get-lock' | 'release-lock'; name: string }
  | { kind: 'release-all-locks' }
  /** The name under which the table is open, in lower case. */
  | { kind: 'handler'; verb: 'open' | 'read' | 'close'; name: string }
  | { kind: 'xa'; verb: 'start' | 'end' | 'prepare' | 'commit' | 'rollback' | 'recover' };

/**
 * What a text of one statement makes or lets go of, or null: for statements that do neither, and wherever that is not sure.
 * It tells what is asked for; whether it happened (a lock may not be got, IF NOT EXISTS, an error) the answer tells.
 */
export function sessionObjects(
  text: Buffer | Uint8Array | string,
  options: ClassifyOptions = { flavor: 'mysql' },
): SessionObjects | null {
  const walk = Walk.over(text, options);
  switch (walk?.oneOf('create', 'drop', 'prepare', 'deallocate', 'select', 'do', 'xa', 'handler')) {
    case 'create':
      return created(walk);
    case 'drop':
      return walk.words('prepare') ? prepared('deallocate', walk) : dropped(walk);
    case 'prepare':
      return prepared('prepare', walk);
    case 'deallocate':
      return walk.words('prepare') ? prepared('deallocate', walk) : null;
    case 'select':
    case 'do':
      return locked(walk, options.flavor === 'mariadb');
    case 'xa':
      return distributed(walk);
    case 'handler':
      return opened(walk);
    default:
      return null;
  }
}

function tableName(walk: Walk): TableName | null {
  const first = walk.identifier();
  if (first === null) return null;
  if (walk.take(T.dot) === null) return { schema: null, name: first };
  const name = walk.identifier();
  return name === null ? null : { schema: first, name };
}

function created(walk: Walk): SessionObjects | null {
  walk.words('or', 'replace');
  if (!walk.words('temporary', 'table')) return null;
  walk.words('if', 'not', 'exists');
  const name = tableName(walk);
  return name === null ? null : { kind: 'create-temporary', names: [name] };
}

function dropped(walk: Walk): SessionObjects | null {
  walk.words('temporary');
  if (walk.oneOf('table', 'tables') === null) return null;
  walk.words('if', 'exists');
  const names: TableName[] = [];
  do {
    const name = tableName(walk);
    if (name === null) return null;
    names.push(name);
  } while (walk.take(T.comma) !== null);
  if (walk.oneOf('restrict', 'cascade', 'nowait') === null && walk.words('wait')) walk.take(T.number);
  return walk.ended ? { kind: 'drop-table', names } : null;
}

/** Letters beyond ASCII fall together in ways that only the server knows. */
const ASCII = /^[\x20-\x7e]+$/;

function prepared(kind: 'prepare' | 'deallocate', walk: Walk): SessionObjects | null {
  const name = walk.identifier();
  if (name === null || !ASCII.test(name)) return null;
  if (kind === 'prepare' ? !walk.words('from') : !walk.ended) return null;
  return { kind, name: name.toLowerCase() };
}

function locked(walk: Walk, mariadb: boolean): SessionObjects | null {
  const verb = walk.oneOf('get_lock', 'release_lock', 'release_all_locks');
  if (verb === null || walk.take(T.open) === null) return null;
  const name = verb === 'release_all_locks' ? '' : lockName(walk, mariadb);
  if (name === null || (verb === 'get_lock' && !timeout(walk)) || walk.take(T.close) === null) return null;
  if (!walk.words('from', 'dual')) {
    const aliased = walk.words('as');
    if ((aliased || !walk.ended) && walk.identifierOrString() === null) return null;
  }
  if (!walk.ended) return null;
  if (verb === 'release_all_locks') return { kind: 'release-all-locks' };
  return { kind: verb === 'get_lock' ? 'get-lock' : 'release-lock', name };
}

function lockName(walk: Walk, mariadb: boolean): string | null {
  const string = walk.take(T.string);
  const name = string === null ? null : unquoted(string.text);
  // Two strings in a row are one.
  if (name === null || !ASCII.test(name) || walk.current?.kind === T.string) return null;
  return mariadb ? name : name.toLowerCase();
}

/** `, 10` or `, -1`. */
function timeout(walk: Walk): boolean {
  if (walk.take(T.comma) === null) return false;
  if (walk.current?.text === '-') walk.take(T.other);
  return walk.take(T.number) !== null;
}

/** `HANDLER [schema.]table OPEN [[AS] alias]`, and then by its alias. */
function opened(walk: Walk): SessionObjects | null {
  const table = tableName(walk);
  const verb = table === null ? null : walk.oneOf('open', 'read', 'close');
  if (table === null || verb === null) return null;
  let { name } = table;
  if (verb === 'open' && !walk.ended) {
    walk.words('as');
    const alias = walk.identifier();
    if (alias === null) return null;
    name = alias;
  }
  if ((verb !== 'read' && !walk.ended) || !ASCII.test(name)) return null;
  return { kind: 'handler', verb, name: name.toLowerCase() };
}

function distributed(walk: Walk): SessionObjects | null {
  const verb = walk.oneOf('start', 'begin', 'end', 'prepare', 'commit', 'rollback', 'recover');
  if (verb === null) return null;
  return { kind: 'xa', verb: verb === 'begin' ? 'start' : verb };
}
