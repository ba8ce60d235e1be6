// The settings of a session that servers do not report, or not wholly: SET NAMES … COLLATE and SET ROLE. A second look,
// for texts with the flags `setsNames` and `setsRole`.
import { T } from './kinds.ts';
import { unquoted, Walk } from './tokens.ts';
import type { ClassifyOptions } from './types.ts';

export interface NamesSetting {
  /** Lower case; `default` is the server's. */
  charset: string;
  /** Lower case; null: the character set's default, whatever collation_connection was before. `default` in MariaDB is the same. */
  collation: string | null;
}

/**
 * What a SET with NAMES among its assignments asks for, which is all that tells collation_connection: servers report the
 * character set only. Null where there is no NAMES, and where other assignments beside it concern the same variables.
 */
export function setNames(
  text: Buffer | Uint8Array | string,
  options: ClassifyOptions = { flavor: 'mysql' },
): NamesSetting | null {
  const walk = Walk.over(text, options);
  if (walk?.words('set') !== true) return null;
  let found: NamesSetting | null = null;
  for (;;) {
    if (walk.words('names')) {
      found = names(walk);
      if (found === null) return null;
    } else if (!skipOther(walk)) return null;
    if (walk.ended) return found;
    if (walk.take(T.comma) === null) return null;
  }
}

function names(walk: Walk): NamesSetting | null {
  const charset = walk.identifierOrString()?.toLowerCase();
  if (charset === undefined) return null;
  if (!walk.words('collate')) return { charset, collation: null };
  const collation = walk.identifierOrString()?.toLowerCase();
  return collation === undefined ? null : { charset, collation: collation === 'default' ? null : collation };
}

/** Steps over another assignment, to the comma behind it; false where it may concern the same variables. */
function skipOther(walk: Walk): boolean {
  let depth = 0;
  let first = true;
  for (; walk.current !== undefined; first = false) {
    const { kind, text } = walk.current;
    if (kind === T.comma && depth === 0) return !first;
    if (/^[@`"]*(character|charset|collation_|statement$)/i.test(text)) return false;
    if (kind === T.open) depth++;
    if (kind === T.close) depth--;
    walk.take(kind);
  }
  return !first;
}

/**
 * A SET ROLE in a form that means the same under any sql_mode and in any spelling of the names; null where the text is no
 * SET ROLE alone, or its names are in doubt. What DEFAULT and ALL mean, the server decides when it is run.
 */
export function setRole(
  text: Buffer | Uint8Array | string,
  options: ClassifyOptions = { flavor: 'mysql' },
): string | null {
  const walk = Walk.over(text, options);
  if (walk?.words('set', 'role') !== true) return null;
  const word = walk.oneOf('none', 'default', 'all');
  if (word !== null && walk.ended) return `SET ROLE ${word.toUpperCase()}`;
  if (word !== null && !(word === 'all' && walk.words('except'))) return null;
  const roles: string[] = [];
  do {
    const role = roleName(walk);
    if (role === null) return null;
    roles.push(role);
  } while (walk.take(T.comma) !== null);
  return walk.ended ? `SET ROLE ${word === null ? '' : 'ALL EXCEPT '}${roles.join(', ')}` : null;
}

/** `name`, or `name@host` of MySQL. */
function roleName(walk: Walk): string | null {
  const name = walk.identifierOrString();
  if (name === null || !/^[\x20-\x7e]+$/.test(name)) return null;
  const at = walk.take(T.userVariable);
  if (at === null) return quote(name);
  const raw = at.text.slice(1);
  const host = /^['"`]/.test(raw) ? unquoted(raw) : raw;
  return host === null || !/^[\x20-\x7e]*$/.test(host) ? null : `${quote(name)}@${quote(host)}`;
}

function quote(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``;
}
