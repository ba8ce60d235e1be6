// A classification as one line, so that tests can be tables: kind, `again` where rerunnable, flags, written variables.
import { type ClassifyOptions, classify } from '../../src/sql/index.ts';

export const MYSQL: ClassifyOptions = { flavor: 'mysql' };
export const MARIADB: ClassifyOptions = { flavor: 'mariadb' };

/** `read again`, `set setsUserVariable usesUserVariable @a` … */
export function describeText(text: Buffer | string, options: ClassifyOptions = MYSQL): string {
  const { kind, rerunnable, flags, userVariables, kill } = classify(text, options);
  const parts: string[] = [kind];
  if (rerunnable) parts.push('again');
  // Which reads ask the server itself has a table of its own: flags.test.ts.
  for (const [name, on] of Object.entries(flags)) if (on && name !== 'asksServer') parts.push(name);
  for (const name of userVariables) parts.push(`@${name}`);
  if (kill !== undefined) parts.push(`${kill.queryOnly ? 'query' : 'connection'}:${kill.connectionId}`);
  return parts.join(' ');
}
