// How a kept transaction ends by what its client says: by COMMIT and ROLLBACK, by what commits without a word, and by the first
// statement of a text of several, which can be done ahead of the whole text.
import { type Classification, classifyFirst } from '../../sql/index.ts';
import { Capability } from '../../wire/index.ts';
import type { ServerRequest } from '../command.ts';
import type { SessionState } from '../session.ts';

/** To something that is no user variable's value, and not off. */
const SETS_AUTOCOMMIT = /(^|[\s,`.]|@@)autocommit`?\s*:?=\s*(['"]?)(1|on|true)\2(?=[\s,;/]|$)/i;
const NO_CHAIN = /\bno\s+chain\b/i;
const NO_RELEASE = /\bno\s+release\b/i;

/**
 * The statement, or the first one of a text of several: what it ends can be ended ahead of it. Null: that is not sure, or the server
 * will not take it. `capabilities`: the client's.
 */
export function whatMayEnd(
  { options, sql, text }: ServerRequest,
  { state }: SessionState,
  capabilities: number,
): { sql: Classification; text: Buffer | null } | null {
  if (sql.kind !== 'multi') return { sql, text };
  const several =
    state.multiStatements === null ? capabilities & Capability.MULTI_STATEMENTS : state.multiStatements === 0;
  if (!several) return null;
  const first = text === null ? null : classifyFirst(text, options);
  return first === null || text === null ? null : { sql: first.sql, text: text.subarray(0, first.end) };
}

/** UNLOCK TABLES commits where tables are locked only, and then no transaction is kept (opens.ts). */
export function commits({ flags, kind }: Classification, text: Buffer | null, session: SessionState): boolean {
  if (kind === 'commit') return true;
  const sets = kind === 'set' || (kind === 'admin' && flags.globalScope);
  if (!sets) return flags.implicitCommit && kind !== 'unlock';
  return !session.autocommit && flags.implicitCommit && SETS_AUTOCOMMIT.test(text?.toString('latin1') ?? '');
}

/** What follows a COMMIT or ROLLBACK, by its own words or by what the session has set for all of them. */
export function endOf({ sql, text }: ServerRequest, { state }: SessionState): { chain: boolean; release: boolean } {
  const { chain, release } = sql.flags;
  if (sql.kind !== 'commit' && sql.kind !== 'rollback') return { chain: false, release: false };
  const type = state.variables.get('completion_type');
  if (type === undefined || chain || release) return { chain, release };
  const words = text?.toString('latin1') ?? '';
  return {
    chain: /^(chain|1)$/i.test(type) && !NO_CHAIN.test(words),
    release: /^(release|2)$/i.test(type) && !NO_RELEASE.test(words),
  };
}
