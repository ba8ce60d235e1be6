// Knex as applications use it: migrations, the query builder, a pool, transactions, streams.
// usage: knex.mjs mysql2|mysql
import knexOf from 'knex';
import { byText, fails, login, say } from './say.mjs';

const knex = knexOf({
  client: process.argv[2],
  connection: { ...login, charset: 'utf8mb4' },
  pool: { min: 0, max: 6 },
});
const migrations = [
  {
    name: '1',
    up: (db) =>
      db.schema.createTable('authors', (t) => {
        t.increments();
        t.string('name', 60).notNullable().unique();
        t.json('extra');
        t.timestamp('at').nullable();
      }),
    down: (db) => db.schema.dropTable('authors'),
  },
  {
    name: '2',
    up: (db) =>
      db.schema.createTable('books', (t) => {
        t.bigIncrements();
        t.integer('author_id').unsigned().references('authors.id').onDelete('CASCADE');
        t.string('title').index();
        t.decimal('price', 10, 2);
        t.binary('cover');
        t.boolean('sold').defaultTo(false);
      }),
    down: (db) => db.schema.dropTable('books'),
  },
  {
    name: '3',
    up: (db) =>
      db.schema.alterTable('books', (t) => {
        t.integer('pages');
        t.renameColumn('title', 'name');
      }),
    down: (db) =>
      db.schema.alterTable('books', (t) => {
        t.renameColumn('name', 'title');
        t.dropColumn('pages');
      }),
  },
];
const migrationSource = {
  getMigrations: async () => migrations,
  getMigrationName: (m) => m.name,
  getMigration: async (m) => m,
};
say('migrated', await knex.migrate.latest({ migrationSource }));
say('migrated again', await knex.migrate.latest({ migrationSource }));
say('insert ids', [
  await knex('authors').insert({ name: 'Zoë 🐘', extra: JSON.stringify({ a: 1 }), at: null }),
  await knex('authors').insert([{ name: 'b' }, { name: 'c' }]),
]);
await knex.batchInsert(
  'books',
  Array.from({ length: 50 }, (_, i) => ({
    author_id: 1 + (i % 3),
    name: `book ${i}`,
    price: i / 4,
    cover: Buffer.from([i]),
    pages: i % 5 ? i : null,
  })),
  20,
);
say(
  'joined',
  await knex('authors as a')
    .leftJoin('books as b', 'a.id', 'b.author_id')
    .groupBy('a.id')
    .select('a.id', 'a.name', 'a.extra')
    .count('b.id as n')
    .sum('b.price as sum')
    .orderBy('a.id'),
);
say('rows', await knex('books').whereIn('id', [1, 2, 3]).orderBy('id'));
say('first', [
  await knex('books').where({ name: 'book 7' }).first(),
  await knex('books').where('id', -1).first(),
  await knex('books').whereNull('pages').count('* as n'),
]);
say('updated', [
  await knex('books').where('id', '<', 5).update({ price: 1 }),
  await knex('books').where('id', 1).increment('pages', 2),
  await knex('books').where('id', 50).del(),
]);
say('upsert', await knex('authors').insert({ name: 'b', extra: '[]' }).onConflict('name').merge());
say('ignored', await knex('authors').insert({ name: 'b' }).onConflict('name').ignore());
await knex.transaction(async (trx) => {
  await trx('books').where('id', 2).del();
  await trx
    .transaction(async (inner) => {
      await inner('books').del();
      throw new Error('back to the savepoint');
    })
    .catch((error) => say('a savepoint', error.message));
  say('in the transaction', await trx('books').count('* as n'));
});
await fails('rolled back', () =>
  knex.transaction(async (trx) => {
    await trx('books').del();
    await trx('missing').select();
  }),
);
say('after', await knex('books').count('* as n'));
await knex.transaction(async (trx) => say('another isolation', await trx('books').max('id as m')), {
  isolationLevel: 'read committed',
});
await fails('duplicate key', () => knex('authors').insert({ name: 'b' }));
await fails('foreign key', () => knex('books').insert({ author_id: 99 }));
let sum = 0;
for await (const row of knex('books').select('id').stream()) sum += Number(row.id);
say('streamed', sum);
say(
  'together',
  await Promise.all(
    Array.from({ length: 24 }, (_, i) =>
      knex
        .transaction(async (trx) => {
          await trx.raw('SET @mine = ?', [i]);
          const [author] = await trx('authors')
            .insert({ name: `t${i}` })
            .then(() => trx('authors').where({ name: `t${i}` }));
          const [[row]] = await trx.raw('SELECT @mine AS m');
          if (i % 2) throw new Error('odd');
          return [author.name, row.m];
        })
        .catch((error) => error.message),
    ),
  ),
);
say(
  'what was committed',
  await knex('authors').where('name', 'like', 't%').orderByRaw('LENGTH(name), name').pluck('name'),
);
say('introspected', [
  Object.entries(await knex('books').columnInfo()).sort(byText),
  await knex.schema.hasTable('books'),
  await knex.schema.hasColumn('books', 'title'),
]);
say('rolled back', await knex.migrate.rollback({ migrationSource }, true));
say('tables left', await knex.schema.hasTable('books'));
await knex.destroy();
