// Random sequences, by fast-check. They are made of blocks; what a block takes at the server (a transaction, a lock, a
// temporary table) it gives back at its end, so that sessions which share one connection wait for each other and go on.
// EVENKEEL_WITHOUT=topic,topic leaves topics out, which helps to find what stands behind a known difference.

import { Capability } from '../../../src/wire/index.ts';
import fc from '../../seed.ts';
import * as texts from './statements.ts';
import type { Action, Parameter, Sequence, Slot } from './types.ts';

type Block = fc.Arbitrary<Action[]>;

const WITHOUT = new Set((process.env['EVENKEEL_WITHOUT'] ?? '').split(','));

const query = (sql: string): Action => ({ do: 'query', sql });
const oneOf = (list: readonly string[]): fc.Arbitrary<string> => fc.constantFrom(...list);
const queryOf = (list: readonly string[]): fc.Arbitrary<Action> => oneOf(list).map(query);
const single = (action: fc.Arbitrary<Action>): Block => action.map((one) => [one]);
const said = (list: readonly string[]): Block => single(queryOf(list));

/** One after the other; each is there or not. */
function row(...parts: fc.Arbitrary<Action>[]): Block {
  return fc
    .tuple(...parts.map((part) => fc.option(part, { freq: 8 })))
    .map((actions) => actions.filter((action) => action !== null));
}

const several = (block: Block, max: number): Block =>
  fc.array(block, { maxLength: max }).map((blocks) => blocks.flat());

/** A topic with its weight, unless it is left out. */
function weighted(topics: Record<string, [number, Block]>): Block {
  const chosen = Object.entries(topics).filter(([name]) => !WITHOUT.has(name));
  return fc.oneof(...chosen.map(([, [weight, arbitrary]]) => ({ weight, arbitrary })));
}

const schemaName = fc.constantFrom('{a}', '{b}', '{c}', 'nowhere');

const slot: fc.Arbitrary<Slot> = fc.constantFrom(0, 1, 2);
const parameter: fc.Arbitrary<Parameter> = fc.record({
  type: fc.constantFrom('long', 'string', 'double', 'longlong', 'tiny', 'blob', 'datetime'),
  number: fc.option(fc.integer({ min: -3, max: 2_000_000 }), { freq: 5 }),
});
const values = fc.array(parameter, { minLength: 1, maxLength: 3 });

const prepare = (of: Slot): fc.Arbitrary<Action> =>
  oneOf(texts.PREPARABLE).map((sql) => ({ do: 'prepare', slot: of, sql }));
const execute = (of: Slot, cursor: boolean): fc.Arbitrary<Action> =>
  fc
    .record({ values, types: fc.constantFrom('sent' as const, 'kept' as const) })
    .map((how) => ({ do: 'execute', slot: of, cursor, ...how }));
const longData = (of: Slot): fc.Arbitrary<Action> =>
  fc
    .record({ parameter: fc.constantFrom(0, 1), text: fc.constantFrom('long', 'data '.repeat(100)) })
    .map((what) => ({ do: 'long-data', slot: of, ...what }));

/** Cursors are closed in their own block: by the end of their rows, by a reset, or with the statement. */
function cursorOf(of: Slot): Block {
  const fetches = fc.array(fc.constantFrom(1, 2, 50), { maxLength: 3 });
  return fc
    .tuple(fc.option(prepare(of), { freq: 3 }), execute(of, true), fetches, fc.boolean())
    .map(([prepared, executed, rows, reset]) => [
      ...(prepared === null ? [] : [prepared]),
      executed,
      ...rows.map((count): Action => ({ do: 'fetch', slot: of, rows: count })),
      reset ? { do: 'statement-reset', slot: of } : { do: 'statement-close', slot: of },
    ]);
}

const prepared: Block = slot.chain((of) =>
  weighted({
    'prepare-execute': [4, row(prepare(of), execute(of, false))],
    execute: [8, single(execute(of, false))],
    'long-data': [2, row(longData(of), longData(of), execute(of, false))],
    'statement-reset': [1, single(fc.constant<Action>({ do: 'statement-reset', slot: of }))],
    'statement-close': [1, single(fc.constant<Action>({ do: 'statement-close', slot: of }))],
    cursor: [2, cursorOf(of)],
  }),
);

const changeUser: fc.Arbitrary<Action> = fc
  .record({ user: fc.constantFrom('app' as const, 'other' as const), schema: fc.constantFrom('{a}', '{b}', null) })
  .map((to) => ({ do: 'change-user', ...to }));

const ownId: Block = WITHOUT.has('connection-id') ? fc.constant([]) : said(texts.OWN_ID);

const counted = queryOf(texts.COUNTS);
/** Nobody asks for the warnings of FOUND_ROWS(): see `tellsNoWarnings`. */
const closed = (counts: Block): Block => counts.map((actions) => [...actions, query('SELECT COUNT(*) FROM t')]);

