// Any state of a server connection, under any terms of its login; and a server that is in it.

import { AT_LOGIN, changed, type LinkState, type Terms } from '../../src/gateway/link-state.ts';
import fc from '../seed.ts';
import { IGNORE_SPACE, SET_NAMES, ServerModel, TRACKING, WITHOUT_DEFAULT } from './server-model.ts';

const perhaps = <T>(from: fc.Arbitrary<T>): fc.Arbitrary<T | null> => fc.option(from, { freq: 2 });

const plain = fc.record({
  sql_mode: perhaps(fc.constantFrom('ANSI_QUOTES', 'A,B', "it's")),
  time_zone: perhaps(fc.constantFrom('+02:00', 'Europe/Berlin')),
  unique_checks: perhaps(fc.constant('OFF')),
  sql_log_bin: perhaps(fc.constant('OFF')),
  max_join_size: perhaps(fc.constantFrom('7', '12.5')),
  init_text: perhaps(fc.constantFrom('a, SESSION `b`=1', 'ключ\\', '')),
});
const charsets = fc
  .record({
    client: perhaps(fc.constantFrom('latin1', 'utf8mb4')),
    connection: perhaps(fc.constantFrom('latin1', 'gbk', 'utf8mb4')),
    results: perhaps(fc.constantFrom('latin1', '')),
    ownCollation: fc.boolean(),
  })
  .map(({ client, connection, results, ownCollation }) => ({
    character_set_client: client,
    character_set_results: results,
    character_set_connection: connection,
    collation_connection: ownCollation ? `${connection ?? 'utf8mb4'}_bin` : null,
  }));
const variables = fc
  .tuple(fc.oneof({ weight: 2, arbitrary: fc.constant({}) }, plain), fc.oneof(fc.constant({}), charsets), fc.boolean())
  .map(([some, sets, reversed]) => {
    const all = Object.entries({ ...some, ...sets }).filter((each): each is [string, string] => each[1] !== null);
    return new Map(reversed ? all.reverse() : all);
  });
const userVariables = fc
  .dictionary(
    fc.constantFrom('a', 'b', 'a`b, @c'),
    fc.constantFrom('1', "X'61'", "_latin1 X'61' COLLATE latin1_bin", '2.5e0'),
  )
  .map((of) => new Map(Object.entries(of)));

export const anyState: fc.Arbitrary<LinkState> = fc
  .record({
    schema: fc.constantFrom(null, 'one', 'two'),
    variables,
    userVariables,
    role: fc.constantFrom(null, null, 'SET ROLE `r`', 'SET ROLE NONE'),
    multiStatements: fc.constantFrom(null, 0, 1),
    autocommit: fc.boolean(),
  })
  .map((parts) => changed(AT_LOGIN, parts));

export const anyTerms: fc.Arbitrary<Terms> = fc
  .record({
    flavor: fc.constantFrom('mysql' as const, 'mariadb' as const),
    login: fc.constantFrom('plain', 'plain', 'ignore-space', 'unknown'),
    multiStatements: fc.boolean(),
  })
  .map(({ flavor, login, multiStatements }) => ({
    flavor,
    multiStatements,
    asAtLogin: login === 'unknown' ? null : login === 'plain' ? [SET_NAMES] : [SET_NAMES, IGNORE_SPACE],
    tracking: TRACKING,
    withoutDefault: new Set(WITHOUT_DEFAULT),
    ofLogin: login === 'ignore-space' ? ['sql_mode'] : [],
  }));

/** A server whose session was brought there by its own client. */
export function serverIn(state: LinkState, terms: Terms): ServerModel {
  const server = new ServerModel(terms);
  const { schema, role, multiStatements, autocommit } = state;
  for (const [name, value] of state.variables) {
    if (name !== 'collation_connection') server.set(name, value);
  }
  const collation = state.variables.get('collation_connection');
  if (collation !== undefined) server.set('collation_connection', collation);
  for (const [name, literal] of state.userVariables) server.userVariables.set(name, literal);
  return Object.assign(server, {
    schema,
    role,
    autocommit,
    multiStatements: multiStatements ?? server.multiStatements,
  });
}