/** What takes nothing that must be given back. */
const plain: Block = weighted({
  probes: [12, said(texts.PROBES)],
  settings: [8, said(texts.SETTINGS)],
  'several-settings': [3, said(texts.SEVERAL_SETTINGS)],
  names: [3, said(texts.NAMES)],
  schemas: [3, said(texts.SCHEMAS)],
  'init-db': [1, single(schemaName.map((schema) => ({ do: 'init-db', schema })))],
  'user-variables': [8, said(texts.USER_VARIABLES)],
  inserts: [6, said(texts.INSERTS)],
  'insert-ids': [5, said(texts.INSERT_IDS)],
  counts: [3, closed(row(queryOf([...texts.INSERTS, ...texts.CALCULATING, 'SELECT 1', 'SET @a = 2']), counted))],
  'counts-alone': [1, closed(row(counted))],
  warnings: [3, row(queryOf([...texts.WARNING, ...texts.FAILING, 'SELECT 1']), queryOf(texts.WARNINGS))],
  'warnings-alone': [2, said([...texts.WARNINGS, ...texts.WARNING])],
  'own-id': [2, ownId],
  failing: [2, said(texts.FAILING)],
  calls: [3, said(texts.CALLS)],
  multi: [2, said(texts.MULTI)],
  'multi-statements': [1, single(fc.boolean().map((on) => ({ do: 'multi-statements', on })))],
  roles: [2, said(texts.ROLES)],
  definitions: [2, row(queryOf(texts.COPIED), queryOf(texts.DEFINITIONS))],
  prepared: [8, prepared],
  'sql-prepared': [2, said(texts.SQL_PREPARED)],
  ping: [1, single(fc.constant<Action>({ do: 'ping' }))],
  'reset-connection': [
    1,
    fc.constant<Action[]>([{ do: 'reset-connection' }, ...texts.AFTER_RESET.map(query), query(texts.FIRST)]),
  ],
  'change-user': [1, changeUser.map((action) => [action, query(texts.FIRST)])],
});

const switchesAutocommit = (begin: Action): boolean => begin.do === 'query' && begin.sql.includes('autocommit');

const transaction: Block = fc
  .record({
    shot: fc.option(queryOf(texts.ONE_SHOT), { freq: 2 }),
    between: fc.option(said(texts.PROBES), { freq: 2 }),
    begin: queryOf(texts.BEGINNINGS),
    body: several(fc.oneof({ weight: 3, arbitrary: said(texts.IN_TRANSACTION) }, { weight: 2, arbitrary: plain }), 5),
    end: queryOf(texts.ENDINGS),
  })
  .map(({ shot, between, begin, body, end }) => [
    // MariaDB takes it for the transaction after the next, too, where SET autocommit = 1 ends that.
    ...(shot === null || WITHOUT.has('one-shot') || switchesAutocommit(begin) ? [] : [shot]),
    ...(between ?? []),
    begin,
    ...body,
    end,
    // Of whatever the body may have switched off.
    ...(switchesAutocommit(begin) ? [query('SET autocommit = 1')] : []),
  ]);

const held: Block = fc
  .constantFrom(...texts.HELD.filter(({ name }) => !WITHOUT.has(name)))
  .chain(({ begin, between, end }) =>
    several(fc.oneof({ weight: 2, arbitrary: said(between) }, { weight: 1, arbitrary: plain }), 5).map((body) => [
      ...begin.map(query),
      ...body,
      ...end.map(query),
    ]),
  );

const block: Block = weighted({
  plain: [12, plain],
  transaction: [3, transaction],
  'session-transaction': [1, said(texts.SESSION_TRANSACTION)],
  held: [2, held],
});

/** Bits of clients; those who share server connections must have the same. */
export const capabilities: fc.Arbitrary<number> = fc.constantFrom(
  Capability.DEPRECATE_EOF,
  Capability.DEPRECATE_EOF | Capability.MULTI_STATEMENTS,
  0,
  Capability.DEPRECATE_EOF | Capability.SESSION_TRACK,
  Capability.MULTI_STATEMENTS | Capability.FOUND_ROWS,
);

export function sequence(bits: fc.Arbitrary<number>, maxBlocks: number): fc.Arbitrary<Sequence> {
  return fc.record({
    capabilities: bits,
    database: fc.constantFrom('{a}', '{a}', '{b}', null),
    // The probe at the end shows what the rest may have left behind.
    actions: several(block, maxBlocks).map((actions) => [
      query(texts.FIRST),
      ...actions,
      ...[0, 4, 5, 6].map((i) => query(texts.PROBES[i] ?? '')),
    ]),
  });
}

/** Sequences of clients that share server connections: equal bits. */
export function sequences(clients: number, maxBlocks: number): fc.Arbitrary<Sequence[]> {
  return capabilities.chain((bits) =>
    fc.array(sequence(fc.constant(bits), maxBlocks), { minLength: clients, maxLength: clients }),
  );
}
